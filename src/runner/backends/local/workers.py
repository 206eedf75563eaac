"""A sweep's workers on this machine: one process of ours starts them (`runner.backends.local.slots`)."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from runner.backends.base import Reporter
from runner.backends.local.slot_workers import SLOTS, SlotsRequest, SlotWorkers, counted, workers_logs
from runner.backends.local.training_side import require_training_side
from runner.backends.workers import SweepWorkers, WorkersRequest
from runner.errors import UserError
from runner.paths import make_folder
from runner.process import process_runs
from runner.storage.store import Store
from runner.sweeps.workers.launches import WorkersLaunch, WorkersStarted, note_workers_ended, note_workers_started

_START_SECONDS = 0.5
"""So long after the start an end at once is a mistake that is shown now."""


class LocalWorkers(SlotWorkers):
    """Workers are processes of this machine, with this Python's packages."""

    engine = "local"

    def require(self) -> None:
        """Refuse at once if this machine cannot train.

        Raises:
            UserError: a package of the training side is not installed.
        """
        require_training_side()

    def request(self, store_url: str, workers: SweepWorkers, *, environment: Sequence[str]) -> SlotsRequest:
        """Build the command that starts the workers.

        Raises:
            UserError: there are fewer GPUs than that.
        """
        arguments, count = self.slots_arguments(store_url, workers)
        command = [sys.executable, "-P", "-m", SLOTS, *arguments]
        return SlotsRequest(workers=workers, count=count, arguments=arguments, command=command)

    def start(
        self,
        store: Store,
        request: WorkersRequest,
        *,
        environment: Mapping[str, str],
        detach: bool,
        reporter: Reporter,
    ) -> WorkersLaunch:
        """Start the workers; they die with this process unless they are to be detached.

        Call it from the main thread: the kernel watches the thread that starts them.

        Raises:
            UserError: this machine cannot train, or they ended at once; the message repeats their words.
        """
        assert isinstance(request, SlotsRequest)
        self.require()
        launch = self.note(store, request, environment)
        logs = workers_logs(store.url, launch)
        make_folder(logs)
        command = [*request.command, "--logs", str(logs), *([] if detach else ["--parent", str(os.getpid())])]
        with (logs / "workers.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        launch = note_workers_started(store, launch, WorkersStarted(pid=process.pid))
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(_START_SECONDS)
            if code not in (0, 75):
                words = (logs / "workers.log").read_text(errors="replace").strip() or f"exit code {code}"
                note_workers_ended(store, launch, status="REFUSED", reason=words.splitlines()[-1])
                raise UserError(f"no worker was started: {words}", where=launch.sweep_id)
        reporter.say(f"{counted(request.count)} on this machine; what they print is in {logs}")
        return launch

    def runs(self, launch: WorkersLaunch) -> bool:
        """Whether the process that starts the workers is there."""
        pid = _pid(launch)
        if pid is None:
            return False
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # if this process started it, it has to be reaped
        return process_runs(pid, launch.sweep_id)

    def terminate(self, launch: WorkersLaunch) -> None:
        """Send it SIGTERM."""
        _send(launch, signal.SIGTERM)

    def kill(self, launch: WorkersLaunch) -> None:
        """Send it SIGKILL."""
        _send(launch, signal.SIGKILL)


def _send(launch: WorkersLaunch, number: int) -> None:
    pid = _pid(launch)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _pid(launch: WorkersLaunch) -> int | None:
    return None if launch.started is None else launch.started.get("pid")
