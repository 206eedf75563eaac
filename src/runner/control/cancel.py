"""End a run for good, wherever it runs."""

import os
import shutil
import socket
import time
from collections.abc import Callable

from runner.backends.base import poll_seconds
from runner.backends.lock import lock_holder
from runner.backends.registry import backend_for
from runner.control.wait import RunWaiter
from runner.errors import UserError
from runner.paths import state_folder
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.record_types.run import CancelRequest
from runner.runs.records import times_reopened, utc_now, write_cancel_request
from runner.runs.status import RunStatus, run_status
from runner.storage.store import Store

KEEP_SECONDS = 3600.0
"""How long `keep_model` waits for the run's end: it may be in a long step, and then measures and exports its model."""


def finish_run(
    store: Store, run_id: str, *, say: Callable[[str], None], timeout_seconds: float = KEEP_SECONDS
) -> RunStatus:
    """Request that a run stops training, keeps the model that it has and ends; wait until it has.

    Returns:
        The run's status: cancelled, with a model; or succeeded, if it was at its end. If the run outlasts
        `timeout_seconds`, or is interrupted meanwhile, its status then.

    Raises:
        UserError: the run has ended, or nothing is running it.
    """
    status = run_status(store, run_id)
    if status.terminal:
        remedy = f"`runner pull {run_id}` fetches it; `runner export {run_id} --checkpoint last` makes a model of it"
        raise UserError(f"the run has {_ended(status)} already", where=run_id, remedy=remedy)
    busy = status.state == "running" or lock_holder(state_folder(store.url, run_id)) is not None
    if not busy and (backend_for(status.infra).supervised_here or not status.retry):
        has_checkpoint = bool(checkpoints(store, run_id))
        raise UserError(
            f"nothing is running it: the run is {status.state}",
            where=run_id,
            remedy=f"`runner cancel {run_id}` ends it"
            + (f"; `runner export {run_id} --checkpoint last` makes a model of what it has" if has_checkpoint else ""),
        )
    request = CancelRequest(requested_at=utc_now(), host=socket.gethostname(), pid=os.getpid())
    write_cancel_request(store, run_id, request, reopened=times_reopened(store, run_id), keep_model=True)
    say(f"{run_id} ends after its present step, then measures and stores its model")
    waiter, until = RunWaiter(store, run_id), time.monotonic() + timeout_seconds
    status, at_rest = waiter.look()
    while not at_rest and time.monotonic() < until:
        time.sleep(poll_seconds(store))
        status, at_rest = waiter.look()
    return status


def _ended(status: RunStatus) -> str:
    return "been cancelled" if status.state == "cancelled" else status.state


def cancel_run(store: Store, run_id: str, *, say: Callable[[str], None], timeout_seconds: float = 300.0) -> RunStatus:
    """Request the run's cancellation in its store, have its backend carry it out, and wait until the run has ended.

    Returns:
        The run's status: cancelled, now or before. If the run outlasts `timeout_seconds`, its status then.

    Raises:
        UserError: the run has succeeded or failed.
    """
    status = run_status(store, run_id)
    if status.terminal and status.state != "cancelled":
        raise UserError(
            f"the run has {status.state} already", where=run_id, remedy=f"`runner pull {run_id}` fetches it"
        )
    if status.terminal:
        return status
    request = CancelRequest(requested_at=utc_now(), host=socket.gethostname(), pid=os.getpid())
    write_cancel_request(store, run_id, request, reopened=times_reopened(store, run_id))
    backend_for(status.infra).cancel(store, run_id, say=say, timeout_seconds=timeout_seconds)
    status = run_status(store, run_id)
    folder = state_folder(store.url, run_id)
    if status.terminal and lock_holder(folder) is None:
        shutil.rmtree(folder, ignore_errors=True)
    return status
