"""Results from earlier runs and sweeps that count in a new sweep: those whose recipe lies in its space."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from runner.control.sweeping.compare import MISSING, differences, value_at, with_settings
from runner.control.sweeping.find import find_sweep
from runner.control.sweeping.status import read_sweep
from runner.errors import UserError
from runner.recipe.recipe import Json
from runner.runs.listing import find_run
from runner.runs.metrics import read_metrics
from runner.runs.records import run_document, run_result
from runner.runs.submission.portable import PortableRecipe, prepare_with
from runner.storage.store import NotFound, Store
from runner.sweeps.definition import Definition
from runner.sweeps.events import Event, Known
from runner.sweeps.layout import trial_run_id
from runner.sweeps.space.distributions import identity
from runner.sweeps.space.metrics import recorded_name
from runner.sweeps.space.space import Parameter, Space


class _Refused(Exception):
    """Why a result does not count."""


def known_results(
    store: Store, names: Sequence[str], definition: Definition, *, say: Callable[[str], None] = lambda sentence: None
) -> list[Event]:
    """Return what earlier runs and sweeps have found, as events for a new sweep's journal.

    Args:
        store: where all of them live.
        names: runs and sweeps, as on the command line.
        definition: the new sweep.
        say: is told of each result that does not count, and why.

    Raises:
        UserError: there is no such run or sweep, or nothing of it counts.
        NotFound, DamagedRecord: one of them cannot be read.
    """
    comparison = _Comparison(store, definition)
    events: list[Known] = []
    for name in names:
        reasons: dict[str, str] = {}
        count = 0
        for source, recipe, step, value in _results(store, name, definition, reasons):
            try:
                values = comparison.values_in(source, recipe)
            except _Refused as refusal:
                reasons[source] = str(refusal)
                continue
            count += 1
            if any(event["source"] == source for event in events):
                continue
            event: Known = {"event": "known", "source": source, "values": values, "step": step, "value": value}
            quantiles = comparison.space.quantiles_of(values)
            events.append({**event, "quantiles": quantiles} if quantiles else event)
        if not count:
            why = next(iter(reasons.items()), None)
            raise UserError(
                f"nothing of {name!r} counts" + (f": {why[0]}: {why[1]}" if why else ": it has no results"),
                where="--from",
                remedy="name runs of the same recipe whose values lie in the space, or leave --from out",
            )
        for source, reason in list(reasons.items())[:5]:
            say(f"{source} does not count: {reason}")
        if len(reasons) > 5:
            say(f"nor do {len(reasons) - 5} more of {name}")
    return cast(list[Event], events)


def _results(
    store: Store, name: str, definition: Definition, reasons: dict[str, str]
) -> Iterator[tuple[str, Mapping[str, Json], int | None, float | None]]:
    """Yield each result: its run, the run's recipe, the step and the metric there; None: it diverged."""
    try:
        sweep_id = find_sweep(store, name)
    except UserError as no_sweep:
        try:
            run_id = find_run(store, name)
        except UserError:
            raise UserError(f"no sweep and no run {name!r}", where="--from", remedy=no_sweep.remedy) from no_sweep
        yield from _of_run(store, run_id, definition, reasons)
        return
    other, state = read_sweep(store, sweep_id)
    if other.metric != definition.metric:
        raise UserError(
            f"{sweep_id} compares by {other.metric}, and this sweep by {definition.metric}",
            where="--from",
            remedy="name its runs one by one",
        )
    steps = [*other.rungs, other.max_steps]
    for trial in state.trials.values():
        source = trial_run_id(sweep_id, trial.number)
        recipe = with_settings(other.resolved, trial.settings)
        if trial.state == "failed" and trial.kind in ("diverged", "out_of_memory"):
            yield source, recipe, trial.step, None
        elif trial.state == "failed" or not trial.scores:
            reasons[source] = "it has no result"
        else:
            rung = max(trial.scores)
            yield source, recipe, trial.step if trial.state == "finished" else steps[rung], trial.scores[rung]
    for known in state.known:
        reasons[known["source"]] = f"only {sweep_id} knows it: name it itself"


