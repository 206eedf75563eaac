"""Find and delete what nothing needs any more. What a run needs to go on is never among it.

Without further wishes only what no command reads: what attempts that were killed have left half written, checkpoints
off a run's lineage, artifacts in whose place a later attempt has put others, deletions that were cut short, uploads
that were never completed, versions that were overwritten or deleted, and folders of ended runs on this machine. Runs
that have not ended are not touched, nor are those with the tag ``keep``.
"""

import contextlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runner.backends.lock import lock_holder
from runner.control.keeping.rm import Removal, delete_objects, is_trial_of, remove, remove_run
from runner.paths import state_folder
from runner.runs.checkpoints.lineage import read_lineage
from runner.runs.keeping.bases import bases
from runner.runs.keeping.removals import removals, sweep_removals
from runner.runs.keeping.usage import by_run
from runner.runs.layout import MARKED, RUN, RUNS, CheckpointName, is_run_id, is_token, run_key
from runner.runs.listing import list_runs
from runner.runs.marks.marks import KEEP, marks_of
from runner.runs.records import run_document, run_result
from runner.runs.status import RunStatus
from runner.storage.commit import read_manifest
from runner.storage.leftovers.find import Leftover, delete_leftovers, find_leftovers
from runner.storage.manifest import MANIFEST, Damaged
from runner.storage.store import NotFound, ObjectInfo, Store
from runner.sweeps.layout import SWEEPS

LEAST_AGE = timedelta(hours=1)
"""What was written more recently than this stays: clocks differ, and an export may be under way."""
UNFINISHED_AGE = timedelta(days=1)
"""The same of uploads and versions."""
NEVER_BEGUN_AGE = timedelta(days=7)
"""The same of a folder without ``run.json``: a launch that was cut short."""

_WHOLE_RUNS = "ended runs"
_OFF = "checkpoints off the lineage"
_OLDER = "older checkpoints of ended runs"
_AGAIN = "artifacts made again"
_COMMITTED = (_WHOLE_RUNS, _OFF, _OLDER, _AGAIN)

_ARTIFACT = re.compile(rb"artifacts/[^/\"\\]+/[^/\"\\]+/")


@dataclass(kw_only=True)
class Item:
    """Something that can go."""

    kind: str
    """What it is, in words."""
    run_id: str | None
    """Whose."""
    name: str
    """Which: a folder's name."""
    size: int
    """Bytes."""
    objects: Sequence[ObjectInfo] = ()
    """Objects to delete."""
    leftovers: Sequence[Leftover] = ()
    """What is no object."""
    folder: Path | None = None
    """A folder of this machine."""
    whole_run: bool = False
    """Whether it is the run itself."""

    @property
    def is_whole_or_committed(self) -> bool:
        """Whether another run may have been made from it: it is more than what was never completed."""
        return self.kind in _COMMITTED


@dataclass(kw_only=True)
class Garbage:
    """What can go."""

    items: list[Item] = field(default_factory=list)
    """Each with what it is."""

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(item.size for item in self.items)

    @property
    def bytes_by_kind(self) -> Counter[str]:
        """Bytes of each kind."""
        found: Counter[str] = Counter()
        for item in self.items:
            found[item.kind] += item.size
        return found


def find_garbage(
    store: Store,
    *,
    older_than: timedelta | None = None,
    keep_last: int | None = None,
    runs: bool = False,
    now: datetime | None = None,
) -> Garbage:
    """Find what can be deleted; nothing is.

    Args:
        store: where to look.
        older_than: leave alone what is younger, and runs that ended since.
        keep_last: of each ended run, also its checkpoints but the newest so many (at least one) and the best.
        runs: also whole runs that have ended longer than `older_than` ago, except for trials of sweeps, and for runs
            that others were made from.
        now: the present.
    """
    now = now or datetime.now(UTC)
    age = max(older_than or timedelta(), LEAST_AGE)
    statuses = {
        status.run_id: status for status in list_runs(store)
    }  # before the listing: what comes later is not in it
    kept = {run_id for run_id, marks in marks_of(store).items() if KEEP in marks.tags}
    groups = by_run(store.objects(RUNS))
    being_removed = removals(store)
    items: list[Item] = []
    for run_id in being_removed:
        size = _size(groups.pop(run_id, ()))
        items.append(
            Item(kind="runs whose deletion was cut short", run_id=run_id, name=run_id, size=size, whole_run=True)
        )
    items += [
        Item(kind="sweeps whose deletion was cut short", run_id=None, name=sweep_id, size=0, whole_run=True)
        for sweep_id in sweep_removals(store)
    ]
    for run_id, infos in groups.items():
        if run_id in kept:
            continue
        status = statuses.get(run_id)
        if status is None:
            if not any(info.key == run_key(run_id, RUN) for info in infos) and _newest(infos) < now - max(
                age, NEVER_BEGUN_AGE
            ):
                items.append(_item("launches that were cut short", run_id, run_id, infos))
            continue
        if not status.terminal or _ended_at(status, infos) > now - age:
            continue
        if runs and older_than is not None and not _is_trial(store, run_id):
            items.append(Item(kind=_WHOLE_RUNS, run_id=run_id, name=run_id, size=_size(infos), whole_run=True))
            continue
        items += _of_run(store, status, infos, now - age, keep_last)
    if any(item.is_whole_or_committed for item in items):
        needed = bases(store, groups)
        items = [item for item in items if item.run_id not in needed or not item.is_whole_or_committed]
    items += _others(store, statuses, groups.keys() | being_removed.keys(), now, older_than or timedelta())
    return Garbage(items=items)


