"""The values that a gate's names stand for: of a run, or of a JSON file."""

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from runner.control.results.gating.expressions import Value
from runner.errors import UserError
from runner.runs.metrics import read_metrics
from runner.runs.records import run_result
from runner.runs.status import RunStatus
from runner.storage.store import Store

_NOT_METRICS = ("kind", "stage", "step", "phase", "time", "not_finite", "generations")


def run_values(store: Store, status: RunStatus) -> dict[str, Value]:
    """Return what is known of a run, by the names that expressions use; what was not a number is NaN.

    A metric is its last value; what the trained model was measured with (``after``) goes before it.

    Raises:
        Damaged: its records cannot be trusted.
    """
    found: dict[str, Value] = {}
    for record in read_metrics(store, status.run_id):
        fields: Mapping[str, Any] = record
        for name in fields.get("not_finite", {}):
            found[_written(name)] = math.nan
        found |= {
            _written(name): _number(value)
            for name, value in fields.items()
            if name not in _NOT_METRICS and _is_number(value)
        }
    row = {name: getattr(status, name) for name in ("state", "step", "max_steps", "attempts", "created_at", "ended_at")}
    return found | document_values({**row, **(run_result(store, status.run_id) or {})})


def document_values(document: Mapping[str, Any]) -> dict[str, Value]:
    """Return the values in a ``result.json``, in what `wait --json` or `gate --json` printed, or in a mapping."""
    if isinstance(document.get("values"), Mapping):
        document = document["values"]
    found = dict(_flat(document, ""))
    begun, ended = _moment(document.get("created_at")), _moment(document.get("ended_at"))
    if begun is not None and ended is not None:
        found["duration_seconds"] = (ended - begun).total_seconds()
    for name in [name for name in found if name.startswith("after.")]:
        found[name.removeprefix("after.")] = found[name]
    return found


def decoded_values(data: bytes, where: str) -> dict[str, Value]:
    """Return the values of a JSON file.

    Args:
        data: its contents.
        where: what it is called.

    Raises:
        UserError: it is none.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"it is not JSON: {error}", where=where) from error
    if not isinstance(document, dict):
        raise UserError("it is not a mapping of names to numbers", where=where, remedy='write {"eval_loss": 1.5}')
    return document_values(document)


def _flat(document: Mapping[str, Any], prefix: str, depth: int = 0) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, value in document.items():
        whole = prefix + _written(name)
        if isinstance(value, Mapping) and depth < 8:
            found |= _flat(value, f"{whole}.", depth + 1)
        elif _is_number(value):
            found[whole] = _number(value)
        elif value is None and prefix:
            found[whole] = math.nan
        elif whole == "state" and isinstance(value, str):
            found[whole] = value
    return {
        name: value for name, value in found.items() if not name.startswith(("hardware.", "artifacts.", "versions."))
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _written(name: str) -> str:
    """A metric's name as expressions write it: ``eval/loss`` is ``eval_loss``."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else None
