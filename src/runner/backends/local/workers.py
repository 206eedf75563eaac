"""A sweep's workers on this machine: one process of ours starts them (`runner.backends.local.slots`)."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.backends.base import Reporter, Say
from runner.backends.local.slots import find_devices, make_slots
from runner.backends.local.training_side import require_training_side
from runner.backends.workers import WORKER, SweepWorkers, WorkerBackend, WorkersRequest, WorkersStatus
from runner.errors import UserError
from runner.paths import make_folder, sweep_folder
from runner.process import process_runs
from runner.runs.layout import SECRET_NAMES
from runner.storage.store import Store
from runner.sweeps.workers.launches import (
    WorkersLaunch,
    WorkersStarted,
    note_workers,
    note_workers_ended,
    note_workers_started,
)

SLOTS = "runner.backends.local.slots"

_START_SECONDS = 0.5
"""So long after the start an end at once is a mistake that is shown now."""


@dataclass(frozen=True, kw_only=True)
class SlotsRequest:
    """What is started on this machine. As `workers.WorkersRequest`."""

    workers: SweepWorkers
    """What was asked for."""
    count: int
    """How many workers that is here."""
    command: Sequence[str]
    """The command that starts them, without the folder of this launch's output."""

    def as_json(self) -> dict[str, Any]:
        """The command and how many workers it starts."""
        return {"command": list(self.command), "workers": self.count}

    def as_text(self) -> str:
        """The command."""
        return f"{shlex.join(self.command)}\n"


class LocalWorkers(WorkerBackend):
    """Workers are processes of this machine, with this Python's packages."""

    engine = "local"
    module = WORKER
    """The worker's program. Tests put a stand-in here."""

    def require(self) -> None:
        """Refuse at once if this machine cannot train.

        Raises:
            UserError: a package of the training side is not installed.
        """
        require_training_side()

    def default_count(self, *, gpus_per_trial: int | None, trials_per_gpu: int) -> int:
        """As many as the GPUs of this machine give; without any, as many as share one.

        Raises:
            UserError: this machine has fewer GPUs than a trial needs.
        """
        return len(make_slots(find_devices(), gpus_per_trial=gpus_per_trial, trials_per_gpu=trials_per_gpu))

    def request(self, store_url: str, workers: SweepWorkers, *, environment: Sequence[str]) -> SlotsRequest:
        """Build the command that starts the workers.

        Raises:
            UserError: there are fewer GPUs than that.
        """
        slots = make_slots(
            find_devices(),
            workers=workers.count,
            gpus_per_trial=workers.gpus_per_trial,
            trials_per_gpu=workers.trials_per_gpu,
        )
        work = sweep_folder(store_url, workers.sweep_id) / "work"
        command = [sys.executable, "-P", "-m", SLOTS, *workers.arguments(store_url), "--work-dir", str(work)]
        command += ["--workers", str(len(slots)), "--trials-per-gpu", str(workers.trials_per_gpu)]
        command += ["--gpus-per-trial", str(workers.gpus_per_trial)] if workers.gpus_per_trial else []
        command += ["--module", self.module] if self.module != WORKER else []
        return SlotsRequest(workers=workers, count=len(slots), command=command)

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
        workers = request.workers
        names = [name for name in environment if name != SECRET_NAMES]
        launch = note_workers(
            store,
            workers.sweep_id,
            workers.placement.fields(),
            engine=self.engine,
            count=request.count,
            environment=names,
        )
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
                raise UserError(f"no worker was started: {words}", where=workers.sweep_id)
        reporter.say(
            f"{request.count} {'worker' if request.count == 1 else 'workers'} on this machine; "
            f"what they print is in {logs}"
        )
        return launch

    def status(self, store: Store, launch: WorkersLaunch) -> WorkersStatus:
        """Look whether the process that starts the workers is there.

        Raises:
            UserError: they are on another machine.
        """
        count = launch.record["count"]
        if launch.ended is not None:
            return ended_status(launch)
        if not launch.is_from_here:
            raise elsewhere(launch)
        if self._runs(launch):
            return WorkersStatus(statuses=["RUNNING"] * count, alive=count)
        note_workers_ended(store, launch, status="ENDED")
        return WorkersStatus(statuses=["ENDED"] * count, alive=0)

    def stop(self, store: Store, launch: WorkersLaunch, *, say: Say, timeout_seconds: float) -> WorkersStatus:
        """Have the workers save and end; kill them when time is up.

        Raises:
            UserError: they are on another machine.
        """
        status = self.status(store, launch)
        pid = _pid(launch)
        if status.ended or pid is None:
            return status
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + timeout_seconds
        while self._runs(launch) and time.monotonic() < until:
            time.sleep(0.1)
        if self._runs(launch):
            say(f"the workers of {launch.sweep_id} do not end within {timeout_seconds:.0f} s: killing them")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # they die with it
            until = time.monotonic() + 10
            while self._runs(launch) and time.monotonic() < until:
                time.sleep(0.1)
        return self.status(store, launch)

    def _runs(self, launch: WorkersLaunch) -> bool:
        pid = _pid(launch)
        if pid is None:
            return False
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # if this process started it, it has to be reaped
        return process_runs(pid, launch.sweep_id)


def workers_logs(store_url: str, launch: WorkersLaunch) -> Path:
    """The folder of this machine that holds what the workers of a launch print."""
    return sweep_folder(store_url, launch.sweep_id) / f"workers-{launch.number}"


def _pid(launch: WorkersLaunch) -> int | None:
    return None if launch.started is None else launch.started.get("pid")


def ended_status(launch: WorkersLaunch) -> WorkersStatus:
    """The status of a launch whose end is recorded."""
    assert launch.ended is not None
    statuses = [launch.ended["status"]] * launch.record["count"]
    return WorkersStatus(statuses=statuses, alive=0, reason=launch.ended.get("reason"))


def elsewhere(launch: WorkersLaunch) -> UserError:
    """Say that the workers of a launch are processes of another machine."""
    host = launch.record.get("host") or "another machine"
    return UserError(
        f"its workers are processes of {host}, which this machine cannot see",
        where=launch.sweep_id,
        remedy="run the command there, or look at the sweep: its workers end by themselves when it is stopped",
    )