def collect(store: Store, garbage: Garbage) -> int:
    """Delete it; return the bytes that became free. May be cut short and called again with what is found then.

    Raises:
        StoreUnavailable, UserError: from the store.
    """
    freed = 0
    for item in garbage.items:
        if item.whole_run and item.run_id is None:
            trials = [name for name in store.folders(RUNS) if is_trial_of(name, item.name)]
            remove(store, Removal(run_ids=trials, sweep_ids=[item.name]))
        elif item.whole_run and item.run_id is not None:
            remove_run(store, item.run_id)
        elif item.folder is not None:
            shutil.rmtree(item.folder, ignore_errors=True)
        else:
            delete_objects(store, item.objects)
            delete_leftovers(store, item.leftovers)
        freed += item.size
    return freed


def _of_run(
    store: Store, status: RunStatus, infos: Sequence[ObjectInfo], before: datetime, keep_last: int | None
) -> list[Item]:
    """What an ended run can do without."""
    run_id = status.run_id
    items = []
    folders = _folders(infos, run_key(run_id, "checkpoints/"), depth=1)
    made = _folders(infos, run_key(run_id, "artifacts/"), depth=2)
    whole = {name: group for name, group in folders.items() if _is_committed(group)}
    for name, group in folders.items():
        checkpoint = CheckpointName.parse(name)
        if name not in whole and checkpoint is not None and _newest(group) < before:
            items.append(_item("checkpoints half written", run_id, name, group))
    for name, group in made.items():
        if not _is_committed(group) and _newest(group) < before:
            items.append(_item("artifacts half written", run_id, name, group))
    try:
        kept, off = _split(store, status, whole)
    except (Damaged, NotFound):
        return items  # who knows what counts
    items += [_item(_OFF, run_id, name, whole[name]) for name in off]
    if keep_last is not None:
        spare = _beyond(store, run_id, kept, max(keep_last, 1))
        items += [_item(_OLDER, run_id, name, whole[name]) for name in spare]
    if status.state != "failed":  # who goes on with a failed run takes what there is
        with contextlib.suppress(Damaged, NotFound):
            superseded = _superseded(store, run_id, made, kept)
            items += [_item(_AGAIN, run_id, name, made[name]) for name in superseded]
    return items


