"""A sweep's workers as managed jobs: all of one launch are submitted at once, with one name and machines of their own.

SkyPilot finds the machines, and replaces those that go away; which trial a worker takes is none of its business.
"""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.backends.base import Reporter, Say
from runner.backends.registry import ANY
from runner.backends.skypilot.endpoints import refuse_loopback
from runner.backends.workers import SweepWorkers, WorkerBackend, WorkersRequest, WorkersStatus
from runner.errors import UserError
from runner.runs.layout import SECRET_NAMES, sweep_key
from runner.storage.store import Store
from runner.sweeps.workers.launches import (
    WorkersLaunch,
    WorkersStarted,
    note_workers,
    note_workers_ended,
    note_workers_started,
    workers_name,
)

MOST_WORKERS = 500
"""SkyPilot's controller launches hundreds of jobs at a time, and holds 2,000."""

_POLL_SECONDS = 5.0
_LATE_SECONDS = 60.0
"""So long is looked for jobs of which nobody has recorded that SkyPilot took them."""


@dataclass(frozen=True, kw_only=True)
class WorkersTaskRequest:
    """What SkyPilot is sent. As `workers.WorkersRequest`."""

    workers: SweepWorkers
    """What was asked for."""
    task: Mapping[str, Any]
    """The task's content; secrets are in it by name only."""
    count: int
    """How many jobs."""

    def as_json(self) -> dict[str, Any]:
        """The task, and how many jobs it becomes."""
        return {"task": self.task, "num_jobs": self.count}

    def as_text(self) -> str:
        """The task in YAML, as ``sky jobs launch --num-jobs N`` reads it."""
        from runner.backends.skypilot.task import task_yaml

        return task_yaml(self.task)


