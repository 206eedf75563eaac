"""Where a sweep stands: read from the store, with what is known of the trials that train now."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from runner.runs.listing import look_at
from runner.runs.status import RunStatus
from runner.storage.store import Store
from runner.sweeps.definition import Definition, read_definition
from runner.sweeps.journal import Journal
from runner.sweeps.layout import sweep_key, trial_run_id
from runner.sweeps.state import SweepState
from runner.sweeps.views.overview import Overview, make_overview

_HEARTBEAT = ".heartbeat.json"
_MOST_LOOKED_AT = 64
"""Trials that train now whose runs are read; of more than that, only what the journal knows is shown."""


@dataclass(frozen=True, kw_only=True)
class SweepStatus:
    """Where a sweep stands."""

    overview: Overview
    """What the journal knows."""
    runs: Mapping[int, RunStatus]
    """The runs of trials that train now, by trial."""
    silence: Mapping[str, float]
    """Seconds since the last sign of each worker that is there."""


def read_sweep(store: Store, sweep_id: str) -> tuple[Definition, SweepState]:
    """Read a sweep's definition, and its journal as far as it goes.

    Raises:
        NotFound: there is no such sweep.
        DamagedRecord: it cannot be trusted.
    """
    definition = read_definition(store, sweep_id)
    return definition, Journal(store, definition, by="a reader").catch_up()


def sweep_status(store: Store, sweep_id: str) -> SweepStatus:
    """Read where a sweep stands.

    Raises:
        NotFound: there is no such sweep.
        DamagedRecord: it cannot be trusted.
    """
    definition, state = read_sweep(store, sweep_id)
    now = datetime.now(UTC)
    overview = make_overview(definition, state, now=now)
    return SweepStatus(
        overview=overview,
        runs=running_trials(store, definition, state),
        silence=_silence(store, overview, now=now) if overview.workers else {},
    )


def running_trials(store: Store, definition: Definition, state: SweepState) -> dict[int, RunStatus]:
    """Read the runs of the trials that train now, by trial; none if they are very many."""
    if not state.running or len(state.running) > _MOST_LOOKED_AT:
        return {}
    numbers = {trial_run_id(definition.sweep_id, number): number for number in sorted(state.running)}
    return {numbers[status.run_id]: status for status in look_at(store, numbers)}


def _silence(store: Store, overview: Overview, *, now: datetime) -> dict[str, float]:
    prefix = sweep_key(overview.definition.sweep_id, "workers/")
    there = {worker.name for worker in overview.workers}
    signs = {
        info.key.removeprefix(prefix).removesuffix(_HEARTBEAT): (now - info.last_modified).total_seconds()
        for info in store.objects(prefix)
        if info.key.endswith(_HEARTBEAT)
    }
    return {name: max(0.0, seconds) for name, seconds in signs.items() if name in there}
