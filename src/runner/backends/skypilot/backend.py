"""Hand a run to SkyPilot: submitted to the store first, then its task is sent, recorded before and after."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from runner.backends.lock import RunLock, RunLocked
from runner.backends.skypilot import client
from runner.backends.skypilot.request import remote_task
from runner.errors import UserError
from runner.paths import engine_cache, state_folder
from runner.runs.launches import Launch, launch_record, note_ended, note_job, note_launch
from runner.runs.layout import SECRET_NAMES
from runner.runs.record_types.run import LaunchJob
from runner.storage.store import Store


def hand_over(
    store: Store,
    document: Mapping[str, Any],
    *,
    cluster: str | None,
    environment: Mapping[str, str],
    talk: IO[str] | None,
) -> Launch:
    """Give a run that is in the store to SkyPilot, which takes it from there.

    Args:
        store: where it lives.
        document: its record.
        cluster: the cluster to run on; None: a managed job, with machines of its own.
        environment: the variables that the run is given besides what its store needs; their values go beside the task.
        talk: where what SkyPilot prints goes.

    Raises:
        UserError: no SkyPilot, or its refusal, in its own words.
    """
    run_id = document["run_id"]
    python = client.require_sky()
    names = [name for name in environment if name != SECRET_NAMES]
    content, entry = remote_task(document, store.url, secrets=names)
    secrets = {**entry.required(), **{name: environment[name] for name in names}}
    secrets |= _from_environment(set(content.get("secrets", ())) - secrets.keys())
    with _only_one(store, run_id):
        record = launch_record(document, engine="skypilot", cluster=cluster, environment=names)
        launch = note_launch(store, run_id, record)
        engine_cache(store.url, run_id).unlink(missing_ok=True)
        try:
            task = {**content, "name": launch.record["name"]}
            answer = client.ask("launch", python=python, talk=talk, task=task, secrets=secrets, cluster=cluster)
        except client.SkyPilotSays as error:
            refused = error.for_people(where=document["infra"])
            note_ended(store, launch, status="REFUSED", reason=refused.what)
            raise refused from error
        job = LaunchJob(job_id=answer["job_id"])
        note_job(store, launch, job)
    return Launch(run_id=run_id, number=launch.number, record=launch.record, job=job)


def _from_environment(names: set[str]) -> dict[str, str]:
    """The secrets that the recipe names."""
    for name in sorted(names):
        if name not in os.environ:
            raise UserError(f"{name} is not set", where="sky.secrets", remedy=f"export {name}=…")
    return {name: os.environ[name] for name in names}


@contextmanager
def _only_one(store: Store, run_id: str) -> Iterator[None]:
    """Nobody else on this machine hands the run over meanwhile."""
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
