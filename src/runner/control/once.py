"""Launch what is not there yet, and join what is: however often and by whomever it is launched, there is one run."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING

from runner.backends.base import Started, poll_seconds
from runner.backends.lock import lock_holder
from runner.backends.registry import backend_for
from runner.control.launch import LaunchOptions, RunIsThere, launch
from runner.control.launching.start import Launched
from runner.control.resume import ResumeOptions, resume
from runner.control.wait import RunWaiter
from runner.errors import UserError
from runner.paths import state_folder
from runner.runs.launches import newest_launch
from runner.runs.status import RunStatus
from runner.runs.submission.claims import CLAIM_SECONDS, claim_start
from runner.storage.store import Store

if TYPE_CHECKING:
    from runner.control.launching.cost import Confirm


def launch_once(
    store: Store,
    options: LaunchOptions,
    *,
    confirm: "Confirm",
    say: Callable[[str], None],
    typed: Callable[[str], str] | None = None,
    output: IO[str] | None = None,
) -> Launched:
    """Launch a recipe, unless a run of the same recipe, settings and commit is in the store: then join that.

    A run that succeeded, or that something works on, is left alone: what is returned can be followed. One that failed,
    or that was interrupted and that nothing continues, goes on. One that was cancelled has a successor. Of several
    launches at once, on one machine or on many, one starts the run.

    Arguments and errors as for `launch` and `resume`.
    """
    try:
        return launch(store, replace(options, once=True), confirm=confirm, say=say, typed=typed, output=output)
    except RunIsThere as there:
        run_id = there.run_id
    status, starts = _join_or_start(store, run_id)
    if not starts:
        say(f"joining {run_id} in {store.url}, which {_how(status)}")
        return Launched(run_id=run_id, infra=status.infra, backend=backend_for(status.infra), started=Started())
    if status.state != "failed":  # of one that failed, `resume` says why
        say(f"{run_id} is {status.state}: it goes on")
    again = ResumeOptions(
        run_id=run_id,
        resources=options.resources,
        cluster=options.cluster,
        image=options.image,
        env_files=options.env_files,
        secrets=options.secrets,
        max_cost=options.max_cost,
        hourly_cost=options.hourly_cost,
        detach=options.detach,
    )
    return resume(store, again, confirm=confirm, say=say, typed=typed, output=output)


def _join_or_start(store: Store, run_id: str) -> tuple[RunStatus, bool]:
    """Find out whether a run is to be started again, which nobody else is about to do then; waits until that is clear.

    An attempt elsewhere that has fallen silent gets the time that its supervisor may take to start the next.
    """
    waiter = RunWaiter(store, run_id)
    while True:
        status, at_rest = waiter.look()
        if status.state in ("running", "succeeded", "cancelled"):
            return status, False
        here = backend_for(status.infra).supervised_here
        if here and lock_holder(state_folder(store.url, run_id)) is not None:
            return status, False
        if not here and status.state != "failed":
            at_rest = at_rest or not _is_elsewhere(store, status)
            if not at_rest:
                return status, False
        if at_rest and claim_start(store, run_id):
            return status, True
        time.sleep(poll_seconds(store))


def _is_elsewhere(store: Store, status: RunStatus) -> bool:
    """Whether SkyPilot works on a run that has not ended, or whoever submitted it may be about to ask for that."""
    launch = newest_launch(store, status.run_id)
    if launch is None:
        age = datetime.now(UTC) - datetime.fromisoformat(status.created_at)
        return age.total_seconds() < CLAIM_SECONDS
    try:
        job = backend_for(status.infra).status(store, status.run_id)
    except UserError:
        return True  # it cannot be asked: what it has is not paid for twice
    return job is None or not job.ended


def _how(status: RunStatus) -> str:
    if status.state == "running":
        return "is running" + ("" if status.step is None else f" (step {status.step} of {status.max_steps or '?'})")
    return f"has {status.state}" if status.terminal else f"is {status.state}"
