"""List runs, and have their backends asked about those that wait."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from runner.backends.registry import backend_for
from runner.runs.listing import list_runs
from runner.runs.status import RunStatus
from runner.storage.manifest import Damaged
from runner.storage.store import Store

if TYPE_CHECKING:
    from runner.backends.base import Backend


def list_and_refresh(store: Store, *, on_damaged: Callable[[str, Damaged], None]) -> list[RunStatus]:
    """Return every run of the store, the newest first.

    What is known of a run's queue, its machine or a lack of capacity is what its backend said before; the backends of
    the runs that wait are asked again in the background, for the next call.

    Args:
        store: where the runs live.
        on_damaged: called with the id and the error of each run whose records cannot be trusted; it is left out.
    """
    runs = list_runs(store, on_damaged=on_damaged)
    waiting: dict[type[Backend], list[str]] = {}
    for run in runs:
        if run.state in ("pending", "interrupted") and run.retry:
            waiting.setdefault(type(backend_for(run.infra)), []).append(run.run_id)
    for backend, run_ids in waiting.items():
        backend().refresh(store, run_ids)
    return runs
