"""What the bytes of a run in the store are: checkpoints, artifacts, logs, metrics, inputs, records."""

from collections import Counter
from collections.abc import Iterable

from runner.runs.layout import RUNS, is_run_id
from runner.storage.store import ObjectInfo

KINDS = ("checkpoints", "artifacts", "logs", "metrics", "inputs", "records")
"""In the order in which people see them."""

_FOLDERS = {
    "checkpoints": "checkpoints",
    "artifacts": "artifacts",
    "logs": "logs",
    "metrics": "metrics",
    "system": "metrics",
    "inputs": "inputs",
}


def kind_of(name: str) -> str:
    """The kind of an object, by its key within the run."""
    return _FOLDERS.get(name.partition("/")[0], "records") if "/" in name else "records"


def by_run(infos: Iterable[ObjectInfo]) -> dict[str, list[ObjectInfo]]:
    """The objects of each run, from a listing of ``runs/``."""
    found: dict[str, list[ObjectInfo]] = {}
    for info in infos:
        run_id = info.key.removeprefix(RUNS).partition("/")[0]
        if is_run_id(run_id):
            found.setdefault(run_id, []).append(info)
    return found


def bytes_by_kind(run_id: str, infos: Iterable[ObjectInfo]) -> Counter[str]:
    """How many bytes of each kind there are among a run's objects."""
    prefix = f"{RUNS}{run_id}/"
    found: Counter[str] = Counter()
    for info in infos:
        found[kind_of(info.key.removeprefix(prefix))] += info.size
    return found
