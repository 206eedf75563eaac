"""Follow a sweep to its end, and see to it that lost workers are noticed while somebody looks."""

import time
from collections.abc import Callable
from typing import Literal

from runner.backends.base import poll_seconds
from runner.backends.registry import worker_backend_for
from runner.control.sweeping.launch import LaunchedSweep
from runner.control.sweeping.stop import end_launch, note_lost
from runner.storage.store import Store, StoreUnavailable
from runner.sweeps.events import Entry
from runner.sweeps.journal import Journal
from runner.sweeps.state import SweepState
from runner.sweeps.workers.launches import worker_launches

Ending = Literal["ended", "stopped", "no workers"]

_LOOK_SECONDS = 3.0
"""How often lost workers are looked for, and whether any is left."""

_LAST_SECONDS = 30.0
"""How long workers of this machine may take to leave when nothing is left to do."""


def follow_sweep(
    store: Store,
    launched: LaunchedSweep,
    *,
    on_entry: Callable[[Entry], None],
    show: Callable[[SweepState], None],
) -> tuple[Ending, SweepState]:
    """Follow a sweep until it has ended, was stopped, or none of its workers is left.

    Args:
        store: where it lives.
        launched: the sweep.
        on_entry: called with each entry of its journal that is newer than `LaunchedSweep.since`.
        show: called again and again, for a display.

    Raises:
        KeyboardInterrupt: from the person; the workers go on, or not, as they were started.
    """

    def tell(entry: Entry) -> None:
        if entry["number"] > launched.since:
            on_entry(entry)

    journal = Journal(store, launched.definition, by="a follower", on_entry=tell)
    looked_at = time.monotonic()
    while True:
        try:
            state = journal.catch_up()
            if state.ended is not None or (state.stop is not None and not state.running):
                _let_them_leave(store, launched)
                return ("stopped" if state.ended is None else "ended"), journal.catch_up()
            if time.monotonic() - looked_at > _LOOK_SECONDS:
                looked_at = time.monotonic()
                note_lost(store, journal)
                if not _any_worker(store, launched):
                    state = journal.catch_up()
                    over = state.ended is not None or state.stop is not None
                    return ("ended" if state.ended else "stopped" if over else "no workers"), state
            show(state)
        except StoreUnavailable:
            pass  # it may be back; the workers are patient too
        time.sleep(poll_seconds(store))


def end_workers(store: Store, launched: LaunchedSweep, *, say: Callable[[str], None]) -> None:
    """Have the workers that this process started save and leave: their person has had enough for now."""
    for launch in worker_launches(store, launched.sweep_id):
        if launch.ended is None and launch.is_from_here:
            end_launch(store, launch, say)
    note_lost(store, Journal(store, launched.definition, by="a follower"))


def _any_worker(store: Store, launched: LaunchedSweep) -> bool:
    """Whether a worker may be left: one of this machine is looked for, others are believed to be there."""
    launches = worker_launches(store, launched.sweep_id)
    if not launches:
        return True  # there is one: a folder that is away for a while lists nothing
    for launch in launches:
        if launch.ended is not None:
            continue
        if not (launch.is_from_here and launch.record["engine"] in ("local", "docker")):
            return True
        if not worker_backend_for(launch.record.get("infra", "local")).status(store, launch).ended:
            return True
    return False


def _let_them_leave(store: Store, launched: LaunchedSweep) -> None:
    if launched.detached:
        return
    until = time.monotonic() + _LAST_SECONDS
    while _any_worker(store, launched) and time.monotonic() < until:
        time.sleep(0.2)
