"""The backend of every infra that is not on this machine: SkyPilot takes the run's task and works on it without us."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from runner.backends.base import (
    Backend,
    JobStatus,
    Placement,
    Reporter,
    Request,
    ResourceOptions,
    Say,
    Started,
    poll_seconds,
)
from runner.backends.lock import RunLock, RunLocked
from runner.backends.registry import ANY
from runner.backends.skypilot.endpoints import refuse_loopback
from runner.errors import UserError
from runner.paths import engine_cache, state_folder
from runner.recipe.recipe import Recipe
from runner.runs.launches import Launch, launch_record, newest_launch, note_ended, note_job, note_launch
from runner.runs.layout import SECRET_NAMES, run_key
from runner.runs.liveness import write_cancelled
from runner.runs.record_types.run import LaunchJob
from runner.runs.status import run_status
from runner.storage.store import Store

# The rest of this package is imported by the methods that need it: `runner ps` asks for a refresh only.

PATIENCE_SECONDS = 10.0
"""How long an attempt may take to find the request to cancel before SkyPilot is asked to end its job."""


@dataclass(frozen=True, kw_only=True)
class TaskRequest:
    """What SkyPilot is sent. As `base.Request`."""

    document: Mapping[str, Any]
    """The run's ``run.json``, with the machines of this launch."""
    task: Mapping[str, Any]
    """The task's content; secrets are in it by name only."""
    cluster: str | None
    """The cluster to run on; None for a managed job, with machines of its own."""

    def as_json(self) -> dict[str, Any]:
        """The task, as ``launch --dry-run --json`` prints it."""
        return {"task": self.task}

    def as_text(self) -> str:
        """The task in YAML, as ``sky jobs launch`` reads it."""
        from runner.backends.skypilot.task import task_yaml

        return task_yaml(self.task)


