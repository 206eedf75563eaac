"""What a run's records look like as curves, to be drawn by `runner.reports.drawing.plot`."""

from collections.abc import Mapping, Sequence
from typing import Any

from runner.reports.drawing.plot import Frame, Line, Series, plot
from runner.reports.drawing.sparkline import Point
from runner.reports.tables import duration

USUAL = ("loss", "reward")
"""What is drawn unless somebody asks for something else, where it was recorded."""
_WITH = {"loss": "eval_loss"}
"""What is drawn in the same frame: measured less often, on the same scale."""

_NOT_CURVES = ("step", "time", "kind", "stage", "phase", "not_finite", "generations")


def known_metrics(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of all that was recorded as a number, in the order of the records."""
    names: dict[str, None] = {}
    for record in records:
        names |= dict.fromkeys(name for name, value in record.items() if _is_number(value) or name in _words(record))
    return [name for name in names if name not in _NOT_CURVES]


def metric_points(records: Sequence[Mapping[str, Any]], name: str) -> list[Point]:
    """Return one metric's curve over the steps of the whole run: a stage goes on where the one before it ended.

    Args:
        records: a run's metrics, in the order of `read_metrics`.
        name: the metric. ``loss`` is that of training, also where an evaluation has one.
    """
    points: list[Point] = []
    stage, offset, last = None, 0, 0
    for record in records:
        if record["stage"] != stage:
            stage, offset = record["stage"], last
        step = offset + record["step"]
        last = max(last, step)
        if name == "loss" and record["kind"] == "eval":
            continue
        if _is_number(record.get(name)):
            points.append((step, float(record[name])))
        elif name in _words(record):
            points.append((step, None))
    return points


def draw_metrics(
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    names: Sequence[str] = (),
    *,
    width: int,
    height: int,
    plain: bool,
    colors: bool,
) -> list[Line]:
    """Draw metrics of runs, each in a frame of its own, all runs in each of them.

    Args:
        runs: records by the run's name.
        names: the metrics; none: the training loss with the evaluation loss, and rewards.
        width: characters of a line.
        height: lines of all frames together; each has five at least.
        plain: whether only ASCII may be used.
        colors: whether the output has colors.
    """
    chosen = list(names) or [name for name in USUAL if any(metric_points(records, name) for records in runs.values())]
    chosen = chosen or ["eval_loss"]
    lines: list[Line] = []
    for name in chosen:
        others = [] if names else [_WITH[name]] if name in _WITH else []
        series: list[Series] = []
        for number, (run, records) in enumerate(runs.items()):
            label = f"{run} " if len(runs) > 1 else ""
            is_evaluated = any(name in record and record["kind"] == "eval" for record in records) and name != "loss"
            points = metric_points(records, name)
            color = number if len(runs) > 1 else len(series)
            series.append(Series(name=f"{label}{name}", points=points, marks=is_evaluated, color=color))
            for other in others:
                color = number if len(runs) > 1 else len(series)
                points = metric_points(records, other)
                series.append(Series(name=f"{label}{other}", points=points, marks=True, color=color))
        inside = max(5, height // len(chosen) - 4)
        title = " and ".join([name, *(other for other in others if any(_of(one, other) for one in series))])
        lines += plot(series, Frame(title=title), width=width, height=inside, plain=plain, colors=colors)
    return lines


def draw_system(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], *, width: int, height: int, plain: bool, colors: bool
) -> list[Line]:
    """Draw what the machines of runs did: the GPUs' utilization and memory, or the processor's where there is no GPU.

    Args:
        runs: `SystemRecord` mappings by the run's name.
        width, height, plain, colors: as for `draw_metrics`.
    """
    has_gpus = any(record.get("gpus") for records in runs.values() for record in records)
    frames: list[tuple[str, str, float | None]] = [
        ("GPU utilization, %", "utilization_percent", 100.0),
        ("GPU memory, GiB", "memory_gib", None),
    ]
    if not has_gpus:
        frames = [("CPU, %", "cpu_percent", 100.0), ("memory, GiB", "memory_gib", None)]
    begin = min((record["time"] for records in runs.values() for record in records), default=0.0)
    lines: list[Line] = []
    for title, field, highest in frames:
        series: list[Series] = []
        for run, records in runs.items():
            for label, points in system_points(records, field, begin, has_gpus=has_gpus):
                name = " ".join(word for word in (run if len(runs) > 1 else "", label) if word)
                series.append(Series(name=name, points=points, color=len(series)))
        frame = Frame(title=title, x_title="after", lowest=0.0, highest=highest, show_x=duration)
        inside = max(5, height // len(frames) - 4)
        lines += plot(series, frame, width=width, height=inside, plain=plain, colors=colors)
    return lines


def system_points(
    records: Sequence[Mapping[str, Any]], field: str, begin: float, *, has_gpus: bool
) -> list[tuple[str, list[Point]]]:
    """Return a curve for each GPU, or each machine, with its name."""
    curves: dict[tuple[int, int], list[Point]] = {}
    for record in records:
        at, node = record["time"] - begin, int(record.get("node", 0))
        if not has_gpus:
            curves.setdefault((node, 0), []).append((at, _number(record.get(field))))
        for gpu in record.get("gpus", ()) if has_gpus else ():
            if _is_number(gpu.get(field)):
                curves.setdefault((node, int(gpu.get("index", 0))), []).append((at, _number(gpu[field])))
    nodes = {node for node, _ in curves}
    named = []
    for (node, index), points in sorted(curves.items()):
        words = [f"machine {node}"] if len(nodes) > 1 else []
        words += [f"GPU {index}"] if has_gpus else []
        named.append((" ".join(words) or "machine", sorted(points, key=lambda point: point[0])))
    return named


def _of(one: Series, name: str) -> bool:
    return bool(one.points) and one.name.rpartition(" ")[2] == name


def _words(record: Mapping[str, Any]) -> Mapping[str, str]:
    words = record.get("not_finite")
    return words if isinstance(words, Mapping) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float | None:
    return float(value) if _is_number(value) else None
