"""Load a recipe: find it, read it, apply the command line, check schema and rules, resolve paths."""

import copy
import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.errors import UserError
from runner.recipe import schema
from runner.recipe.inputs.datasets import SourceFacts
from runner.recipe.inputs.inspection import Inspection, inspect_inputs
from runner.recipe.loading.aliases import SAVING, merge_save_aliases
from runner.recipe.loading.finder import find_recipe, read_recipe
from runner.recipe.loading.other_tools import PEERS, detect
from runner.recipe.loading.overrides import LayeredRecipe, apply_overrides
from runner.recipe.loading.secrets import find_secrets
from runner.recipe.loading.stages import SHARED, split_stages, unique_problems
from runner.recipe.loading.starts import ResolveStart, RunStart, resolve_start
from runner.recipe.loading.strict_yaml import Document, parse_document
from runner.recipe.loading.written_in_python import document_of, name_of
from runner.recipe.problems import Problem, RecipeError, RecipePath, dotted_path, warning_about
from runner.recipe.recipe import (
    EDITION,
    Checkpoint,
    Data,
    DataSource,
    Evaluate,
    ExactMatch,
    Export,
    Json,
    Notification,
    Recipe,
    Watchdog,
)
from runner.recipe.rules.context import RuleContext
from runner.recipe.rules.registry import find_contradictions, find_warnings
from runner.recipe.rules.strategy import strategy_of_a_stage
from runner.recipe.settings import Setting, resolve_settings, source_of


@dataclass(frozen=True)
class LoadedRecipe:
    """A checked recipe, and where its settings come from."""

    recipe: Recipe
    """What to train. Local paths are absolute; the mappings contain only what was set."""
    settings: Mapping[str, Setting]
    """Every setting by its dotted path, with value and source, including defaults. A stage's settings begin with
    ``stages.<name>.``."""
    path: pathlib.Path
    """The recipe's file."""
    local_files: tuple[pathlib.Path, ...]
    """Absolute paths of the files and folders on this machine that the recipe names."""
    locate: Callable[[RecipePath], str] = dotted_path
    """Returns where a path of the recipe was set, for errors: ``jobs/x.yaml:12``, or ``--set training.x=1``."""
    notes: tuple[str, ...] = ()
    """Sentences on the first rows of local data: those that will be dropped and why, columns that are not read."""
    sources: tuple[tuple[SourceFacts, ...], ...] = ()
    """What is known of the entries of each stage's data, in the order of the stages."""
    warnings: tuple[Problem, ...] = ()
    """What is hardly meant, and refused by nothing: a warm-up that is longer than the run."""
    written: LayeredRecipe = field(default_factory=lambda: LayeredRecipe({}))
    """The recipe as it was written, with the command line's changes: before defaults, and with paths as they are."""
    start: RunStart | None = None
    """The other run that it starts from, if it does."""

    @property
    def warning_sentences(self) -> list[str]:
        """`warnings`, each as a sentence with its place and what to write instead."""
        return [warning_about(problem, self.locate(problem.path)) for problem in self.warnings]


def load_recipe(
    name_or_path: str | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    cwd: pathlib.Path,
    start: ResolveStart | None = None,
) -> LoadedRecipe:
    """Find a recipe, apply the command line to it, and check all of it. Writes nothing and uses no network.

    Args:
        name_or_path: a name in ``jobs/`` (the working directory's first, then the shipped ones), a path, or the recipe
            itself as a mapping; its relative paths begin in `cwd`.
        overrides: ``training.learning_rate=1e-4`` each, as given to ``--set``; they win over the recipe.
        flags: values by dotted key, as other options set them; they win over `overrides`.
        cwd: the working directory.
        start: finds the run that the recipe starts from (``model.run``); None: recipes that do are refused.

    Raises:
        UserError: anything is wrong, with place and remedy; a `RecipeError` lists all problems.
    """
    if not isinstance(name_or_path, str):
        document, name = document_of(name_or_path), name_of(name_or_path)
        path, shown_as = cwd.absolute() / name, f"recipe {name}"
        return check_recipe(
            document, path, shown_as=shown_as, overrides=overrides, flags=flags or {}, cwd=cwd, start=start
        )
    path = find_recipe(name_or_path, cwd)
    shown_as = _relative_to_cwd(path, cwd)
    document = parse_document(read_recipe(path, shown_as=shown_as), name=shown_as)
    peer = detect(document.data)
    if peer is not None:
        raise UserError(
            f"this is a config of {PEERS[peer]}, not a recipe",
            where=shown_as,
            remedy=f"`runner import {shown_as} -o recipe.yaml` writes the recipe that it means",
        )
    return check_recipe(document, path, shown_as=shown_as, overrides=overrides, flags=flags or {}, cwd=cwd, start=start)