def _of_run(
    store: Store, run_id: str, definition: Definition, reasons: dict[str, str]
) -> Iterator[tuple[str, Mapping[str, Json], int | None, float | None]]:
    result = run_result(store, run_id)
    if result is None or result["state"] != "succeeded":
        reasons[run_id] = "it has not succeeded"
        return
    name = recorded_name(definition.metric)
    records = read_metrics(store, run_id)
    last_stage = records[-1]["stage"] if records else None
    found: tuple[int, float] | None = None
    for record in records:
        value = cast(Mapping[str, Any], record).get(name)
        is_result = record["stage"] == last_stage and record.get("phase") != "before"
        if is_result and isinstance(value, int | float) and not isinstance(value, bool):
            found = record["step"], float(value)
    if found is None:
        after: Mapping[str, Any] = cast(Mapping[str, Any], result).get("after") or {}
        value = after.get(name)
        if not isinstance(value, int | float):
            reasons[run_id] = f"it has no {definition.metric}"
            return
        found = int(cast(Mapping[str, Any], result).get("step") or 0), float(value)
    yield run_id, run_document(store, run_id)["recipe"], *found


class _Comparison:
    """Holds recipes of earlier results against the new sweep's."""

    def __init__(self, store: Store, definition: Definition) -> None:
        self._store = store
        self._definition = definition
        self._differ: set[tuple[str, str, str]] = set()  # differences that were looked at closely
        self.space = Space.from_mapping(definition.space)
        self._options = [(parameter, _options(parameter)) for parameter in self.space.parameters]

    def values_in(self, source: str, recipe: Mapping[str, Json]) -> dict[str, Json]:
        """Return the value of each parameter in a recipe that is otherwise the sweep's.

        Args:
            source: the run whose recipe it is.
            recipe: as resolved, perhaps with settings that were set in it without what follows from them.

        Raises:
            _Refused: it does not lie in the space, or differs elsewhere.
        """
        values: dict[str, Json] = {}
        for parameter, options in self._options:
            value = _value_of(parameter, options, recipe)
            if value is MISSING:
                shown = value_at(recipe, parameter.path) if parameter.path else MISSING
                what = "nothing" if shown is MISSING else repr(shown)
                raise _Refused(f"{parameter.name} is {what} there, which is not in the space")
            values[parameter.name] = cast(Json, value)
        settings = self.space.settings(values)
        expected = with_settings(self._definition.resolved, settings)
        elsewhere = next(differences(expected, recipe), None)
        if elsewhere is None:
            return values
        difference = (elsewhere, repr(value_at(expected, elsewhere)), repr(value_at(recipe, elsewhere)))
        if difference not in self._differ:  # perhaps it is only a default that one of them spells out
            elsewhere = self._look_closely(source, settings, elsewhere)
            if elsewhere is None:
                return values
            self._differ.add(difference)
        raise _Refused(f"its {elsewhere} is another than this sweep's")

    def _look_closely(self, source: str, settings: Mapping[str, Json], elsewhere: str) -> str | None:
        """Return where the run's recipe differs from that of a trial with these settings, both wholly resolved."""
        try:
            recipe = run_document(self._store, source)["recipe"]
        except NotFound:
            return elsewhere
        try:
            _, prepared = prepare_with(
                PortableRecipe.from_mapping(self._definition.recipe),
                settings,
                fetch=lambda key: Path(self._definition.paths[key]),
                folder=Path.cwd(),
                shown_as=self._definition.recipe_name,
            )
        except (UserError, KeyError) as error:
            raise _Refused("this sweep's recipe is not valid with its values") from error
        return next(differences(prepared.recipe, recipe), None)


def _options(parameter: Parameter) -> list[tuple[Json, dict[str, Json]]]:
    """Return each value of a parameter with what it sets, those that set most first; a range has one without value."""
    options = parameter.distribution.values()
    if options is None:
        return [(None, {parameter.path: None})]
    return sorted(((value, parameter.settings(value)) for value in options), key=lambda pair: -len(pair[1]))


def _value_of(
    parameter: Parameter, options: Sequence[tuple[Json, Mapping[str, Json]]], recipe: Mapping[str, Json]
) -> object:
    if parameter.distribution.values() is None:
        value = value_at(recipe, parameter.path)
        fits = value is not MISSING and parameter.distribution.quantile_of(cast(Json, value)) is not None
        return value if fits else MISSING
    for option, settings in options:
        if all(_same(value_at(recipe, path), value) for path, value in settings.items()):
            return option
    return MISSING


def _same(found: object, value: Json) -> bool:
    if found is MISSING:
        return value is None
    return identity(cast(Json, found)) == identity(value)