class SkyPilotWorkers(WorkerBackend):
    """Workers are SkyPilot's managed jobs."""

    def default_count(self, *, gpus_per_trial: int | None, trials_per_gpu: int) -> int:
        """One: each machine costs."""
        return 1

    def request(self, store_url: str, workers: SweepWorkers, *, environment: Sequence[str]) -> WorkersTaskRequest:
        """Build the workers' task. The folder with runner's own source that it names is made in the cache.

        Raises:
            UserError: their machines would not reach the store, or there would be too many.
        """
        from runner.backends.skypilot.request import remote_workers_task

        room = slots_of_a_machine(workers)
        count = -(-(workers.count or room) // room)
        if not 1 <= count <= MOST_WORKERS:
            raise UserError(
                f"{count} machines at a time",
                where="parallel",
                remedy=f"ask for 1 to {MOST_WORKERS}: a worker takes one trial after the other",
            )
        names = [name for name in environment if name != SECRET_NAMES]
        name = workers_name(workers.sweep_id, 1)
        content, _ = remote_workers_task(workers, store_url, name=name, secrets=names)
        return WorkersTaskRequest(workers=workers, task=content, count=count)

    def start(
        self,
        store: Store,
        request: WorkersRequest,
        *,
        environment: Mapping[str, str],
        detach: bool,
        reporter: Reporter,
    ) -> WorkersLaunch:
        """Hand the workers to SkyPilot, in one request: recorded before and after.

        Raises:
            UserError: there is no SkyPilot, or it refuses; the message has its own words.
        """
        from runner.backends.skypilot import client
        from runner.backends.skypilot.store_access import access

        assert isinstance(request, WorkersTaskRequest)
        from runner.planning.offers import offered_prices
        from runner.runs.measured.prices import note_prices

        workers, placement = request.workers, request.workers.placement
        assert placement.machines is not None
        count = f"{request.count} {'machine' if request.count == 1 else 'machines'}"
        reporter.say(f"{workers.sweep_id}: handing {count} to SkyPilot, which takes some seconds")
        python = client.require_sky()
        names = [name for name in environment if name != SECRET_NAMES]
        # Their values go beside the task, never into it.
        secrets = {**access(store.url, placement.machines).required(), **{name: environment[name] for name in names}}
        for name in sorted(set(request.task.get("secrets", ())) - secrets.keys()):
            if name not in os.environ:
                raise UserError(f"{name} is not set", where="sky.secrets", remedy=f"export {name}=…")
            secrets[name] = os.environ[name]
        refuse_loopback(secrets, where="--env-file or --secret")
        launch = note_workers(
            store, workers.sweep_id, placement.fields(), engine="skypilot", count=request.count, environment=names
        )
        prices = offered_prices(placement.machines.resources)
        note_prices(store, sweep_key(workers.sweep_id, "launches/"), launch.number, prices)
        try:
            answer = client.ask(
                "launch",
                python=python,
                talk=reporter.output,
                task={**request.task, "name": launch.record["name"]},
                secrets=secrets,
                cluster=None,
                num_jobs=request.count,
            )
        except client.SkyPilotSays as error:
            refusal = error.for_people(where=placement.infra)
            note_workers_ended(store, launch, status="REFUSED", reason=refusal.what)
            raise refusal from error
        except KeyboardInterrupt:
            stop = reporter.typed(f"sweep stop {workers.sweep_id}")
            reporter.say(f"\nSkyPilot may have them already; `{stop}` sees to it that nothing is left")
            raise
        launch = note_workers_started(store, launch, WorkersStarted(job_ids=answer["job_ids"]))
        where = placement.infra if placement.infra != ANY else "what it chooses"
        reporter.say(f"SkyPilot has them: {count} called {launch.record['name']}, on {where}")
        return launch

    def status(self, store: Store, launch: WorkersLaunch) -> WorkersStatus:
        """Ask SkyPilot, which takes seconds, and record the end of the last one.

        Raises:
            UserError: there is no SkyPilot, or it does not answer.
        """
        if launch.ended is not None:
            statuses = [launch.ended["status"]] * launch.record["count"]
            return WorkersStatus(statuses=statuses, alive=0, reason=launch.ended.get("reason"))
        return _noted(store, launch, _ask("named", launch))

    def stop(self, store: Store, launch: WorkersLaunch, *, say: Say, timeout_seconds: float) -> WorkersStatus:
        """Cancel the jobs, and ask SkyPilot until it says of each that it has ended: their machines are gone then.

        Raises:
            UserError: there is no SkyPilot, or it does not answer.
        """
        if launch.ended is not None:
            return self.status(store, launch)
        say(f"cancelling {launch.record['name']} in SkyPilot, which takes some seconds")
        now = time.monotonic()
        until = now + timeout_seconds
        # A submission that was under way when its process died shows up late.
        late_until = min(until, now + _LATE_SECONDS) if launch.started is None else now
        jobs = _ask("cancel_named", launch)
        while now < (until if _alive(jobs) else late_until):
            time.sleep(_POLL_SECONDS)
            with contextlib.suppress(UserError):  # it is asked again
                jobs = _ask("cancel_named", launch)
            now = time.monotonic()
        return _noted(store, launch, jobs, status="STOPPED")


def slots_of_a_machine(workers: SweepWorkers) -> int:
    """How many workers a machine has; of several that may be taken, the one with the fewest GPUs.

    Raises:
        UserError: it has fewer GPUs than a trial needs.
    """
    machines = workers.placement.machines
    if machines is None or workers.splits is False:
        return 1
    name, gpus = min((machines.accelerators or {"": 1}).items(), key=lambda item: item[1])
    size = workers.gpus_per_trial or 1
    if gpus < size:
        raise UserError(
            f"a trial needs {size} GPUs, and {name or 'a machine'} has {gpus:g}",
            where="gpus_per_trial",
            remedy=f"ask for machines that have them: `--gpu {name or 'A100'}:{size}`",
        )
    return int(gpus // size) * workers.trials_per_gpu


def _ask(question: str, launch: WorkersLaunch) -> list[Mapping[str, Any]]:
    """Ask about the jobs of a launch; each one's `job_id`, `status`, `ended` and `reason`."""
    from runner.backends.skypilot import client

    try:
        jobs: list[Mapping[str, Any]] = client.ask(question, name=launch.record["name"])["jobs"]
    except client.SkyPilotSays as error:
        raise error.for_people(where=launch.record["name"]) from error
    return jobs


def _alive(jobs: Sequence[Mapping[str, Any]]) -> int:
    return sum(not job["ended"] for job in jobs)


def _noted(
    store: Store, launch: WorkersLaunch, jobs: Sequence[Mapping[str, Any]], *, status: str | None = None
) -> WorkersStatus:
    """Return what SkyPilot said, and record the end if it is the end of all.

    Args:
        store: where the sweep lives.
        launch: the launch.
        jobs: what `_ask` returned.
        status: the word for the end; None for SkyPilot's.
    """
    reason = next((job["reason"] for job in jobs if job["reason"]), None)
    if not jobs:
        reason = "SkyPilot knows of no such job"
    alive = _alive(jobs)
    # A process that submits them may still be at it, as long as it has not recorded what they became.
    unsure = launch.started is None and not jobs and status is None
    if alive == 0 and not unsure:
        words = sorted({job["status"] for job in jobs}) or ["UNKNOWN"]
        note_workers_ended(store, launch, status=status or ", ".join(words), reason=reason)
    statuses = [str(job["status"]) for job in jobs] or ["UNKNOWN"]
    return WorkersStatus(statuses=statuses, alive=launch.record["count"] if unsure else alive, reason=reason)
