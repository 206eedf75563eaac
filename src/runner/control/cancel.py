"""End a run for good, whoever runs it."""

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable

from runner.backends.lock import lock_holder
from runner.control.wait import poll_seconds
from runner.errors import UserError
from runner.paths import state_folder
from runner.runs.launches import is_remote, newest_launch, note_ended
from runner.runs.liveness import write_cancelled
from runner.runs.record_types.run import CancelRequest
from runner.runs.records import utc_now, write_cancel_request
from runner.runs.status import RunStatus, run_status
from runner.storage.store import Store

_PATIENCE_SECONDS = 10.0
"""How long the attempt may take to find the request itself before its supervisor is told to stop it."""


def cancel_run(store: Store, run_id: str, *, say: Callable[[str], None], timeout_seconds: float = 300.0) -> RunStatus:
    """Ask for the run to end, see to it if it runs on this machine, and wait until it has.

    Returns:
        The run's status: cancelled, as before if it was; whatever it is if the run outlasts `timeout_seconds`.

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
    write_cancel_request(store, run_id, request)
    if is_remote(status.infra):
        return _cancel_elsewhere(store, run_id, say=say)
    started = time.monotonic()
    told = False
    while not status.terminal and time.monotonic() < started + timeout_seconds:
        supervisor = lock_holder(state_folder(store.url, run_id))
        if supervisor is None and status.state != "running":
            write_cancelled(store, run_id)
        elif not told and supervisor and time.monotonic() > started + _PATIENCE_SECONDS:
            say(f"the attempt does not react; stopping its supervisor, process {supervisor}")
            os.kill(supervisor, signal.SIGTERM)
            told = True
        else:
            time.sleep(poll_seconds(store))
        status = run_status(store, run_id)
    if status.terminal and lock_holder(state_folder(store.url, run_id)) is None:
        shutil.rmtree(state_folder(store.url, run_id), ignore_errors=True)
    return status


def _cancel_elsewhere(store: Store, run_id: str, *, say: Callable[[str], None]) -> RunStatus:
    """The same for a run of SkyPilot's: its attempt finds the request, or else SkyPilot stops it."""
    until = time.monotonic() + _PATIENCE_SECONDS
    status = run_status(store, run_id)
    while status.state == "running" and time.monotonic() < until:
        time.sleep(poll_seconds(store))
        status = run_status(store, run_id)
    launch = newest_launch(store, run_id)
    if launch is not None and launch.ended is None:
        from runner.backends.skypilot import client  # here: a local run does without

        say("cancelling it in SkyPilot, which takes some seconds")
        try:
            client.ask("cancel", **launch.handle)
            note_ended(store, launch, status="CANCELLED", reason="cancelled by `runner cancel`")
        except (client.SkyPilotSays, UserError) as error:
            say(f"SkyPilot could not be asked ({error}); `sky jobs cancel -n {launch.record['name']}` does it by hand")
    if not run_status(store, run_id).terminal:
        write_cancelled(store, run_id)
    return run_status(store, run_id)
