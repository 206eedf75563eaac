"""Continue a run elsewhere than where it was: on other machines of SkyPilot's, or on this one."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from runner.backends.lock import RunLock, RunLocked
from runner.backends.skypilot import client
from runner.errors import UserError
from runner.paths import state_folder
from runner.runs.launches import (
    Launch,
    is_remote,
    launch_record,
    newest_launch,
    note_ended,
    note_launch,
    run_placement,
    with_current_placement,
)
from runner.runs.record_types.run import RunDocument
from runner.runs.records import run_document
from runner.runs.status import RunStatus, run_status
from runner.storage.store import Store


def interrupted_run(store: Store, run_id: str) -> RunDocument:
    """The record of a run that was interrupted, with the machines of its last launch.

    Raises:
        UserError: it has ended or runs, or SkyPilot is still at it.
    """
    document = run_document(store, run_id)
    refuse_what_cannot_go_on(run_status(store, run_id, document=document))
    launch = newest_launch(store, run_id)
    if launch is not None and launch.is_skypilots and launch.ended is None:
        _refuse_if_at_it(store, launch)
    return with_current_placement(document, launch)


def relocate(store: Store, run_id: str, place: Mapping[str, Any]) -> RunDocument:
    """The same with other machines of SkyPilot's, which writes them down when it is given the run.

    Args:
        store: where the run lives.
        run_id: the run.
        place: the machines, as ``run.json`` says them.

    Raises:
        UserError: it has ended or runs, or SkyPilot is still at it.
    """
    return cast(RunDocument, {**interrupted_run(store, run_id), **place})


def relocate_here(store: Store, run_id: str, *, infra: str, image: str | None, environment: Sequence[str]) -> None:
    """Write down that a run goes on on this machine, unless it was there before.

    Args:
        store: where the run lives.
        run_id: the run.
        infra: ``local`` or ``docker``.
        image: by digest or id, for ``docker``.
        environment: names of the variables that the run is given.

    Raises:
        UserError: it has ended or runs, or SkyPilot is still at it.
    """
    before = interrupted_run(store, run_id)
    if (before["infra"], before.get("image")) == (infra, image):
        return
    place = {"infra": infra, "image": image, "accelerators": None, "resources": None, "num_nodes": 1}
    note_launch(store, run_id, launch_record(place, engine=infra, cluster=None, environment=environment))


def _refuse_if_at_it(store: Store, launch: Launch) -> None:
    try:
        known = client.ask("job", **launch.handle)
    except client.SkyPilotSays as error:
        raise error.for_people() from error
    if not known:
        note_ended(store, launch, status="UNKNOWN", reason="SkyPilot knows of no such job")
    elif known["ended"]:
        note_ended(store, launch, status=known["status"], reason=known["reason"])
    else:
        remedy = (
            f"`runner wait {launch.run_id}` waits for it; `runner cancel {launch.run_id}` ends it for good; "
            f"`sky jobs cancel -n {launch.record['name']}` frees it to go on elsewhere"
        )
        if known["status"] == "CANCELLING":
            remedy = "try again in a minute"
        raise UserError(f"SkyPilot is at it already: {known['status']}", where=launch.run_id, remedy=remedy)


def acquire_run(store: Store, run_id: str) -> RunLock:
    """The lock on this machine of a run that exists and can go on.

    Raises:
        UserError: it has ended, or it runs here or elsewhere; the message says what to do.
    """
    lock = _take_lock(store, run_id)
    try:
        infra = run_placement(store, run_id)["infra"]
        if infra == "docker":
            from runner.backends.docker.backend import note_killed  # here: a local run does without

            note_killed(store, run_id)
        refuse_what_cannot_go_on(run_status(store, run_id))
        if is_remote(infra):
            remedy = f"`runner resume {run_id} --infra local` continues it here"
            raise UserError(f"the run was launched to --infra {infra}", where=run_id, remedy=remedy)
    except BaseException:
        lock.close()
        raise
    return lock


def _take_lock(store: Store, run_id: str) -> RunLock:
    folder = state_folder(store.url, run_id)
    try:
        return RunLock.take(folder)
    except RunLocked as locked:
        raise UserError(
            f"the run is running on this machine already, supervised by process {locked.pid or '?'}",
            where=run_id,
            remedy=f"`runner logs -f {run_id}` follows it; `runner cancel {run_id}` ends it",
        ) from locked
    except OSError as error:
        raise UserError(
            f"cannot be written: {error.strerror}",
            where=str(folder),
            remedy="make room there, or point XDG_STATE_HOME to a folder that you may write to",
        ) from error


def refuse_what_cannot_go_on(status: RunStatus) -> None:
    """Refuse a run that has ended or that runs.

    Raises:
        UserError: it is one of those; the message says what to do.
    """
    if status.terminal:
        reason = f": {status.reason}" if status.reason else ""
        raise UserError(
            f"the run has {'been ' if status.state == 'cancelled' else ''}{status.state}{reason}",
            where=status.run_id,
            remedy="an ended run stays as it is; `runner launch` starts a new one",
        )
    if status.state == "running":
        place = "on this machine" if status.here else "elsewhere"
        raise UserError(
            f"the run looks alive {place}: its last sign is {status.last_sign_seconds or 0:.0f} s old",
            where=status.run_id,
            remedy=f"`runner wait {status.run_id}` waits for it, `runner cancel {status.run_id}` ends it; if its "
            "machine is gone, try again in a minute",
        )
