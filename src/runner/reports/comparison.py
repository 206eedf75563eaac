"""Runs side by side: what differs between them, and what came of it (`runner.control.results.compare` gathers it)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.reports.drawing.sparkline import Point
from runner.runs.status import RunStatus
from runner.sweeps.space.distributions import identity

_DATA = "data"
_MACHINE = ("resources", "sky")
_HELD_OUT = (["eval", "from_train"], ["eval_from_train"])
"""The rest of the name of the setting that takes rows to evaluate on from those to train on."""
_NO_SETTINGS = ("name", "stage")
"""Parts of a recipe that name it."""


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """A run with all that is compared."""

    status: RunStatus
    """Where it stands."""
    settings: Mapping[str, Any]
    """The values of its settings by dotted name, its data's too; those that are null are left out."""
    drawn: Mapping[str, Any] = field(default_factory=dict)
    """Of a sweep's trial: what was drawn, by dotted name of the setting."""
    sweep_id: str | None = None
    """Of a sweep's trial: its sweep."""
    trial: int | None = None
    """Of a sweep's trial: its number."""
    digest: str | None = None
    """Equal for equal trainings: of the recipe and its inputs."""
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What else may differ, by group (`GROUPS`) and name."""
    loss: float | None = None
    """The newest training loss."""
    not_finite: Mapping[str, str] = field(default_factory=dict)
    """Newest values that are no finite numbers, by metric: ``NaN``, ``Infinity``."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """The newest value of each metric of evaluations."""
    before: Mapping[str, float] = field(default_factory=dict)
    """The same before training."""
    best: Mapping[str, Any] | None = None
    """The best evaluation: ``step``, ``metric``, ``value``."""
    seconds: float | None = None
    """From its launch to its end; of a trial, how long workers have had it."""
    dollars: float | None = None
    """What it has cost; None: nobody knows."""
    dropped_rows: int | None = None
    """Rows that were dropped; None: nobody knows."""
    losses: Sequence[Point] = ()
    """The training loss by step, in the last stage."""
    eval_losses: Sequence[Point] = ()
    """The evaluation loss by step, in the last stage."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.status.run_id

    def value(self, metric: str) -> float | None:
        """The newest value of a metric; None if it has none, or no finite one."""
        return self.loss if metric == "loss" else self.measured.get(metric)


GROUPS = ("data", "code", "libraries", "hardware")
"""What differs besides settings."""


_KNOWN_LATE = ("libraries", "hardware")
"""Groups of what a run says only when it trains: that one has not said it yet is no difference."""


_FOUND = (" fingerprint", " commit", ".rows", "tokenizer")
"""Ends of the names of what a run has found out about its data."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A name whose values are not the same in all runs."""

    name: str
    """The setting's dotted name, or what the value is of."""
    values: Mapping[str, Any]
    """By run id; None where there is none."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs side by side."""

    runs: Sequence[ComparedRun]
    """In the order in which they are shown."""
    metric: str
    """What says which is best."""
    maximize: bool = False
    """Whether more of it is better."""
    settings: Sequence[Difference]
    """Settings that differ: drawn ones first."""
    others: Mapping[str, Sequence[Difference]]
    """What else differs, by group."""
    same_training: Sequence[Sequence[str]]
    """Ids of runs that are one training: of the same recipe with the same inputs."""
    same_rows: bool
    """Whether all are evaluated on the same rows, as far as their recipes say."""

    @property
    def ranked(self) -> list[ComparedRun]:
        """The runs that have the metric, the best first."""
        valued = [(run.value(self.metric), run) for run in self.runs]
        known = [(value, run) for value, run in valued if value is not None]
        known.sort(key=lambda pair: pair[0], reverse=self.maximize)
        return [run for _, run in known]


