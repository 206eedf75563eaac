"""The plots of the report of a single run: its metrics over all stages and attempts, and what its machines did."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from runner.reports.drawing.curves import metric_points, system_points
from runner.reports.html.charts import COLORS, Chart, Made, Rule, frame, plot_section
from runner.reports.html.details import RunDetails
from runner.reports.html.markup import table, tag
from runner.runs.attempts import Attempt

_METRICS = {
    "loss": "Training loss",
    "eval_loss": "Evaluation loss",
    "reward": "Reward",
    "learning_rate": "Learning rate",
    "grad_norm": "Gradient norm",
    "tokens_per_second": "Tokens per second",
}
_OF_GPUS = {"utilization_percent": "GPU utilization, %", "memory_gib": "GPU memory, GiB"}
_OF_MACHINES = {"cpu_percent": "CPU, %", "memory_gib": "Memory, GiB"}
_LONG = 2 * 3600.0
"""Seconds from which on times are in hours."""


def run_charts(details: RunDetails) -> Iterator[Chart]:
    """Yield a chart for each metric that was recorded, with the run's interruptions."""
    rules = interruptions(details.attempts, details.records)
    found = {name: metric_points(details.records, name) for name in _METRICS}
    known = {name: points for name, points in found.items() if points}
    for name, points in known.items():
        is_first = name == next(iter(known))
        curves = {details.run.run_id: points}
        yield Chart(name=name, label=_METRICS[name], curves=curves, rules=rules, says_rules=is_first)
    yield from _system(details.system)


def lengths(details: RunDetails) -> Iterator[tuple[str, Made]]:
    """Yield a plot for each stage of how long its examples are, with its name."""
    for stage, record in details.lengths.items():
        width = record["width"]
        parts = [(place * width, (place + 1) * width - 1, count) for place, count in enumerate(record["counts"])]
        of_stage = f" of the stage {stage}" if len(details.lengths) > 1 else ""
        title = f"Lengths of the examples{of_stage}"
        note = (
            f"{record['examples']:,} examples of {record['least']:,} to {record['greatest']:,} tokens, half of them of "
            f"{record['median']:,} or fewer; {record['tokens']:,} tokens in all, after max_length."
        )
        cells = [(f"{first:,} to {last:,}", f"{count:,}") for first, last, count in parts]
        numbers = tag("details", tag("summary", f"{title} as a table"), table(title, ["tokens", "examples"], cells))
        at = {"field": "from", "type": "quantitative", "title": "tokens", "bin": {"binned": True, "step": width}}
        count_ = {"field": "examples", "type": "quantitative", "title": "examples"}
        values = [{"from": first, "to": last + 1, "examples": count} for first, last, count in parts]
        name = f"lengths_{stage}"
        bars = {
            "data": {"values": values},
            "mark": {"type": "bar", "color": COLORS[0], "tooltip": {"content": "data"}, "aria": False},
            "encoding": {"x": at, "x2": {"field": "to"}, "y": count_},
        }
        yield name, (plot_section(name, title, note, numbers), frame(title, {"height": 180, **bars}))


def interruptions(attempts: Sequence[Attempt], records: Sequence[Mapping[str, Any]]) -> list[Rule]:
    """Return where attempts began again, by the steps of the whole run.

    Args:
        attempts: all of the run, the oldest first.
        records: its metrics, in the order of `read_metrics`.
    """
    before_stage = _steps_before(records)
    rules = []
    for earlier, attempt in pairwise(attempts):
        if not attempt.began:
            continue
        place, at = "the beginning", 0
        if attempt.restored is not None:
            at = before_stage.get(attempt.restored.stage, 0) + attempt.restored.step
            place = f"step {at}"
        rules.append(Rule(at=at, text=f"Attempt {attempt.number} went on from {place}: {_end(earlier)}."))
    return rules


def _end(attempt: Attempt) -> str:
    """How an attempt ended, as a part of a sentence."""
    if attempt.ended is None:
        return f"attempt {attempt.number} was killed"
    outcome = "paused" if attempt.ended.get("paused") else attempt.ended.get("outcome", "interrupted")
    reason = (attempt.ended.get("reason") or "").rstrip(".")
    return f"attempt {attempt.number} {outcome}" + (f" ({reason})" if reason else "")


def _steps_before(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many steps of the run come before each stage."""
    before: dict[str, int] = {}
    last = 0
    for record in records:
        offset = before.setdefault(record["stage"], last)
        last = max(last, offset + record["step"])
    return before


def _system(records: Sequence[Mapping[str, Any]]) -> Iterator[Chart]:
    if len(records) < 2:
        return
    has_gpus = any(record.get("gpus") for record in records)
    begin = min(record["time"] for record in records)
    is_long = max(record["time"] for record in records) - begin > _LONG
    unit, seconds = ("hours", 3600.0) if is_long else ("minutes", 60.0)
    for field, label in (_OF_GPUS if has_gpus else _OF_MACHINES).items():
        curves = {
            name: [(round(at / seconds, 4), value) for at, value in points]
            for name, points in system_points(records, field, begin, has_gpus=has_gpus)
        }
        if curves:
            name = f"system_{field}"
            x = f"{unit} since the first sample"
            yield Chart(name=name, label=label, curves=curves, series="machine", x=x, whole=False, zero=True)
