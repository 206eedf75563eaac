"""Load a sweep: find its file, read it, load its recipe, and check all that can be drawn. Nothing is written."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.errors import UserError
from runner.recipe.loading.finder import available_recipes, find_recipe, find_sweep, read_recipe
from runner.recipe.loading.load import LoadedRecipe, check_recipe
from runner.recipe.loading.overrides import apply_overrides
from runner.recipe.loading.secrets import find_secrets
from runner.recipe.loading.starts import ResolveStart
from runner.recipe.loading.strict_yaml import Document, parse_document
from runner.recipe.problems import MAX_SHOWN, Problem, RecipeError, RecipePath, dotted_path
from runner.recipe.recipe import Json
from runner.sweeps.space.checks import find_impossible, some_points, with_what_lapses
from runner.sweeps.space.contradictions import at_path, without_contradicted
from runner.sweeps.space.distributions import Distribution
from runner.sweeps.space.file import Metric, RunnerSection, SweepFile
from runner.sweeps.space.metrics import default_metric, find_unknown_metric, is_evaluated, recorded_name
from runner.sweeps.space.names import Name, flat_settings, is_section, resolve_name, unknown_name
from runner.sweeps.space.parameters import Written
from runner.sweeps.space.reading.read import read_sweep
from runner.sweeps.space.rungs import evaluations_at, rungs_in_steps
from runner.sweeps.space.space import Parameter, Space

_NOTHING = Distribution("constant", {"value": None})
_FLAG = "the flag for "
_LENGTHS = ("training.max_steps", "training.num_train_epochs")


@dataclass(frozen=True)
class LoadedSweep:
    """A checked sweep."""

    file: SweepFile
    """The file. Its metric is never None here."""
    space: Space
    """What is drawn."""
    recipe: LoadedRecipe
    """What is trained, with what the sweep sets for all trials, and without what its parameters contradict."""
    path: pathlib.Path
    """The file's path."""
    rungs: tuple[int, ...]
    """The steps at which trials are compared; the last is their end. Empty: at their end only, after epochs."""
    fixed: Mapping[str, Json]
    """What the sweep sets for all trials, by dotted path: `runner.set`, and evaluations at the rungs."""
    notes: tuple[str, ...]
    """Sentences: what was converted, what is not used, what was set."""
    document: Mapping[str, Json]
    """The file's mapping."""

    @property
    def metric(self) -> Metric:
        """What trials are compared by."""
        assert self.file.metric is not None
        return self.file.metric


def load_sweep(
    name_or_path: str, *, overrides: Sequence[str] = (), cwd: pathlib.Path, start: ResolveStart | None = None
) -> LoadedSweep:
    """Find a sweep and check all of it, and its recipe, and each value that can be drawn. Uses no network.

    Args:
        name_or_path: a name in ``jobs/sweeps/`` (the working directory's first, then the shipped ones), or a path.
        overrides: ``training.max_steps=100`` each, as given to ``--set``: they change the recipe.
        cwd: the working directory.
        start: finds the run that the recipe starts from (``model.run``); None: recipes that do are refused.

    Raises:
        UserError: anything is wrong, with place and remedy; a `RecipeError` lists all problems.
    """
    path = find_sweep(name_or_path, cwd)
    shown_as = _relative(path, cwd)
    document = parse_document(
        read_recipe(path, shown_as=shown_as), name=shown_as, needs="program (the recipe), method and parameters"
    )
    return _Loading(document, path, shown_as, overrides, cwd, start).load()


