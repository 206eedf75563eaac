"""A comparison of runs for a terminal: which is best and why, results, curves, and what differs."""

import json
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from runner.reports.comparison import ComparedRun, Comparison, Difference, plain_cell
from runner.reports.drawing.sparkline import Point, common_scale, sparkline
from runner.reports.tables import Column, duration, fitting_table, number, text_table
from runner.sweeps.space.distributions import identity
from runner.terminal import printable

_WIDTH = 100
"""Of what is not a terminal."""
_LONGEST_VALUE = 40
_LONGEST_CURVE = 60
_SHORTEST_CURVE = 8
_RUNS_AS_COLUMNS = 4
_NAMED = 3
_INPUT = re.compile(r"inputs/([0-9a-f]{8})[0-9a-f]{56}/([^/]+)")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def comparison_text(comparison: Comparison, width: int | None, *, plain: bool = False) -> str:
    """Return a comparison in blocks, each no wider than `width` where that can be.

    Args:
        comparison: what is shown.
        width: characters of a line; None if everything fits.
        plain: whether curves are drawn in ASCII.
    """
    blocks = [
        _wrapped(_verdict(comparison), width),
        _results(comparison, width),
        _curves("LOSS", comparison.runs, lambda run: run.losses, "loss", width or _WIDTH, plain),
        _curves("EVAL LOSS", comparison.runs, lambda run: run.eval_losses, "eval_loss", width or _WIDTH, plain),
    ]
    if len(comparison.runs) > 1:
        blocks += [
            _settings(comparison, width),
            _wrapped(_others(comparison), width),
            _wrapped(_same(comparison), width),
        ]
    return "\n\n".join(filter(None, blocks))


def _wrapped(text: str, width: int | None) -> str:
    if width is None:
        return text
    wrapped = (
        textwrap.fill(line, max(width, 20), subsequent_indent="  ", break_on_hyphens=False)
        for line in text.splitlines()
    )
    return "\n".join(wrapped)


# -- which is best, and why ----------------------------------------------------------------------------------------


def _verdict(comparison: Comparison) -> str:
    ranked = comparison.ranked
    if len(comparison.runs) < 2 or not ranked:
        return ""
    metric = printable(comparison.metric)
    best = ranked[0]
    words = [f"best {metric}: {best.run_id}, {number(best.value(comparison.metric))}"]
    if not best.status.terminal:
        words.append(f" ({best.status.shown_state} at step {number(best.status.step)})")
    if len(ranked) > 1:
        words.append(_beside(comparison, best, ranked[1]))
    lines = ["".join(words)]
    if not comparison.same_rows and comparison.metric.startswith("eval"):
        lines.append(
            f"{metric} is not measured on the same rows in all of them: other data, or held out with another seed"
        )
    return "\n".join(lines)


def _beside(comparison: Comparison, best: ComparedRun, second: ComparedRun) -> str:
    """The next best run, and what makes the difference, if that can be said in a line."""
    value = second.value(comparison.metric)
    text = f"; next {second.run_id}, {number(value)}"
    found = [one for one in comparison.settings if len({identity(one.values[it.run_id]) for it in (best, second)}) > 1]
    if found and len(found) <= _NAMED:
        parts = [
            f"{printable(one.name)} {_shown(one.values[best.run_id])}, not {_shown(one.values[second.run_id])}"
            for one in found
        ]
        text += f"; it has {'; '.join(parts)}"
    return text


# -- results -------------------------------------------------------------------------------------------------------


def _results(comparison: Comparison, width: int | None) -> str:
    runs = comparison.runs
    extra = comparison.metric
    columns = [
        Column(title="RUN", cells=[run.run_id for run in runs]),
        Column(title="STATE", cells=[_state(run) for run in runs]),
        Column(title="STEP", cells=[f"{number(run.status.step)}/{number(run.status.max_steps)}" for run in runs]),
        Column(title="LOSS", cells=[_value(run, "loss") for run in runs], right=True),
        Column(title="EVAL LOSS", cells=[_value(run, "eval_loss") for run in runs], right=True),
    ]
    more = [] if extra in ("loss", "eval_loss", "exact_match") else [extra]
    optional = [
        *((printable(name).upper(), [_value(run, name) for run in runs]) for name in more),
        ("BEFORE", [_value_of(run.before.get("eval_loss")) for run in runs]),
        ("EXACT MATCH", [_share(run.value("exact_match")) for run in runs]),
        ("MATCH BEFORE", [_share(run.before.get("exact_match")) for run in runs]),
        ("BEST", [_best(run) for run in runs]),
        ("TOOK", [duration(run.seconds) for run in runs]),
        ("COST", [f"${run.dollars:.2f}" if run.dollars is not None else "-" for run in runs]),
        ("ATTEMPTS", [str(run.status.attempts) for run in runs]),
        ("DROPPED ROWS", [number(run.dropped_rows) for run in runs]),
        ("TRIAL", [number(run.trial) for run in runs]),
    ]
    columns += [
        Column(title=title, cells=cells, right=True, optional=True)
        for title, cells in optional
        if any(cell not in ("-", "0") for cell in cells)
    ]
    if len({run.status.recipe for run in runs}) > 1:
        columns.append(Column(title="RECIPE", cells=[printable(run.status.recipe) for run in runs], optional=True))
    return fitting_table(columns, width)


