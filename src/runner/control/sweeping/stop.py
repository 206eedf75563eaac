"""Stop a sweep: no trial is taken, those that run pause, and the machines end."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runner.backends.base import poll_seconds
from runner.backends.registry import worker_backend_for
from runner.backends.workers import WorkersStatus
from runner.errors import UserError
from runner.storage.store import Store
from runner.sweeps.controller import Controller
from runner.sweeps.definition import read_definition
from runner.sweeps.events import Event
from runner.sweeps.journal import Journal
from runner.sweeps.state import SweepState
from runner.sweeps.workers.heartbeats import lost_workers
from runner.sweeps.workers.launches import WorkersLaunch, worker_launches

REASON = "stopped by `runner sweep stop`"

HERE_SECONDS, ELSEWHERE_SECONDS = 60.0, 600.0
"""How long workers may take to end: processes of this machine, which are killed then, and machines of SkyPilot's, which
takes minutes to end a job."""

PAUSE_SECONDS = 120.0
"""How long trials may take to come to a step boundary and to commit their checkpoints before machines are ended."""


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """What is left of a sweep's workers."""

    state: SweepState
    """The sweep."""
    launches: Sequence[tuple[WorkersLaunch, WorkersStatus | None]]
    """Each launch of workers, and what its backend says; None: it could not be asked."""

    @property
    def proven(self) -> bool:
        """Whether every backend has said that nothing is left."""
        return all(status is not None and status.ended for _, status in self.launches)


def request_stop(journal: Journal, reason: str = REASON, *, drain: bool = False) -> None:
    """Write that no trial is taken from now on; nothing if the sweep has ended or that was written before."""

    def decide(state: SweepState) -> list[Event]:
        if state.ended is not None or (state.stop is not None and state.drain == drain):
            return []
        event: Event = {"event": "stop_requested", "reason": reason}
        return [{**event, "drain": True}] if drain else [event]  # type: ignore[list-item]

    journal.append(decide)


def stop_sweep(
    store: Store,
    sweep_id: str,
    *,
    drain: bool = False,
    say: Callable[[str], None],
    timeout_seconds: float = PAUSE_SECONDS,
) -> Stopped:
    """Stop a sweep and end its machines; return when none is left, or what is.

    Nothing is lost: trials pause with a checkpoint, and `runner sweep resume` goes on with them.

    Args:
        store: where the sweep lives.
        sweep_id: the sweep.
        drain: trials that run may reach their next rung; this returns at once, and the workers end by themselves.
        say: receives what happens.
        timeout_seconds: how long trials may take to pause.

    Raises:
        UserError: there is no such sweep.
    """
    journal = Journal(store, read_definition(store, sweep_id), by="stop")
    request_stop(journal, drain=drain)
    if drain and journal.state.ended is None:
        running = len(journal.state.running)
        say(f"{running} running trials go on to their next rung, and pause there; no other is taken")
        return Stopped(state=journal.state, launches=[])
    until = time.monotonic() + timeout_seconds
    while journal.catch_up().running and time.monotonic() < until:
        if not note_lost(store, journal):
            time.sleep(poll_seconds(store))
    ended = [(launch, end_launch(store, launch, say)) for launch in worker_launches(store, sweep_id)]
    note_lost(store, journal)
    return Stopped(state=journal.catch_up(), launches=ended)


def note_lost(store: Store, journal: Journal) -> bool:
    """Write which workers are lost, so that their trials are free; return whether there were any."""
    gone = list(lost_workers(store, journal.definition.sweep_id, journal.state))
    for worker in gone:
        journal.append(worker.events(Controller(journal.definition)))
    return bool(gone)


def end_launch(store: Store, launch: WorkersLaunch, say: Callable[[str], None]) -> WorkersStatus | None:
    """End the workers of a launch; return what is left of them, or None, and say why, if unknown."""
    backend = worker_backend_for(launch.record.get("infra", "local"))
    seconds = HERE_SECONDS if launch.record["engine"] in ("local", "docker") else ELSEWHERE_SECONDS
    try:
        return backend.stop(store, launch, say=say, timeout_seconds=seconds)
    except UserError as error:
        say(f"{launch.record['name']}: {error}")
        return None
