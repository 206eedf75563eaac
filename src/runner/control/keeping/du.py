"""What takes room in a store, by run and kind. Two or three listings, and no object is read."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runner.runs.keeping.usage import by_run, bytes_by_kind
from runner.runs.layout import RUNS, run_prefix
from runner.storage.leftovers.find import find_leftovers
from runner.storage.store import ObjectInfo, Store
from runner.sweeps.layout import SWEEPS, is_sweep_id


@dataclass(frozen=True, kw_only=True)
class Usage:
    """How many bytes there are of what."""

    runs: Mapping[str, Counter[str]]
    """By run, the largest first, and kind (`runner.runs.keeping.usage.KINDS`)."""
    sweeps: Mapping[str, int] = field(default_factory=dict)
    """By sweep: its journal, and inputs that its trials share; without the trials."""
    others: Mapping[str, int] = field(default_factory=dict)
    """``uploads`` that were not completed, ``versions`` that were overwritten or deleted, and ``other`` objects."""

    @property
    def size(self) -> int:
        """All of it."""
        return sum(map(sum, (kinds.values() for kinds in self.runs.values()))) + sum(
            (*self.sweeps.values(), *self.others.values())
        )


def usage(store: Store, run_ids: Sequence[str] | None = None) -> Usage:
    """Return what runs take of a store.

    Args:
        store: the store.
        run_ids: which runs; None: all, and all else that is in the store.
    """
    if run_ids is not None:
        found = {run_id: bytes_by_kind(run_id, store.objects(run_prefix(run_id))) for run_id in run_ids}
        return Usage(runs=_largest_first(found))
    infos = list(store.objects(RUNS))
    groups = by_run(infos)
    sweeps: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for info in store.objects(SWEEPS):
        sweep_id = info.key.removeprefix(SWEEPS).partition("/")[0]
        if is_sweep_id(sweep_id):
            sweeps[sweep_id] += info.size
    others["other"] = _size(infos) - sum(_size(group) for group in groups.values())
    for prefix in ("probes/", "marked/", "removing/", "listed/"):
        others["other"] += sum(info.size for info in store.objects(prefix))
    for prefix in (RUNS, SWEEPS):
        for leftover in find_leftovers(store, prefix):
            others[f"{leftover.kind}s"] += leftover.size
    return Usage(
        runs=_largest_first({run_id: bytes_by_kind(run_id, group) for run_id, group in groups.items()}),
        sweeps=dict(sweeps.most_common()),
        others={kind: count for kind, count in others.items() if count},
    )


def _size(infos: Sequence[ObjectInfo]) -> int:
    return sum(info.size for info in infos)


def _largest_first(runs: Mapping[str, Counter[str]]) -> dict[str, Counter[str]]:
    return dict(sorted(runs.items(), key=lambda item: (-sum(item[1].values()), item[0])))
