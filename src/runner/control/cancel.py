"""End a run for good, wherever it runs."""

import os
import shutil
import socket
from collections.abc import Callable

from runner.backends.lock import lock_holder
from runner.backends.registry import backend_for
from runner.errors import UserError
from runner.paths import state_folder
from runner.runs.record_types.run import CancelRequest
from runner.runs.records import times_reopened, utc_now, write_cancel_request
from runner.runs.status import RunStatus, run_status
from runner.storage.store import Store


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
