"""Workers' signs of life, and which workers are lost: gone without a word."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from socket import gethostname
from typing import NotRequired, TypedDict

from runner.process import boot_id, pid_namespace, process_runs
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.liveness import FRESH_SECONDS
from runner.runs.record_types.rules import Count, Line
from runner.runs.records import encoded, find_hint, utc_now
from runner.storage.store import Store
from runner.sweeps.controller import Controller
from runner.sweeps.journal import Decide
from runner.sweeps.layout import sweep_key, trial_run_id, worker_key
from runner.sweeps.state import SweepState

_ENDING = ".heartbeat.json"


class WorkerHeartbeat(TypedDict):
    """``workers/<worker>.heartbeat.json``: a hint, overwritten each time."""

    at: Line
    """When, by the worker's clock."""
    host: NotRequired[Line]
    boot_id: NotRequired[Line | None]
    pid_namespace: NotRequired[Line | None]
    pid: NotRequired[Count]
    """Its process, and where that is."""
    trial: NotRequired[Count | None]
    """The trial that it trains."""
    step: NotRequired[Count | None]
    """The step that the trial is at."""


@dataclass(frozen=True, kw_only=True)
class LostWorker:
    """A worker that is gone without a word."""

    name: str
    """Its name."""
    last_sign: str
    """When it was last there (ISO 8601)."""
    reason: str
    """How it is known."""
    steps: Mapping[int, int] = field(default_factory=dict)
    """The newest checkpoint's step of each trial that it had: what it has done counts."""

    def events(self, controller: Controller) -> Decide:
        """Return what frees its trials in the journal."""
        return lambda state: controller.lost(
            state,
            self.name,
            last_sign=self.last_sign,
            reason=self.reason,
            now=datetime.now(UTC),
            steps=self.steps,
        )


def write_worker_heartbeat(
    store: Store, sweep_id: str, worker: str, *, trial: int | None = None, step: int | None = None
) -> None:
    """Say that this process, which is a worker, is alive."""
    beat: WorkerHeartbeat = {
        "at": utc_now(),
        "host": gethostname(),
        "boot_id": boot_id(),
        "pid_namespace": pid_namespace(),
        "pid": os.getpid(),
        "trial": trial,
        "step": step,
    }
    store.put(worker_key(sweep_id, worker), encoded(beat))


def read_worker_heartbeat(store: Store, sweep_id: str, worker: str) -> WorkerHeartbeat | None:
    """The newest sign of life of a worker; None if there is none that can be read."""
    return find_hint(store, worker_key(sweep_id, worker), WorkerHeartbeat)


def lost_workers(store: Store, sweep_id: str, state: SweepState) -> Iterator[LostWorker]:
    """Yield the workers that have joined and not left, and whose signs of life have stopped.

    One listing tells the age of all heartbeats, by the store's clock. A worker of this machine is also looked for by
    its process, so that a trial need not wait for a minute after its worker was killed here.
    """
    present = {worker.name: worker for worker in state.workers.values() if worker.left_at is None}
    if not present:
        return
    prefix = sweep_key(sweep_id, "workers/")
    times = {
        info.key.removeprefix(prefix).removesuffix(_ENDING): info.last_modified
        for info in store.objects(prefix)
        if info.key.endswith(_ENDING)
    }
    now = datetime.now(UTC)
    for name, worker in present.items():
        last = max(times.get(name, datetime.min.replace(tzinfo=UTC)), datetime.fromisoformat(worker.joined_at))
        age = (now - last).total_seconds()
        sign = last.astimezone(UTC).isoformat(timespec="seconds")
        if age > FRESH_SECONDS:
            reason = f"no sign of life for {age:.0f} s"
        elif worker.host == gethostname() and _is_gone(read_worker_heartbeat(store, sweep_id, name), sweep_id):
            reason = "its process is gone"
        else:
            continue
        steps = _newest_steps(store, sweep_id, [state.held[name]] if name in state.held else [])
        yield LostWorker(name=name, last_sign=sign, reason=reason, steps=steps)


def _newest_steps(store: Store, sweep_id: str, trials: Iterable[int]) -> dict[int, int]:
    found = {trial: checkpoints(store, trial_run_id(sweep_id, trial)) for trial in trials}
    return {trial: names[0].step for trial, names in found.items() if names}


def _is_gone(beat: WorkerHeartbeat | None, sweep_id: str) -> bool:
    """Whether a heartbeat names a process of this machine that does not run any more."""
    here = boot_id()
    if beat is None or here is None or beat.get("boot_id") != here or beat.get("pid_namespace") != pid_namespace():
        return False
    pid = beat.get("pid")
    return pid is not None and not process_runs(pid, sweep_id)
