"""What is known of one run, for a comparison: settings, results, curves, and what it was made with."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from runner.control.results.provenance import Provenance
from runner.reports.comparison import ComparedRun, flat_settings
from runner.runs.layout import attempt_key, run_key
from runner.runs.metrics import read_metrics
from runner.runs.record_types.attempt import HardwareRecord
from runner.runs.record_types.result import MetricRecord, Result
from runner.runs.record_types.run import RunDocument
from runner.runs.records import find_hint, numbered_records, run_document, run_result
from runner.runs.status import RunStatus, run_status
from runner.storage.manifest import Damaged
from runner.storage.store import Store

_HARDWARE = "hardware-"


def read_run(store: Store, run_id: str, on_problem: Callable[[Damaged], None]) -> ComparedRun:
    """Return all that is known of a run.

    Args:
        store: where it lives.
        run_id: the run.
        on_problem: called with what is wrong with its metrics; it is there without curves then.

    Raises:
        NotFound: it was deleted.
        Damaged: a record of it cannot be trusted.
    """
    status = run_status(store, run_id)
    document = run_document(store, run_id)
    result: Result | dict[str, Any] = run_result(store, run_id) or {}
    records: list[MetricRecord] = []
    try:
        records = read_metrics(store, run_id)
    except Damaged as error:
        on_problem(error)
    last_stage = [record for record in records if record["stage"] == records[-1]["stage"]]
    measured, before, not_finite = _measured(last_stage, result)
    trained = [record for record in last_stage if record["kind"] == "train"]
    evaluated = [record for record in last_stage if record["kind"] == "eval" and "eval_loss" in record]
    trial = document.get("sweep")
    dropped = result.get("dropped_rows")
    settings = flat_settings(document["recipe"], document.get("settings", {}))
    return ComparedRun(
        status=status if status.step is not None or not trained else dataclasses.replace(status, step=_step(trained)),
        settings=settings,
        drawn={name: settings[name] for name in _drawn(document) if name in settings},
        sweep_id=trial["sweep_id"] if trial else None,
        trial=trial["trial"] if trial else None,
        digest=document.get("digest"),
        facts=_facts(document, status, result, _hardware(store, run_id, result), Provenance(store, run_id)),
        loss=status.loss if status.loss is not None and not trained else _newest(trained, "loss"),
        not_finite=not_finite,
        measured=measured,
        before=before,
        best=result.get("best"),
        seconds=_seconds(status),
        dollars=status.cost,
        dropped_rows=sum(one["rows"] for one in dropped) if dropped is not None else None,
        losses=[(record["step"], record.get("loss")) for record in trained if "loss" in record],
        eval_losses=[(_place(record, trained), record.get("eval_loss")) for record in evaluated],
    )


def _drawn(document: RunDocument) -> list[str]:
    """The dotted names of the settings that a sweep has drawn."""
    settings = document.get("settings", {})
    names = [name for name, it in settings.items() if isinstance(it, Mapping) and it.get("source") == "sweep"]
    return [*names, *document.get("sweep", {}).get("parameters", {})]


def _measured(
    records: Sequence[MetricRecord], result: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, float], dict[str, str]]:
    """The newest values of the metrics of evaluations, those before training, and those that are not finite."""
    measured: dict[str, float] = {}
    before: dict[str, float] = {}
    not_finite: dict[str, str] = {}
    for record in records:
        words = record.get("not_finite", {})
        for name in (name for name in record if name in words or record["kind"] == "train"):
            if name in words:
                not_finite[name] = words[name]
            else:
                not_finite.pop(name, None)
        if record["kind"] == "eval":
            target = before if record.get("phase") == "before" else measured
            for name, value in _numbers(record).items():
                target[name] = value
                not_finite.pop(name, None)
            for name in words:
                target.pop(name, None)
    before |= _numbers(result.get("before") or {})
    for name, value in (result.get("after") or {}).items():
        if value is None:
            measured.pop(name, None)
            not_finite.setdefault(name, "not finite")
    return measured | _numbers(result.get("after") or {}), before, not_finite


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    no_metrics = ("step", "time")
    return {
        name: value
        for name, value in values.items()
        if type(value) in (int, float) and math.isfinite(value) and name not in no_metrics
    }


def _newest(records: Sequence[MetricRecord], name: str) -> float | None:
    values: list[Any] = [record[name] for record in records if name in record]  # type: ignore[literal-required]
    return values[-1] if values else None


def _step(trained: Sequence[MetricRecord]) -> int:
    return trained[-1]["step"]


def _place(record: MetricRecord, trained: Sequence[MetricRecord]) -> int:
    """The step that an evaluation is drawn at: what is measured after training, at its end."""
    after = record.get("phase") == "after" and trained
    return max(record["step"], trained[-1]["step"]) if after else record["step"]


def _hardware(store: Store, run_id: str, result: Mapping[str, Any]) -> list[HardwareRecord]:
    """What the run's attempts were computed with, each kind once, oldest first."""
    numbers = numbered_records(store, run_key(run_id, "attempts/"))
    keys = [
        attempt_key(run_id, number, kind)
        for number, kinds in numbers.items()
        for kind in sorted(kinds)
        if kind.startswith(_HARDWARE)
    ]
    found = [record for record in (find_hint(store, key, HardwareRecord) for key in keys) if record is not None]
    return found or ([result["hardware"]] if result.get("hardware") else [])


def _facts(
    document: RunDocument,
    status: RunStatus,
    result: Mapping[str, Any],
    hardware: Sequence[HardwareRecord],
    provenance: Provenance,
) -> dict[str, dict[str, Any]]:
    """What else may differ. What is not known of a run is left out."""

    def each(name: str) -> str | None:
        values = dict.fromkeys(_text(record.get(name)) for record in hardware)
        return ", ".join(values) or None

    dropped = [
        f"{one['entry']}: {one['rows']} of {one['of']} {one['reason']}" for one in result.get("dropped_rows") or []
    ]
    gpus = " or ".join(f"{name}:{count:g}" for name, count in (status.accelerators or {}).items())
    kernels = ("precision", "weights", "quantization", "attn_implementation", "optim", "use_liger_kernel")
    batches = ("packing", "padding_free", "per_device_train_batch_size", "gradient_accumulation_steps")
    named = (*kernels, *batches, "compute_capability")
    facts: dict[str, dict[str, Any]] = {
        "data": {"dropped rows": "; ".join(dropped) or None, **provenance.data()},
        "code": {
            "git revision": document.get("git_revision"),
            "uncommitted changes": code.get("diff_key") if (code := document.get("code")) else None,
            "runner": document.get("runner_version"),
            "replaced files": len(result.get("replaced") or []) or None,
        },
        "libraries": {"torch": each("torch"), **provenance.libraries(), "image": document.get("image")},
        "hardware": {
            "infra": status.infra,
            "accelerators": gpus or None,
            "device": each("device"),
            **provenance.hardware(),
            **({name: each(name) for name in named} if hardware else {}),
        },
    }
    return {
        group: {name: value for name, value in values.items() if value is not None} for group, values in facts.items()
    }


def _text(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _seconds(status: RunStatus) -> float | None:
    try:
        began, ended = datetime.fromisoformat(status.created_at), datetime.fromisoformat(status.ended_at or "")
        return (ended - began).total_seconds()
    except (ValueError, TypeError):
        return None
