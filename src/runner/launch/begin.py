"""Take hold of a run that is about to be worked on here: once on this machine, and nowhere else meanwhile."""

from runner.launch.lock import RunLock, RunLocked
from runner.launch.places import state_folder
from runner.launch.status import RunStatus, run_status
from runner.spec.errors import UserError
from runner.storage.store import Store


def take_hold(store: Store, run_id: str) -> RunLock:
    """The run's lock on this machine, if the run can go on.

    Raises:
        UserError: it has ended, or it runs here or elsewhere; the message says what to do.
    """
    try:
        lock = RunLock.take(state_folder(store.url, run_id))
    except RunLocked as locked:
        raise UserError(
            f"the run is running on this machine already, supervised by process {locked.pid or '?'}",
            where=run_id,
            remedy=f"`runner logs -f {run_id}` follows it; `runner cancel {run_id}` ends it",
        ) from locked
    except OSError as error:
        raise UserError(
            f"cannot be written: {error.strerror}",
            where=str(state_folder(store.url, run_id)),
            remedy="make room there, or point XDG_STATE_HOME to a folder that you may write to",
        ) from error
    try:
        _refuse_what_cannot_go_on(run_status(store, run_id))
    except BaseException:
        lock.close()
        raise
    return lock


def _refuse_what_cannot_go_on(status: RunStatus) -> None:
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