def _state(run: ComparedRun) -> str:
    return run.status.shown_state


def _value(run: ComparedRun, name: str) -> str:
    value = run.value(name)
    return number(value) if value is not None else printable(run.not_finite.get(name, "-"))


def _value_of(value: float | None) -> str:
    return number(value)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _best(run: ComparedRun) -> str:
    if not run.best:
        return "-"
    return f"{number(run.best.get('value'))} at {number(run.best.get('step'))}"


# -- curves --------------------------------------------------------------------------------------------------------


def _curves(
    title: str,
    runs: Sequence[ComparedRun],
    points: Callable[[ComparedRun], Sequence[Point]],
    name: str,
    width: int,
    plain: bool,
) -> str:
    """A line for each run, all with one scale; empty if no run has more than one point."""
    curves = [points(run) for run in runs]
    scale = common_scale(curves)
    if scale is None or max(map(len, curves)) < 2:
        return ""
    ids = max(len(run.run_id) for run in runs)
    ends = [_value(run, name) for run in runs]
    room = width - ids - 4 - max(map(len, ends))
    length = min(max(_SHORTEST_CURVE, min(_LONGEST_CURVE, room)), max(1, int(scale.last)))
    heading = f"{title} to step {number(scale.last)}, from {number(scale.low)} to {number(scale.high)}"
    lines = [
        f"{run.run_id:<{ids}}  {sparkline(curve, scale, length, plain=plain):<{length}}  {end}".rstrip()
        for run, curve, end in zip(runs, curves, ends, strict=True)
    ]
    return "\n".join([heading, *lines])


# -- what differs --------------------------------------------------------------------------------------------------


def _settings(comparison: Comparison, width: int | None) -> str:
    found, runs = comparison.settings, comparison.runs
    if not found:
        return "SETTINGS: all are equal"
    if len(runs) <= _RUNS_AS_COLUMNS:
        cells = [[printable(one.name), *(_shown(one.values[run.run_id]) for run in runs)] for one in found]
        table = text_table(["SETTING", *(run.run_id for run in runs)], cells, right=range(1, len(runs) + 1))
        if width is None or max(map(len, table.splitlines())) <= width:
            return table
    return "\n\n".join(_tables(found, runs, width))


def _tables(found: Sequence[Difference], runs: Sequence[ComparedRun], width: int | None) -> list[str]:
    """Tables with a line for each run, as many as it takes to have a column for each setting."""
    first = Column(title="RUN", cells=[run.run_id for run in runs])
    tables: list[list[Column]] = []
    left = 0
    names = [one.name for one in found]
    for one in found:
        cells = [_shown(one.values[run.run_id]) for run in runs]
        column = Column(title=printable(_short(one.name, names)), cells=cells, right=True)
        needed = 2 + max(map(len, (column.title, *cells)))
        if not tables or (width is not None and needed > left):
            tables.append([first])
            left = (width or 0) - max(map(len, (first.title, *first.cells)))
        tables[-1].append(column)
        left -= needed
    return [fitting_table(columns, None) for columns in tables]


def _others(comparison: Comparison) -> str:
    lines = []
    for group, found in comparison.others.items():
        lines += [f"{group.upper()}: {printable(one.name)}: {_by_value(one, comparison.runs)}" for one in found]
    return "\n".join(lines)


def _by_value(difference: Difference, runs: Sequence[ComparedRun]) -> str:
    """Each value with the runs that have it."""
    holders: dict[str, list[str]] = {}
    for run in runs:
        holders.setdefault(identity(difference.values[run.run_id]), []).append(run.run_id)
    return "; ".join(f"{_shown(difference.values[run_ids[0]])} ({_named(run_ids)})" for run_ids in holders.values())


def _same(comparison: Comparison) -> str:
    return "\n".join(
        f"{_named(run_ids, most=len(run_ids))} are the same training: one recipe with the same inputs"
        for run_ids in comparison.same_training
    )


def _named(run_ids: Sequence[str], *, most: int = _NAMED) -> str:
    if len(run_ids) <= most:
        return ", ".join(run_ids)
    return f"{', '.join(run_ids[: most - 1])} and {len(run_ids) - most + 1} more"


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        text = json.dumps(value)
    elif isinstance(value, float):
        text = f"{value:g}"
    else:
        text = str(plain_cell(value))
    text = printable(_INPUT.sub(r"\2 (\1)", text))
    text = text[:12] if _HASH.fullmatch(text) else text
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _short(name: str, names: Sequence[str]) -> str:
    """The last part of a dotted name, if it says enough and no other has the same."""
    last = name.rpartition(".")[2]
    unique = sum(other.rpartition(".")[2] == last for other in names) == 1
    return last if unique and len(last) > 1 else name
