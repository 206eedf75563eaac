"""Start a run that is in the store: what `launch` and `resume` share.

The run's lock sees to it that one process of a machine at a time does.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

from runner.backends.base import Backend, Placement, Reporter, Started
from runner.backends.lock import RunLock, RunLocked
from runner.backends.registry import backend_for
from runner.errors import UserError
from runner.paths import state_folder
from runner.runs.launches import newest_launch, run_placement, with_current_placement
from runner.runs.record_types.run import RunDocument
from runner.runs.records import run_document
from runner.runs.status import RunStatus, run_status
from runner.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Launched:
    """A run that has been started."""

    run_id: str
    """Its id."""
    infra: str
    """Where it runs, as ``run.json`` names it."""
    backend: Backend
    """What runs it."""
    started: Started
    """How to follow it: by supervising it (`Started.supervise`), or by looking at the store."""


def start(
    store: Store,
    document: Mapping[str, Any],
    lock: RunLock | None,
    *,
    environment: Mapping[str, str],
    cluster: str | None,
    detach: bool,
    reporter: Reporter,
) -> Launched:
    """Have a run's backend start it. The lock, if the backend needs one, is handed over.

    Raises:
        UserError: it could not be started; the run stays in the store, and can be resumed.
    """
    backend = backend_for(document["infra"])
    with closed_on_error(lock):
        request = backend.request(store.url, document, environment=list(environment), cluster=cluster)
    started = backend.start(store, request, environment=environment, lock=lock, detach=detach, reporter=reporter)
    return Launched(run_id=document["run_id"], infra=document["infra"], backend=backend, started=started)


def make_reporter(say: Callable[[str], None], typed: Callable[[str], str] | None, output: IO[str] | None) -> Reporter:
    """Return what a backend speaks to; `typed` None for ``runner COMMAND``."""
    return Reporter(say=say, output=output) if typed is None else Reporter(say=say, typed=typed, output=output)


@contextmanager
def closed_on_error(lock: RunLock | None) -> Iterator[None]:
    """Release a lock if the body raises."""
    try:
        yield
    except BaseException:
        if lock is not None:
            lock.close()
        raise


def interrupted_run(store: Store, run_id: str, *, or_failed: bool = False) -> RunDocument:
    """Return the record of a run that was interrupted, with the placement of its last launch.

    Args:
        store: where the run lives.
        run_id: the run.
        or_failed: whether a run that has failed will do: its owner goes on with it.

    Raises:
        UserError: the run has ended or is running, or its backend may still work on it.
    """
    document = run_document(store, run_id)
    refuse_unless_interrupted(run_status(store, run_id, document=document), or_failed=or_failed)
    launch = newest_launch(store, run_id)
    document = with_current_placement(document, launch)
    if launch is not None:
        backend_for(document["infra"]).refuse_if_busy(store, launch)
    return document


def relocate(store: Store, run_id: str, placement: Placement, *, or_failed: bool = False) -> RunDocument:
    """Return the record of an interrupted run with another placement, which its backend writes down when it starts it.

    Arguments as for `interrupted_run`.

    Raises:
        UserError: the run has ended or is running, or its backend may still work on it.
    """
    return cast(RunDocument, {**interrupted_run(store, run_id, or_failed=or_failed), **placement.fields()})


def acquire_run(store: Store, run_id: str, *, or_failed: bool = False) -> RunLock:
    """Take the lock on this machine of an interrupted run whose supervisor runs here.

    Arguments as for `interrupted_run`.

    Raises:
        UserError: the run has ended, or is running here or elsewhere; the message says what to do.
    """
    lock = take_lock(store, run_id)
    with closed_on_error(lock):
        infra = run_placement(store, run_id)["infra"]
        backend = backend_for(infra)
        backend.note_vanished(store, run_id)
        refuse_unless_interrupted(run_status(store, run_id), or_failed=or_failed)
        if not backend.supervised_here:
            remedy = f"`runner resume {run_id} --infra local` continues it here"
            raise UserError(f"the run was launched to --infra {infra}", where=run_id, remedy=remedy)
    return lock


def take_lock(store: Store, run_id: str) -> RunLock:
    """Take a run's lock on this machine.

    Raises:
        UserError: another process holds it, or this machine's state folder cannot be written.
    """
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


def refuse_unless_interrupted(status: RunStatus, *, or_failed: bool = False) -> None:
    """Refuse a run that has ended or that is running.

    Args:
        status: the run's.
        or_failed: whether a run that has failed will do.

    Raises:
        UserError: it is one of those; the message says what to do.
    """
    if status.state == "failed" and or_failed:
        return
    if status.terminal:
        reason = f": {status.reason}" if status.reason else ""
        remedy = "an ended run stays as it is; `runner launch` starts a new one"
        if status.state == "failed":
            remedy = f"`runner resume {status.run_id}` goes on from its last checkpoint"
        if status.state == "cancelled":
            remedy += f", and `runner export {status.run_id} --checkpoint last` keeps the model that it has"
        raise UserError(
            f"the run has {'been ' if status.state == 'cancelled' else ''}{status.state}{reason}",
            where=status.run_id,
            remedy=remedy,
        )
    if status.state == "running":
        place = "on this machine" if status.here else "elsewhere"
        raise UserError(
            f"the run looks alive {place}: its last sign is {status.last_sign_seconds or 0:.0f} s old",
            where=status.run_id,
            remedy=f"`runner wait {status.run_id}` waits for it, `runner cancel {status.run_id}` ends it; if its "
            "machine is gone, try again in a minute",
        )