def compare_runs(runs: Sequence[ComparedRun], *, metric: str | None = None, maximize: bool = False) -> Comparison:
    """Compare runs.

    Args:
        runs: in the order in which they are to be shown; at least one.
        metric: what says which is best; None: the evaluation loss, else the training loss.
        maximize: whether more of it is better.
    """
    if metric is None:
        metric = "eval_loss" if any(run.value("eval_loss") is not None for run in runs) else "loss"
    everything = _differences({run.run_id: run.settings for run in runs})
    drawn = list(dict.fromkeys(name for run in runs for name in run.drawn))
    settings = sorted((one for one in everything if one.name in drawn), key=lambda one: drawn.index(one.name))
    settings += [one for one in everything if one.name not in drawn and _group(one.name) is None]
    others: dict[str, list[Difference]] = {}
    for group in GROUPS:
        found = [one for one in everything if one.name not in drawn and _group(one.name) == group]
        of_runs = {run.run_id: run.facts.get(group, {}) for run in runs}
        found += [one for one in _differences(of_runs) if not _is_late(group, one.name) or _is_known(one)]
        if found:
            others[group] = found
    digests = {run.digest for run in runs}
    held_out = any(_parts(name)[1:] in _HELD_OUT for run in runs for name in run.settings)
    if len(digests) > 1 and not everything:
        values = {run.run_id: run.digest for run in runs}
        others[_DATA] = [Difference(name="contents of files", values=values), *others.get(_DATA, ())]
    return Comparison(
        runs=runs,
        metric=metric,
        maximize=maximize,
        settings=settings,
        others={group: others[group] for group in GROUPS if group in others},
        same_training=_same(runs),
        same_rows=not any(_is_of_evaluation(one.name, held_out=held_out) for one in everything),
    )


