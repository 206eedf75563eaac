"""A sweep's workers in the slots of this machine, however the process is started that starts them."""

import shlex
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.backends.base import Say
from runner.backends.local.slots import find_devices, make_slots
from runner.backends.workers import WORKER, SweepWorkers, WorkerBackend, WorkersStatus
from runner.errors import UserError
from runner.paths import sweep_folder
from runner.runs.layout import SECRET_NAMES
from runner.storage.store import Store
from runner.sweeps.workers.launches import WorkersLaunch, note_workers, note_workers_ended

SLOTS = "runner.backends.local.slots"

_LOOK_SECONDS = 0.2
_KILLED_SECONDS = 10.0
"""How long what was killed may take to be gone."""


@dataclass(frozen=True, kw_only=True)
class SlotsRequest:
    """What is started on this machine. As `workers.WorkersRequest`."""

    workers: SweepWorkers
    """What was asked for."""
    count: int
    """How many workers that is here."""
    arguments: Sequence[str]
    """The arguments of what starts them, without the folder of this launch's output."""
    command: Sequence[str]
    """The command for people: it is not tied to the life of any process."""

    def as_json(self) -> dict[str, Any]:
        """The command and how many workers it starts."""
        return {"command": list(self.command), "workers": self.count}

    def as_text(self) -> str:
        """The command."""
        return f"{shlex.join(self.command)}\n"


class SlotWorkers(WorkerBackend):
    """The part of a backend of this machine that does not depend on how the workers are started."""

    engine: str
    """The backend's name in the records."""
    module = WORKER
    """The worker's program. Tests put a stand-in here."""

    def default_count(self, *, gpus_per_trial: int | None, trials_per_gpu: int) -> int:
        """As many as the GPUs of this machine give; without any, as many as share one.

        Raises:
            UserError: this machine has fewer GPUs than a trial needs.
        """
        return len(make_slots(find_devices(), gpus_per_trial=gpus_per_trial, trials_per_gpu=trials_per_gpu))

    def status(self, store: Store, launch: WorkersLaunch) -> WorkersStatus:
        """Look whether what started the workers is there.

        Raises:
            UserError: they are on another machine, or cannot be looked for.
        """
        if launch.ended is not None:
            statuses = [launch.ended["status"]] * launch.record["count"]
            return WorkersStatus(statuses=statuses, alive=0, reason=launch.ended.get("reason"))
        if not launch.is_from_here:
            host = launch.record.get("host") or "another machine"
            raise UserError(
                f"its workers are processes of {host}, which this machine cannot see",
                where=launch.sweep_id,
                remedy="run the command there, or look at the sweep: its workers end by themselves when it is stopped",
            )
        count = launch.record["count"]
        if self.runs(launch):
            return WorkersStatus(statuses=["RUNNING"] * count, alive=count)
        note_workers_ended(store, launch, status="ENDED")
        return WorkersStatus(statuses=["ENDED"] * count, alive=0)

    def stop(self, store: Store, launch: WorkersLaunch, *, say: Say, timeout_seconds: float) -> WorkersStatus:
        """Have the workers save and end; kill them when time is up.

        Raises:
            UserError: as `status`.
        """
        status = self.status(store, launch)
        if status.ended:
            return status
        self.terminate(launch)
        if not self._ends(launch, timeout_seconds):
            say(f"the workers of {launch.sweep_id} do not end within {timeout_seconds:.0f} s: killing them")
            self.kill(launch)
            self._ends(launch, _KILLED_SECONDS)
        self.clear(launch)
        return self.status(store, launch)

    def slots_arguments(self, store_url: str, workers: SweepWorkers) -> tuple[list[str], int]:
        """Return the arguments of what starts the workers, and how many workers that is.

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
        arguments = [*workers.arguments(store_url), "--work-dir", str(work)]
        arguments += ["--workers", str(len(slots)), "--trials-per-gpu", str(workers.trials_per_gpu)]
        arguments += ["--gpus-per-trial", str(workers.gpus_per_trial)] if workers.gpus_per_trial else []
        arguments += ["--module", self.module] if self.module != WORKER else []
        return arguments, len(slots)

    def note(self, store: Store, request: SlotsRequest, environment: Mapping[str, str]) -> WorkersLaunch:
        """Record that workers are about to be started."""
        return note_workers(
            store,
            request.workers.sweep_id,
            request.workers.placement.fields(),
            engine=self.engine,
            count=request.count,
            environment=[name for name in environment if name != SECRET_NAMES],
        )

    @abstractmethod
    def runs(self, launch: WorkersLaunch) -> bool:
        """Whether what started the workers is there."""

    @abstractmethod
    def terminate(self, launch: WorkersLaunch) -> None:
        """Send SIGTERM to it, which passes that on."""

    @abstractmethod
    def kill(self, launch: WorkersLaunch) -> None:
        """Kill it; they die with it."""

    def clear(self, launch: WorkersLaunch) -> None:
        """Let go of what this process holds of it: nothing, if it was not started like that."""

    def _ends(self, launch: WorkersLaunch, timeout_seconds: float) -> bool:
        until = time.monotonic() + timeout_seconds
        while self.runs(launch):
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK_SECONDS)
        return True


def workers_logs(store_url: str, launch: WorkersLaunch) -> Path:
    """The folder of this machine that holds what the workers of a launch print."""
    return sweep_folder(store_url, launch.sweep_id) / f"workers-{launch.number}"


def counted(count: int) -> str:
    """``1 worker``, ``2 workers``."""
    return f"{count} {'worker' if count == 1 else 'workers'}"