def check_recipe(
    document: Document,
    path: pathlib.Path,
    *,
    shown_as: str,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any],
    cwd: pathlib.Path,
    start: ResolveStart | None = None,
) -> LoadedRecipe:
    """Do what `load_recipe` does after reading; `shown_as` is the file's name in errors."""
    layers = apply_overrides(document, overrides, flags)
    return check_layers(layers, path, shown_as=shown_as, lines=document.lines, cwd=cwd, start=start)


def check_layers(
    layers: LayeredRecipe,
    path: pathlib.Path,
    *,
    shown_as: str,
    lines: Mapping[RecipePath, int],
    cwd: pathlib.Path,
    start: ResolveStart | None = None,
) -> LoadedRecipe:
    """Do what `load_recipe` does after reading and changing; `lines` are those of `shown_as`, for errors."""

    def locate(at: RecipePath) -> str:
        parts = [at[:length] for length in range(len(at), 0, -1)]
        on_command_line = next((layers.places[part] for part in parts if part in layers.places), None)
        if on_command_line is not None:
            return on_command_line
        return next((f"{shown_as}:{lines[part]}" for part in parts if part in lines), shown_as)

    if secrets := list(find_secrets(layers.data)):
        # Alone: other problems might show more of it. And without the value that may stand in the place.
        raise RecipeError(secrets, lambda at: _without_value(locate(at)), where=shown_as)
    starts_from, problems = resolve_start(layers, start)
    if problems:
        raise RecipeError(problems, locate, where=shown_as)
    if "name" not in layers.data:
        layers.data["name"] = path.stem
        layers.sources[("name",)] = "default"
    written = copy.deepcopy(layers)
    folders = (path.parent, cwd.absolute())
    if "stages" in layers.data:
        loaded = _check_stages(layers, path, folders, lambda problems: RecipeError(problems, locate, where=shown_as))
        return dataclasses.replace(loaded, locate=locate, written=written, start=starts_from)
    if problems := schema.check(layers.data):
        raise RecipeError(problems, locate, where=shown_as)
    problems = merge_save_aliases(layers)
    recipe, settings, inspection, other_problems, warnings = _build_recipe(layers, folders)
    if problems := [*problems, *other_problems]:
        raise RecipeError(problems, locate, where=shown_as)
    return LoadedRecipe(
        recipe,
        settings,
        path,
        inspection.local_files,
        locate,
        warnings=tuple(warnings),
        notes=inspection.notes,
        sources=(inspection.sources,),
        written=written,
        start=starts_from,
    )


def _check_stages(
    layers: LayeredRecipe,
    path: pathlib.Path,
    folders: tuple[pathlib.Path, pathlib.Path],
    error: Callable[[Sequence[Problem]], RecipeError],
) -> LoadedRecipe:
    """Do what `check_recipe` does for a recipe with stages: check each as a recipe of its own."""
    stages, problems = split_stages(layers)
    problems += [problem for stage in stages for problem in stage.relocate_problems(schema.check(stage.layers.data))]
    if problems:
        raise error(unique_problems(problems))
    recipes, settings, local_files = [], {}, dict[pathlib.Path, None]()
    notes: list[str] = []
    sources: list[tuple[SourceFacts, ...]] = []
    warnings: list[Problem] = []
    for stage in stages:
        recipe, stage_settings, inspection, stage_problems, stage_warnings = _build_recipe(stage.layers, folders)
        recipes.append(dataclasses.replace(recipe, stage=stage.name))
        for key, setting in stage_settings.items():
            shared = key.partition(".")[0] in SHARED
            settings[key if shared else f"stages.{stage.name}.{key}"] = setting
        local_files |= dict.fromkeys(inspection.local_files)
        notes += [f"stages.{stage.name}.{note}" for note in inspection.notes]
        sources.append(inspection.sources)
        problems += stage.relocate_problems([*stage_problems, *strategy_of_a_stage(recipe)])
        warnings += stage.relocate_problems(stage_warnings)
    if problems:
        raise error(unique_problems(problems))
    whole = dataclasses.replace(recipes[0], stage=None, stages=tuple(recipes), export=recipes[-1].export)
    return LoadedRecipe(
        whole,
        settings,
        path,
        tuple(local_files),
        warnings=tuple(unique_problems(warnings)),
        notes=tuple(notes),
        sources=tuple(sources),
    )