def flat_settings(recipe: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a run's settings by dotted name, without those that are null.

    Args:
        recipe: the resolved recipe in ``run.json``: has local files by their digests.
        settings: every setting with its source, as in ``run.json``: has the defaults, by the names that people write.
            May be empty; the recipe's names are taken then.
    """
    resolved: dict[str, Any] = {}
    for name, part in recipe.items():
        if name != "stages":
            _flatten(part, name, resolved)
    for stage in recipe.get("stages") or ():
        _flatten(stage, f"stages.{stage['stage']}", resolved)
    values: dict[str, Any] = {}
    for name, setting in settings.items():
        if isinstance(setting, Mapping) and "value" in setting:
            _flatten(setting["value"], name, values)
    values = {name: resolved.get(name, value) for name, value in values.items()} or resolved
    return {name: value for name, value in values.items() if value is not None and name not in _NO_SETTINGS}


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return each run as a flat row: its results, then what differs, by dotted names. All rows have all columns."""
    others = [(group, one) for group, found in comparison.others.items() for one in found]
    table = []
    for run in comparison.runs:
        row = result_row(run, comparison)
        for one in comparison.settings:
            row[_free(one.name, row, "settings")] = one.values[run.run_id]
        for group, one in others:
            row[_free(one.name, row, group)] = one.values[run.run_id]
        table.append(row)
    return table


def result_row(run: ComparedRun, comparison: Comparison) -> dict[str, Any]:
    """Return what came of a run, in a flat row."""
    status = run.status
    extra = comparison.metric not in ("loss", "eval_loss", "exact_match")
    return {
        "run_id": run.run_id,
        "recipe": status.recipe,
        "sweep_id": run.sweep_id,
        "trial": run.trial,
        "state": status.shown_state,
        "reason": status.reason,
        "step": status.step,
        "max_steps": status.max_steps,
        "loss": run.loss,
        "eval_loss": run.value("eval_loss"),
        "eval_loss_before": run.before.get("eval_loss"),
        "exact_match": run.value("exact_match"),
        "exact_match_before": run.before.get("exact_match"),
        **({comparison.metric: run.value(comparison.metric)} if extra else {}),
        "best_value": (run.best or {}).get("value"),
        "best_step": (run.best or {}).get("step"),
        "seconds": run.seconds,
        "attempts": status.attempts,
        "dollars": run.dollars,
        "dropped_rows": run.dropped_rows,
        "digest": run.digest,
    }


def comparison_document(comparison: Comparison, damaged: Mapping[str, str]) -> dict[str, Any]:
    """Return a comparison as JSON, for programs.

    Args:
        comparison: of runs.
        damaged: what is wrong with each run that could not be read.
    """
    others = {group: comparison.others.get(group, ()) for group in GROUPS}
    return {
        "metric": comparison.metric,
        "goal": "maximize" if comparison.maximize else "minimize",
        "best": next((run.run_id for run in comparison.ranked), None),
        "runs": [
            {
                **result_row(run, comparison),
                "before": dict(run.before),
                "after": dict(run.measured),
                "best": run.best,
                "not_finite": dict(run.not_finite),
                "curves": {"loss": list(run.losses), "eval_loss": list(run.eval_losses)},
            }
            for run in comparison.runs
        ],
        "settings": {one.name: dict(one.values) for one in comparison.settings},
        **{group: {one.name: dict(one.values) for one in found} for group, found in others.items()},
        "same_training": [list(run_ids) for run_ids in comparison.same_training],
        "same_evaluation_data": comparison.same_rows,
        "damaged": dict(damaged),
    }


# -- inside --------------------------------------------------------------------------------------------------------


def _flatten(value: Any, name: str, into: dict[str, Any]) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _flatten(inner, f"{name}.{key}", into)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            _flatten(item, f"{name}.{index}", into)
    elif value != []:
        into[name] = value


def _differences(tables: Mapping[str, Mapping[str, Any]]) -> list[Difference]:
    """Return the names whose values are not equal in all tables; one that a table lacks is null there."""
    found = []
    for name in dict.fromkeys(name for table in tables.values() for name in table):
        values = {run_id: table.get(name) for run_id, table in tables.items()}
        if len(set(map(identity, values.values()))) > 1:
            found.append(Difference(name=name, values=values))
    return found


def _is_late(group: str, name: str) -> bool:
    """Whether a run says this only when it trains, and an older one perhaps not at all."""
    return group in _KNOWN_LATE or (group == _DATA and name.endswith(_FOUND))


def _is_known(difference: Difference) -> bool:
    return len({identity(value) for value in difference.values.values() if value is not None}) > 1


def _parts(name: str) -> list[str]:
    """The parts of a setting's dotted name, without the stage that it is of."""
    parts = name.split(".")
    return parts[2:] if parts[0] == "stages" and len(parts) > 2 else parts


def _group(name: str) -> str | None:
    """The group that a setting belongs to; None: it is a setting like others."""
    first = _parts(name)[0]
    return _DATA if first == _DATA else "hardware" if first in _MACHINE else None


def _is_of_evaluation(name: str, *, held_out: bool) -> bool:
    """Whether other rows are evaluated on if this setting is another.

    Args:
        name: the setting's.
        held_out: whether rows to evaluate on are taken from those to train on.
    """
    first, *rest = _parts(name)
    if held_out and [first, *rest] == ["training", "seed"]:
        return True  # it shuffles the rows before some are held out
    return first == _DATA and bool(rest) and (held_out or rest[0].startswith("eval"))


def _same(runs: Iterable[ComparedRun]) -> list[list[str]]:
    by_digest: dict[str, list[str]] = {}
    for run in runs:
        if run.digest:
            by_digest.setdefault(run.digest, []).append(run.run_id)
    return [run_ids for run_ids in by_digest.values() if len(run_ids) > 1]


def _free(name: str, row: Mapping[str, Any], group: str) -> str:
    return f"{group}.{name}" if name in row else name


def plain_cell(value: object) -> object:
    """Return a value as a cell of CSV: a list or a mapping in JSON."""
    return json.dumps(value) if isinstance(value, dict | list) else value