class _Loading:
    """One sweep's file on its way."""

    def __init__(
        self,
        document: Document,
        path: pathlib.Path,
        shown_as: str,
        overrides: Sequence[str],
        cwd: pathlib.Path,
        start: ResolveStart | None,
    ) -> None:
        self._start = start
        self._document, self._path, self._shown_as = document, path, shown_as
        self._overrides, self._cwd = overrides, cwd
        self._notes: list[str] = []

    def load(self) -> LoadedSweep:
        if secrets := list(find_secrets(self._document.data)):
            raise self._error(secrets)
        read = read_sweep(self._document.data, name=self._path.stem)
        self._notes += read.notes
        if read.recipe is None:
            raise self._error(read.problems)
        recipe_path = self._find_recipe(read.recipe)
        recipe_shown_as = _relative(recipe_path, self._cwd)
        written = parse_document(read_recipe(recipe_path, shown_as=recipe_shown_as), name=recipe_shown_as)
        as_written = apply_overrides(written, self._overrides, {}).data
        method = as_written.get("method")
        method = method if isinstance(method, str) and "stages" not in as_written else None
        problems = list(read.problems)
        space, places = self._space(read.parameters.parameters, method, problems)
        set_for_all = self._set_for_all(read.runner, method, problems)
        if read.file is None or problems:
            raise self._error(problems)
        file = read.file
        self._refuse_clashes(space, places, set_for_all)
        constants = {
            path: value
            for parameter in space.parameters
            if parameter.is_constant
            for path, value in parameter.settings(parameter.distribution.at(0.5)).items()
        }
        document = self._without_contradicted(written, space, places, set_for_all)

        def loaded_with(settings: Mapping[str, Json], *, fixed: Mapping[str, Json]) -> LoadedRecipe:
            return check_recipe(
                document,
                recipe_path,
                shown_as=recipe_shown_as,
                overrides=self._overrides,
                flags={**fixed, **settings},
                cwd=self._cwd,
                start=self._start,
            )

        fixed = {**set_for_all, **constants}
        recipe = self._base(loaded_with, fixed, space, places)
        file, rungs, evaluations = self._rungs(file, recipe, space)
        assert file.metric is not None
        problems = self._grid_problems(file, space)
        problems += find_unknown_metric(file.metric, recipe.recipe, pauses=len(rungs) > 1)
        if problems:
            raise self._error(problems)
        if evaluations:
            fixed = {**fixed, **evaluations}
            recipe = self._base(loaded_with, fixed, space, places)

        warned = {problem.path for problem in recipe.warnings}
        hardly_meant: dict[RecipePath, str] = {}

        def check(settings: Mapping[str, Json]) -> Sequence[Problem]:
            try:
                for warning in loaded_with(settings, fixed=fixed).warnings:
                    if warning.path not in warned:
                        hardly_meant.setdefault(warning.path, f"{dotted_path(warning.path)}: {warning.what}")
            except RecipeError as error:
                return error.problems
            except UserError as error:
                return [Problem((), str(error.what), error.remedy)]
            return ()

        owned = {*fixed, *(path for one in space.parameters for path in (*one.keys.values(), one.path))}
        space, notes = with_what_lapses(space, owned, check)
        self._notes += notes
        if problems := find_impossible(space, places, check):
            raise self._error(problems)
        self._notes += [f"some trials are hardly meant: {sentence}" for sentence in hardly_meant.values()]
        return LoadedSweep(
            file=file,
            space=space,
            recipe=recipe,
            path=self._path,
            rungs=tuple(rungs),
            fixed={**set_for_all, **evaluations},
            notes=tuple(dict.fromkeys(self._notes)),
            document=self._document.data,
        )

    def _find_recipe(self, written: str) -> pathlib.Path:
        """Return the recipe's file: beside the sweep's, in the working directory, or by name."""
        for folder in (self._path.parent, self._cwd):
            beside = folder / pathlib.Path(written).expanduser()
            if beside.suffix in (".yaml", ".yml") and beside.is_file():
                return beside.absolute()
        available = available_recipes(self._cwd)
        name = written.removesuffix(".yaml").removesuffix(".yml")
        if name in available:
            return available[name]
        key = "program" if "program" in self._document.data else "recipe"
        try:
            return find_recipe(written, self._cwd)
        except UserError as error:
            what = f"{error.what}: {error.where}" if error.where else error.what
            raise UserError(what, where=f"{self._locate((key,))}: {key}", remedy=error.remedy) from error

    def _space(
        self, written: Sequence[Written], method: str | None, problems: list[Problem]
    ) -> tuple[Space, dict[str, RecipePath]]:
        parameters: list[Parameter] = []
        for one in written:
            parameter = self._parameter(one, method, problems)
            if parameter is not None:
                parameters.append(parameter)
        return Space(tuple(parameters)), {one.name: one.at for one in written}

    def _parameter(self, written: Written, method: str | None, problems: list[Problem]) -> Parameter | None:
        found = resolve_name(written.name, method)
        values = written.distribution.values() or []
        maps = [value for value in values if isinstance(value, dict)]
        if isinstance(found, str):
            if maps and len(maps) == len(values) and "." not in written.name:
                found = Name("")  # a name of its own, for a choice between mappings of settings
            else:
                problems.append(unknown_name(written.at, written.name, found))
                return None
        if found.note:
            self._notes.append(found.note)
        keys: dict[str, str] = {}
        if maps and (not found.path or is_section(found.path)):
            for value in maps:
                paths, wrong = flat_settings(value, found.path, method)
                keys |= paths
                problems += [Problem(written.at, f"a value has `{key}`", remedy) for key, remedy in wrong.items()]
        if "warmup_ratio" in written.name:
            too_large = [one for one in written.distribution.looked_at() if isinstance(one, int | float) and one >= 1]
            if too_large:
                what = f"{too_large[0]} is not a share of the steps: a share is below 1"
                problems.append(Problem(written.at, what, "write `warmup_steps` for a number of steps"))
        return Parameter(written.name, found.path, written.distribution, keys)

    def _set_for_all(self, runner: RunnerSection, method: str | None, problems: list[Problem]) -> dict[str, Json]:
        settings: dict[str, Json] = {}
        for key, value in runner.set.items():
            at: RecipePath = ("runner", "set", key)
            paths, wrong = flat_settings({key: value}, "", method)
            problems += [unknown_name(at, name, remedy) for name, remedy in wrong.items()]
            settings |= Parameter(key, "", _NOTHING, paths).settings({key: value})
        return settings

    def _refuse_clashes(self, space: Space, places: Mapping[str, RecipePath], set_for_all: Mapping[str, Json]) -> None:
        problems = []
        owners: dict[str, str] = dict.fromkeys(set_for_all, "`runner: set`")
        for override in self._overrides:
            owners[override.partition("=")[0].strip()] = f"`--set {override}`"
        for parameter in space.parameters:
            own = list(dict.fromkeys(parameter.keys.values())) or [parameter.path]
            for path in own:
                other = next((known for known in owners if _overlap(path, known)), None)
                if other is not None:
                    what = f"`{path}` is set by {owners[other]} as well"
                    problems.append(Problem(places[parameter.name], what, "keep one of the two"))
            owners |= dict.fromkeys(own, f"`{parameter.name}`")
        if problems:
            raise self._error(problems)

    def _without_contradicted(
        self,
        written: Document,
        space: Space,
        places: Mapping[str, RecipePath],
        set_for_all: Mapping[str, Json],
    ) -> Document:
        drawn: dict[str, RecipePath] = dict.fromkeys(set_for_all, ("runner", "set"))
        for parameter in space.parameters:
            for path in parameter.keys.values() if parameter.keys else [parameter.path]:
                drawn[path] = places[parameter.name]
        data, notes, unclear = without_contradicted(written.data, drawn.keys())
        self._notes += notes
        if unclear:
            raise self._error([at_path(problem, drawn[path]) for path, problem in unclear])
        return Document(data, written.lines)

    def _base(self, loaded_with: Any, fixed: Mapping[str, Json], space: Space, places: Mapping[str, Any]) -> Any:
        """Load the recipe with what is set for all trials; what is wrong with that is a problem of the sweep's file."""
        try:
            return loaded_with({}, fixed=fixed)
        except RecipeError as error:
            for point in some_points(space):  # what is drawn may be what the others need
                with contextlib.suppress(UserError):
                    return loaded_with(space.settings(point), fixed=fixed)
            at = {path: places[one.name] for one in space.parameters for path in (*one.keys.values(), one.path)}
            moved = [
                self._locate(at.get(place.removeprefix(_FLAG), ("runner", "set"))) if place.startswith(_FLAG) else place
                for place in error.places
            ]
            located = iter(moved)
            raise RecipeError(error.problems, lambda path: next(located), where=self._shown_as) from error

    def _rungs(
        self, file: SweepFile, recipe: LoadedRecipe, space: Space
    ) -> tuple[SweepFile, list[int], dict[str, Json]]:
        if file.metric is None:
            file = dataclasses.replace(file, metric=default_metric(recipe.recipe))
            assert file.metric is not None
            self._notes.append(f"trials are compared by {file.metric.name}, minimized: the file names no metric")
        assert file.metric is not None
        file = dataclasses.replace(file, metric=dataclasses.replace(file.metric, name=recorded_name(file.metric.name)))
        paths = [path for one in space.drawn for path in (one.keys.values() if one.keys else [one.path])]
        lengths = [path for path in paths if path.endswith(_LENGTHS)]
        asked = file.runner.rungs is not None or file.early_terminate is not None
        if lengths and asked:
            what = f"trials are compared at steps, and `{lengths[0]}` is drawn: they have different lengths"
            raise self._error([Problem(("parameters",), what, "set one length for all: `runner: {set: {…}}`")])
        assert file.metric is not None
        ends = [one.distribution.looked_at() for one in space.drawn if one.path.endswith("training.max_steps")]
        try:
            rungs = [] if lengths else rungs_in_steps(file, recipe)
        except UserError as error:
            at = tuple((error.where or "").split("."))
            raise UserError(error.what, where=f"{self._locate(at)}: {error.where}", remedy=error.remedy) from error
        if file.runner.rungs is not None and file.early_terminate is not None:
            self._notes.append("early_terminate's iterations are not used: rungs are those of `runner: rungs`")
        elif file.early_terminate is not None:
            listed = ", ".join(map(str, rungs))
            value = "evaluation" if is_evaluated(file.metric.name) else "logged value"
            self._notes.append(f"early_terminate compares trials at steps {listed}: an iteration is one {value}")
        if file.early_terminate is not None and not file.early_terminate.strict:
            self._notes.append(
                "early_terminate.strict: false: `scheduler: stop` is W&B's rule, which holds a trial's best value so "
                "far against the values at the iteration"
                if file.runner.scheduler in (None, "stop")
                else f"early_terminate.strict is not used: `scheduler: {file.runner.scheduler}` compares the values at "
                "a rung"
            )
        compared = sorted({int(end) for end in ends[0] if isinstance(end, int | float) and end > 0}) if ends else rungs
        settings, notes = evaluations_at(compared, file.metric.name, recipe)
        self._notes += notes
        return file, rungs, settings

    def _grid_problems(self, file: SweepFile, space: Space) -> list[Problem]:
        if file.method != "grid":
            return []
        if (why := space.why_no_grid()) is not None:
            return [Problem(("method",), why, "write `method: random`, or `values: […]`")]
        for parameter in space.parameters:
            settings = parameter.distribution.settings
            if parameter.distribution.name == "q_uniform":
                values = parameter.distribution.grid() or []
                ended = f"{values[-1]:g}" if values else "none"
                self._notes.append(
                    f"{parameter.name}: the grid of q_uniform ends below max {settings['max']}, as for W&B: the last "
                    f"value is {ended}"
                )
        return []

    def _locate(self, at: RecipePath) -> str:
        parts = [at[:length] for length in range(len(at), 0, -1)]
        lines = self._document.lines
        return next((f"{self._shown_as}:{lines[part]}" for part in parts if part in lines), self._shown_as)

    def _error(self, problems: Sequence[Problem]) -> RecipeError:
        if len(problems) > MAX_SHOWN:
            more = Problem((), f"and {len(problems) - MAX_SHOWN + 1} more mistakes", "mend these first")
            problems = [*problems[: MAX_SHOWN - 1], more]
        return RecipeError(problems, self._locate, where=self._shown_as)


def _overlap(one: str, other: str) -> bool:
    """Whether one of two settings is the other, or a part of it."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _relative(path: pathlib.Path, cwd: pathlib.Path) -> str:
    try:
        return str(path.relative_to(cwd.absolute()))
    except ValueError:
        return str(path)