def _build_recipe(
    layers: LayeredRecipe, folders: tuple[pathlib.Path, pathlib.Path]
) -> tuple[Recipe, dict[str, Setting], Inspection, list[Problem], list[Problem]]:
    """Return the recipe, its settings, its files, the problems that the schema does not find, and warnings.

    Args:
        layers: a recipe, or one stage's, that the schema accepts.
        folders: the folder of the recipe's relative paths, and that of the command line's.
    """
    known = schema.recipe_schema(layers.data["method"])
    data: dict[str, Json] = schema.normalize(layers.data, known)
    inspection = inspect_inputs(data, lambda at: folders[source_of(at, layers.sources) != "recipe"])
    recipe = _recipe_from(inspection.data)
    settings = resolve_settings(inspection.data, layers.sources, known)
    for key in _settings_without_default(recipe):
        settings.pop(f"training.{key}", None)
    context = RuleContext(recipe, settings, inspection.sources)
    said = {problem.path for problem in inspection.problems}
    contradictions = [problem for problem in find_contradictions(context) if problem.path not in said]
    return recipe, settings, inspection, [*inspection.problems, *contradictions], find_warnings(context)


def _settings_without_default(recipe: Recipe) -> tuple[str, ...]:
    """Return settings under `training:` for which the libraries' defaults do not apply."""
    if recipe.training.get("effective_batch_size") is None:
        return SAVING
    split = ("per_device_train_batch_size", "gradient_accumulation_steps")
    return SAVING + tuple(key for key in split if key not in recipe.training)


def _recipe_from(data: Mapping[str, Json]) -> Recipe:
    evaluation = data["data"].get("eval", ())
    held_out = evaluation["from_train"] if isinstance(evaluation, dict) else None
    evaluate, export = data.get("evaluate", {}), data.get("export", {})
    exact_match = evaluate.get("exact_match")
    return Recipe(
        name=data["name"],
        method=data["method"],
        model=data["model"],
        data=Data(
            train=tuple(DataSource(**entry) for entry in data["data"]["train"]),
            eval=() if isinstance(evaluation, dict) else tuple(DataSource(**entry) for entry in evaluation),
            eval_from_train=held_out,
            edition=EDITION,
        ),
        adapter=data.get("adapter"),
        training=data.get("training", {}),
        checkpoint=Checkpoint(**data.get("checkpoint", {})),
        watchdog=Watchdog(**data.get("watchdog", {})),
        evaluate=Evaluate(
            **{
                **evaluate,
                "prompts": tuple(evaluate.get("prompts", ())),
                "exact_match": None if exact_match is None else ExactMatch(**exact_match),
            }
        ),
        export=Export(**{**export, "gguf": tuple(export.get("gguf", ()))}),
        notify=tuple(Notification.from_mapping(entry) for entry in data.get("notify", ())),
        resources=data.get("resources", {}),
        sky=data.get("sky", {}),
    )


def _without_value(place: str) -> str:
    """Return a place for errors without what `--set` was given."""
    return re.sub(r"^(--set \S+?=).*", r"\1…", place, flags=re.DOTALL)


def _relative_to_cwd(path: pathlib.Path, cwd: pathlib.Path) -> str:
    """Return the path for errors: relative if it is below the working directory."""
    try:
        return str(path.relative_to(cwd.absolute()))
    except ValueError:
        return str(path)
