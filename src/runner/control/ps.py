"""List runs, and have their backends asked about those that wait."""

from runner.backends.base import Backend
from runner.backends.registry import backend_for
from runner.runs.listing import list_runs
from runner.runs.status import RunStatus
from runner.storage.store import Store


def list_and_refresh(store: Store) -> list[RunStatus]:
    """Return every run of the store, the newest first.

    What is known of a run's queue, its machine or a lack of capacity is what its backend said before; the backends of
    the runs that wait are asked again in the background, for the next call.
    """
    runs = list_runs(store)
    waiting: dict[type[Backend], list[str]] = {}
    for run in runs:
        if run.state in ("pending", "interrupted") and run.retry:
            waiting.setdefault(type(backend_for(run.infra)), []).append(run.run_id)
    for backend, run_ids in waiting.items():
        backend().refresh(store, run_ids)
    return runs
