"""A run's checkpoints: where each stands, how good the model was there, and what it takes."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runner.runs.checkpoints.choice import MODEL_WEIGHT_FILES
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.layout import CheckpointName, checkpoint_prefix, run_key
from runner.runs.metrics import read_metrics
from runner.runs.record_types.result import MetricRecord
from runner.runs.records import run_document
from runner.storage.commit import read_manifest
from runner.storage.manifest import MANIFEST, Damaged, Manifest
from runner.storage.store import NotFound, ObjectInfo, Store

_READERS = 8


@dataclass(frozen=True, kw_only=True)
class StoredCheckpoint:
    """A committed checkpoint that counts."""

    name: CheckpointName
    """Its whole name."""
    size: int
    """Bytes of all of its files."""
    committed_at: datetime
    """When it was whole in the store."""
    metric: str | None
    """Which metric is the best's; ``eval_loss`` where none is tracked and the run evaluates, else ``loss``."""
    value: float | None
    """That metric at its step; None: nothing was measured there."""
    loss: float | None
    """The training loss of its step."""
    is_best: bool
    """Whether it is the best of its stage."""
    has_weights: bool
    """Whether a model can be made of it alone: ZeRO splits weights over processes."""
    problem: str | None
    """Why it cannot be used; None: it is whole."""


def list_checkpoints(store: Store, run_id: str) -> list[StoredCheckpoint]:
    """Return the run's checkpoints, the newest first. Those that no attempt goes on from any more are left out.

    Args:
        store: where the run lives.
        run_id: the run.

    Raises:
        NotFound: there is no such run.
        DamagedRecord: a record of an attempt cannot be trusted.
    """
    document = run_document(store, run_id)
    names = checkpoints(store, run_id)
    root = run_key(run_id, "checkpoints/")
    files: dict[str, dict[str, ObjectInfo]] = {}
    for info in store.objects(root):
        folder, _, file = info.key.removeprefix(root).partition("/")
        files.setdefault(folder, {})[file] = info
    names = [name for name in names if MANIFEST in files.get(str(name), {})]
    try:
        records = read_metrics(store, run_id)
    except Damaged:
        records = []  # the checkpoints are there all the same
    with ThreadPoolExecutor(_READERS, thread_name_prefix="checkpoints") as readers:
        manifests = list(readers.map(lambda name: _manifest(store, run_id, name, files[str(name)]), names))
    best: dict[str, dict[str, Any] | None] = {}
    for name, found in zip(names, manifests, strict=True):  # the newest of a stage knows its best
        if isinstance(found, Manifest):
            told = found.metadata.get("best")
            best.setdefault(name.stage, told if isinstance(told, dict) else None)
    recipe = document["recipe"]
    training: dict[str, Mapping[str, Any]] = {
        stage["stage"]: stage.get("training") or {} for stage in recipe.get("stages") or []
    }
    listed = []
    for name, found in zip(names, manifests, strict=True):
        there = {record["kind"]: record for record in records if (record["stage"], record["step"]) == _place(name)}
        told = best.get(name.stage)
        metric, value = _metric(told, name, there, training.get(name.stage, recipe.get("training") or {}))
        listed.append(
            StoredCheckpoint(
                name=name,
                size=sum(info.size for info in files[str(name)].values()),
                committed_at=files[str(name)][MANIFEST].last_modified,
                metric=metric,
                value=value,
                loss=_number(there["train"].get("loss")) if "train" in there else None,
                is_best=told is not None and told.get("step") == name.step,
                has_weights=bool(MODEL_WEIGHT_FILES.intersection(files[str(name)])),
                problem=None if isinstance(found, Manifest) else str(found),
            )
        )
    return listed


def _manifest(
    store: Store, run_id: str, name: CheckpointName, files: Mapping[str, ObjectInfo]
) -> Manifest | Damaged | NotFound:
    """Return a checkpoint's manifest, or what is wrong with it or with the sizes of its files."""
    try:
        manifest = read_manifest(store, checkpoint_prefix(run_id, name))
    except (Damaged, NotFound) as error:
        return error
    for file in manifest.files:
        if file.name not in files:
            return Damaged(file.name, "missing")
        if files[file.name].size != file.size:
            return Damaged(file.name, f"{files[file.name].size} bytes instead of {file.size}")
    return manifest


def _place(name: CheckpointName) -> tuple[str, int]:
    return name.stage, name.step


def _metric(
    best: Mapping[str, Any] | None, name: CheckpointName, there: Mapping[str, MetricRecord], training: Mapping[str, Any]
) -> tuple[str | None, float | None]:
    metric = (best or {}).get("metric") or training.get("metric_for_best_model")
    if best is not None and best.get("step") == name.step and _number(best.get("value")) is not None:
        return str(metric), _number(best["value"])
    evaluation: Mapping[str, Any] = there.get("eval", {})
    if metric:
        names = (str(metric), f"eval_{metric}", str(metric).removeprefix("eval_"))
        return str(metric), next((value for key in names if (value := _number(evaluation.get(key))) is not None), None)
    if evaluation:
        return "eval_loss", _number(evaluation.get("eval_loss"))
    return ("loss", _number(there["train"].get("loss"))) if "train" in there else (None, None)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