class SkyPilotBackend(Backend):
    """Runs are SkyPilot jobs."""

    supervised_here = False
    shares_environment = False

    def check(self, options: ResourceOptions, *, cluster: str | None, image: str | None) -> None:
        """Do nothing: SkyPilot takes every option."""

    def resolve(
        self, recipe: Recipe, options: ResourceOptions, *, image: str | None, before: Mapping[str, Any] | None = None
    ) -> Placement:
        """Find out which machines would do.

        Raises:
            UserError: no machine would do, or what is asked for contradicts the recipe.
        """
        from runner.backends.skypilot.request import plan, plan_again

        return plan(recipe, options, image) if before is None else plan_again(before, options, image)

    def require(self, store: Store, placement: Placement) -> None:
        """Refuse at once if there are no credentials for the store, or no SkyPilot.

        Raises:
            UserError: one of them is missing.
        """
        from runner.backends.skypilot.client import require_sky
        from runner.backends.skypilot.store_access import access

        assert placement.machines is not None
        access(store.url, placement.machines).required()
        require_sky()

    def request(
        self, store_url: str, document: Mapping[str, Any], *, environment: Sequence[str], cluster: str | None = None
    ) -> TaskRequest:
        """Build the run's task. The folder with runner's own source that it names is made in the cache.

        Raises:
            UserError: its machines would not reach the store, or the cache cannot be written.
        """
        from runner.backends.skypilot.request import asked_for, remote_task
        from runner.backends.skypilot.resources import with_autostop

        names = [name for name in environment if name != SECRET_NAMES]
        content, _ = remote_task(document, store_url, secrets=names)
        if cluster is not None:
            content = {**content, "resources": with_autostop(asked_for(document))}
        return TaskRequest(document=document, task=content, cluster=cluster)

    def start(
        self,
        store: Store,
        request: Request,
        *,
        environment: Mapping[str, str],
        lock: RunLock | None,
        detach: bool,
        reporter: Reporter,
    ) -> Started:
        """Hand the run to SkyPilot: its task is sent, and recorded before and after.

        Raises:
            UserError: there is no SkyPilot, or it refuses; the message has its own words.
        """
        from runner.backends.skypilot import client
        from runner.backends.skypilot.request import asked_for
        from runner.backends.skypilot.resources import describe_autostop
        from runner.backends.skypilot.store_access import access
        from runner.planning.offers import offered_prices
        from runner.runs.measured.prices import note_prices

        assert isinstance(request, TaskRequest)
        document, cluster, run_id = request.document, request.cluster, request.document["run_id"]
        reporter.say(f"{run_id}: handing it to SkyPilot, which takes some seconds")
        python = client.require_sky()
        names = [name for name in environment if name != SECRET_NAMES]
        # Their values go beside the task, never into it.
        secrets = {**access(store.url, asked_for(document)).required(), **{name: environment[name] for name in names}}
        secrets |= _from_environment(set(request.task.get("secrets", ())) - secrets.keys())
        refuse_loopback(secrets, where="--env-file or --secret")
        if cluster is not None:
            reporter.say(describe_autostop(request.task["resources"], asked_for(document), cluster))
        with _launching(store, run_id):
            record = launch_record(document, engine="skypilot", cluster=cluster, environment=names)
            launch = note_launch(store, run_id, record)
            prices = offered_prices(document.get("resources"))
            note_prices(store, run_key(run_id, "launches/"), launch.number, prices)
            engine_cache(store.url, run_id).unlink(missing_ok=True)
            try:
                task = {**request.task, "name": launch.record["name"]}
                answer = client.ask(
                    "launch",
                    python=python,
                    talk=reporter.output,
                    task=task,
                    secrets=secrets,
                    cluster=cluster,
                    default_autostop=request.task["resources"] != asked_for(document).resources,
                )
                if answer.get("autostop_kept"):
                    reporter.say(f"cluster {cluster} was there already, and keeps its own autostop, if it has one")
            except client.SkyPilotSays as error:
                refusal = error.for_people(where=document["infra"])
                note_ended(store, launch, status="REFUSED", reason=refusal.what)
                raise refusal from error
            except KeyboardInterrupt:
                cancel = reporter.typed(f"cancel {run_id}")
                reporter.say(f"\nSkyPilot may have it already; `{cancel}` sees to it that nothing is left")
                raise
            job = LaunchJob(job_id=answer["job_id"])
            note_job(store, launch, job)
        what = f"job {job['job_id']} on cluster {cluster}" if cluster else launch.record["name"]
        where = document["infra"] if document["infra"] != ANY else "what it chooses"
        reporter.say(f"SkyPilot has it: {what}, on {where}")
        return Started(job={"name": launch.record["name"], **job})

    def status(self, store: Store, run_id: str) -> JobStatus | None:
        """Ask SkyPilot about the newest launch, which takes seconds, and record its end; None if there is no launch.

        Raises:
            UserError: there is no SkyPilot, or it does not answer.
        """
        launch = newest_launch(store, run_id)
        if launch is None:
            return None
        return _job_status(launch.ended, ended=True) if launch.ended is not None else _ask(store, launch)

    def refresh(self, store: Store, run_ids: Sequence[str]) -> None:
        """Have SkyPilot asked about these runs in the background."""
        from runner.backends.skypilot.job_status import refresh_in_background

        refresh_in_background(store.url, run_ids)

    def refuse_if_busy(self, store: Store, launch: Launch) -> None:
        """Make sure that SkyPilot has ended a launch; its end is recorded.

        Raises:
            UserError: SkyPilot still works on it, or cannot be asked.
        """
        job = self.status(store, launch.run_id)
        if job is None or job.ended:
            return
        remedy = (
            f"`runner wait {launch.run_id}` waits for it; `runner cancel {launch.run_id}` ends it for good; "
            f"`sky jobs cancel -n {launch.record['name']}` frees it to go on elsewhere"
        )
        if job.status == "CANCELLING":
            remedy = "try again in a minute"
        raise UserError(f"SkyPilot still works on it: {job.status}", where=launch.run_id, remedy=remedy)

    def note_vanished(self, store: Store, run_id: str) -> None:
        """Do nothing: SkyPilot starts the next attempt, which sees how the last one ended."""

    def cancel(self, store: Store, run_id: str, *, say: Say, timeout_seconds: float) -> None:
        """Wait until the attempt has found the request; then have SkyPilot end the job, if it still has one."""
        from runner.backends.skypilot import client

        until = time.monotonic() + PATIENCE_SECONDS
        status = run_status(store, run_id)
        while status.state == "running" and time.monotonic() < until:
            time.sleep(poll_seconds(store))
            status = run_status(store, run_id)
        launch = newest_launch(store, run_id)
        if launch is not None and launch.ended is None:
            say("cancelling it in SkyPilot, which takes some seconds")
            try:
                client.ask("cancel", **launch.handle)
                note_ended(store, launch, status="CANCELLED", reason="cancelled by `runner cancel`")
            except (client.SkyPilotSays, UserError) as error:
                by_hand = f"`sky jobs cancel -n {launch.record['name']}` does it by hand"
                say(f"SkyPilot could not be asked ({error}); {by_hand}")
        if not run_status(store, run_id).terminal:
            write_cancelled(store, run_id)


def _ask(store: Store, launch: Launch) -> JobStatus:
    """Ask SkyPilot about a launch now, and record its end."""
    from runner.backends.skypilot import client

    try:
        answer = client.ask("job", **launch.handle)
    except client.SkyPilotSays as error:
        raise error.for_people() from error
    if not answer:
        answer = {"status": "UNKNOWN", "reason": "SkyPilot knows of no such job", "ended": True}
    status = _job_status(answer, ended=answer["ended"])
    if status.ended:
        note_ended(store, launch, status=status.status, reason=status.reason)
    return status


def _job_status(answer: Mapping[str, Any], *, ended: bool) -> JobStatus:
    return JobStatus(status=str(answer["status"]), reason=answer.get("reason"), ended=ended)


def _from_environment(names: set[str]) -> dict[str, str]:
    """Return the values of the secrets that the recipe names."""
    for name in sorted(names):
        if name not in os.environ:
            raise UserError(f"{name} is not set", where="sky.secrets", remedy=f"export {name}=…")
    return {name: os.environ[name] for name in names}


@contextmanager
def _launching(store: Store, run_id: str) -> Iterator[None]:
    """Hold the run's lock on this machine, so that no other process launches it meanwhile."""
    try:
        lock = RunLock.take(state_folder(store.url, run_id))
    except RunLocked as locked:
        raise UserError(
            "the run is being launched from this machine already", where=run_id, remedy="wait for that"
        ) from locked
    try:
        yield
    finally:
        lock.close()