def _split(store: Store, status: RunStatus, whole: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """Return the committed checkpoints that count, the newest first, and those that never will again."""
    names = [name for text in whole if (name := CheckpointName.parse(text)) is not None and str(name) == text]
    if not names:
        return [], []
    lineage = read_lineage(store, status.run_id)
    held = sorted(filter(lineage.holds_checkpoint, names), key=lineage.in_order, reverse=True)
    known = int(status.attempts)
    off = [
        name for name in names if name not in held and int(name.token.partition("-")[0]) <= known and lineage.segments
    ]
    return [str(name) for name in held], [str(name) for name in off]


def _beyond(store: Store, run_id: str, kept: Sequence[str], keep_last: int) -> list[str]:
    """Return the checkpoints that are neither among the newest nor the best of their stage. Damaged ones stay."""
    good = 0
    best: set[tuple[str, object]] = set()
    spare = []
    for text in kept:
        name = CheckpointName.parse(text)
        assert name is not None, "of a listing of checkpoints"
        try:
            told = read_manifest(store, run_key(run_id, f"checkpoints/{text}/")).metadata.get("best")
        except (Damaged, NotFound):
            continue
        if isinstance(told, dict):
            best.add((name.stage, told.get("step")))
        if good < keep_last:
            good += 1
        else:
            spare.append(name)
    return [str(name) for name in spare if (name.stage, name.step) not in best]


def _superseded(
    store: Store, run_id: str, made: Mapping[str, Sequence[ObjectInfo]], checkpoints: Iterable[str]
) -> list[str]:
    """Return the artifacts in whose place the result names others, and that nothing else names."""
    result = run_result(store, run_id)
    if result is None or not result.get("artifacts"):
        return []
    root = run_key(run_id, "artifacts/")
    committed = {name for name, group in made.items() if _is_committed(group)}
    named = _named(json.dumps(result).encode())
    candidates = {
        name
        for name in committed - named
        if is_token(name.partition("/")[2])
        and any(other.partition("/")[0] == name.partition("/")[0] for other in named)
    }
    if not candidates:
        return []
    keys = [run_key(run_id, f"checkpoints/{name}/runner_state.json") for name in checkpoints]
    keys += [info.key for info in store.objects(run_key(run_id, "evaluations/"))]
    keys += [f"{root}{name}/{MANIFEST}" for name in committed - candidates]
    for key in keys:
        with contextlib.suppress(NotFound):
            named |= _named(store.get(key))
    return sorted(candidates - named)


def _named(data: bytes) -> set[str]:
    """The artifacts that a record names, as ``<name>/<token>``."""
    return {match.decode(errors="replace").split("/", 1)[1].rstrip("/") for match in _ARTIFACT.findall(data)}


def _others(
    store: Store, statuses: Mapping[str, RunStatus], there: Iterable[str], now: datetime, older_than: timedelta
) -> list[Item]:
    """What belongs to no run that is there."""
    items = []
    before = now - max(UNFINISHED_AGE, older_than)
    kinds = {"upload": "uploads not completed", "version": "versions overwritten or deleted"}
    for prefix in (RUNS, SWEEPS):
        for leftover in find_leftovers(store, prefix):
            if leftover.written_at < before:
                item = Item(kind=kinds[leftover.kind], run_id=None, name=leftover.key, size=leftover.size)
                item.leftovers = [leftover]
                items.append(item)
    known = set(there)
    items += [
        _item("records of runs that are gone", None, info.key, [info])
        for info in store.objects(MARKED)
        if info.key.removeprefix(MARKED).removesuffix(".json") not in known and info.last_modified < before
    ]
    probes = [info for info in store.objects("probes/") if info.last_modified < before]
    items += [_item("probes of the store", None, info.key, [info]) for info in probes]
    root = state_folder(store.url, "x").parent
    with contextlib.suppress(OSError):
        for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
            status = statuses.get(entry.name) if is_run_id(entry.name) else None
            folder = Path(entry.path)
            over = status is not None and status.terminal and lock_holder(folder) is None
            left = entry.name.startswith("export-") and entry.stat().st_mtime < before.timestamp()
            if (over or left) and (size := _folder_size(folder)):
                name = f"{entry.name} on this machine"
                items.append(Item(kind="work folders of ended runs", run_id=None, name=name, size=size, folder=folder))
    return items


def _item(kind: str, run_id: str | None, name: str, infos: Sequence[ObjectInfo]) -> Item:
    return Item(kind=kind, run_id=run_id, name=name, size=_size(infos), objects=infos)


def _folders(infos: Iterable[ObjectInfo], root: str, *, depth: int) -> dict[str, list[ObjectInfo]]:
    """The objects below a key, by the first parts of their names."""
    found: dict[str, list[ObjectInfo]] = {}
    for info in infos:
        if info.key.startswith(root):
            parts = info.key.removeprefix(root).split("/")
            if len(parts) > depth:
                found.setdefault("/".join(parts[:depth]), []).append(info)
    return found


def _is_committed(infos: Iterable[ObjectInfo]) -> bool:
    return any(info.key.rpartition("/")[2] == MANIFEST for info in infos)


def _newest(infos: Iterable[ObjectInfo]) -> datetime:
    return max(info.last_modified for info in infos)


def _ended_at(status: RunStatus, infos: Iterable[ObjectInfo]) -> datetime:
    with contextlib.suppress(ValueError, TypeError):
        moment = datetime.fromisoformat(status.ended_at or "")
        if moment.tzinfo is not None:
            return moment
    return _newest(infos)


def _is_trial(store: Store, run_id: str) -> bool:
    """Whether a run is one of a sweep. One whose record cannot be read may be."""
    try:
        return "sweep" in run_document(store, run_id)
    except (Damaged, NotFound):
        return True


def _size(infos: Iterable[ObjectInfo]) -> int:
    return sum(info.size for info in infos)


def _folder_size(folder: Path) -> int:
    total = 0
    for above, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(above, name).lstat().st_size
    return total
