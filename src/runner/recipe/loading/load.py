"""From a recipe's name to a checked `Recipe`: found, read, overridden, checked by schema and rules, resolved."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.recipe import schema
from runner.recipe.inputs.inspection import Inspection, inspect_inputs
from runner.recipe.loading.aliases import SAVING, merge_save_aliases
from runner.recipe.loading.finder import find_recipe, read_recipe
from runner.recipe.loading.overrides import Layered, apply_overrides
from runner.recipe.loading.stages import SHARED, split_stages, unique_problems
from runner.recipe.loading.strict_yaml import Document, parse_document
from runner.recipe.problems import Problem, RecipeError, RecipePath, dotted_path
from runner.recipe.recipe import Checkpoint, Data, DataSource, Evaluate, ExactMatch, Export, Json, Recipe
from runner.recipe.rules.context import RuleContext
from runner.recipe.rules.registry import find_contradictions
from runner.recipe.rules.strategy import strategy_of_a_stage
from runner.recipe.settings import Setting, resolve_settings, source_of


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe that can be trusted."""

    recipe: Recipe
    """What to train: local paths are absolute, only what was set stands in the mappings."""
    settings: Mapping[str, Setting]
    """Every setting by its dotted path, defaults included, with its value and who set it; a stage's settings begin with
    ``stages.<name>.``."""
    path: pathlib.Path
    """The recipe's file."""
    local_files: tuple[pathlib.Path, ...]
    """The files and folders of this machine that the recipe names, absolute, as they stand in it."""
    locate: Callable[[RecipePath], str] = dotted_path
    """Where a path of the recipe was written, for errors: ``jobs/x.yaml:12``, or ``--set training.x=1``."""


def load_recipe(
    name_or_path: str,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    cwd: pathlib.Path,
) -> LoadedRecipe:
    """Find a recipe, lay the command line over it, and check all of it. Nothing is written, and no network is used.

    Args:
        name_or_path: a name in ``jobs/`` (the working directory's first, then the shipped ones), or a path.
        overrides: ``training.learning_rate=1e-4`` each, as given to ``--set``; they count more than the recipe.
        flags: values by dotted key, as other options set them; they count more than overrides.
        cwd: the working directory.

    Raises:
        UserError: whatever is wrong, with its place and remedy; a `RecipeError` lists everything that is.
    """
    path = find_recipe(name_or_path, cwd)
    shown_as = _shown(path, cwd)
    document = parse_document(read_recipe(path, shown_as=shown_as), name=shown_as)
    return check_recipe(document, path, shown_as=shown_as, overrides=overrides, flags=flags or {}, cwd=cwd)


def check_recipe(
    document: Document,
    path: pathlib.Path,
    *,
    shown_as: str,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any],
    cwd: pathlib.Path,
) -> LoadedRecipe:
    """What `load_recipe` does after reading; `shown_as` is what errors call the file."""
    layers = apply_overrides(document, overrides, flags)

    def locate(at: RecipePath) -> str:
        parts = [at[:length] for length in range(len(at), 0, -1)]
        on_command_line = next((layers.places[part] for part in parts if part in layers.places), None)
        if on_command_line is not None:
            return on_command_line
        return next((f"{shown_as}:{document.lines[part]}" for part in parts if part in document.lines), shown_as)

    if "name" not in layers.data:
        layers.data["name"] = path.stem
        layers.sources[("name",)] = "default"
    folders = (path.parent, cwd.absolute())
    if "stages" in layers.data:
        loaded = _check_stages(layers, path, folders, lambda problems: RecipeError(problems, locate, where=shown_as))
        return dataclasses.replace(loaded, locate=locate)
    if problems := schema.check(layers.data):
        raise RecipeError(problems, locate, where=shown_as)
    problems = merge_save_aliases(layers)
    recipe, settings, inspection, found = _laid_together(layers, folders)
    if problems := [*problems, *found]:
        raise RecipeError(problems, locate, where=shown_as)
    return LoadedRecipe(recipe, settings, path, inspection.local_files, locate)


def _check_stages(
    layers: Layered,
    path: pathlib.Path,
    folders: tuple[pathlib.Path, pathlib.Path],
    error: Callable[[Sequence[Problem]], RecipeError],
) -> LoadedRecipe:
    """What `check_recipe` does of a recipe with stages: each is checked as a recipe of its own."""
    stages, problems = split_stages(layers)
    problems += [problem for stage in stages for problem in stage.explained(schema.check(stage.layers.data))]
    if problems:
        raise error(unique_problems(problems))
    recipes, settings, local_files = [], {}, dict[pathlib.Path, None]()
    for stage in stages:
        recipe, found, inspection, contradictory = _laid_together(stage.layers, folders)
        recipes.append(dataclasses.replace(recipe, stage=stage.name))
        for key, setting in found.items():
            shared = key.partition(".")[0] in SHARED
            settings[key if shared else f"stages.{stage.name}.{key}"] = setting
        local_files |= dict.fromkeys(inspection.local_files)
        problems += stage.explained([*contradictory, *strategy_of_a_stage(recipe)])
    if problems:
        raise error(unique_problems(problems))
    whole = dataclasses.replace(recipes[0], stage=None, stages=tuple(recipes), export=recipes[-1].export)
    return LoadedRecipe(whole, settings, path, tuple(local_files))


def _laid_together(
    layers: Layered, folders: tuple[pathlib.Path, pathlib.Path]
) -> tuple[Recipe, dict[str, Setting], Inspection, list[Problem]]:
    """The recipe that the schema accepts, its settings, its files, and what is wrong with it still.

    Args:
        layers: the recipe's, or one stage's.
        folders: where relative paths of the recipe begin, and those of the command line.
    """
    known = schema.recipe_schema(layers.data["method"])
    data: dict[str, Json] = schema.normalize(layers.data, known)
    inspection = inspect_inputs(data, lambda at: folders[source_of(at, layers.sources) != "recipe"])
    recipe = _recipe(inspection.data)
    settings = resolve_settings(inspection.data, layers.sources, known)
    for key in _decided_elsewhere(recipe):
        settings.pop(f"training.{key}", None)
    problems = [*inspection.problems, *find_contradictions(RuleContext(recipe, settings, inspection.sources))]
    return recipe, settings, inspection, problems


def _decided_elsewhere(recipe: Recipe) -> tuple[str, ...]:
    """Settings under `training:` whose defaults in the libraries are not what happens."""
    if recipe.training.get("effective_batch_size") is None:
        return SAVING
    split = ("per_device_train_batch_size", "gradient_accumulation_steps")
    return SAVING + tuple(key for key in split if key not in recipe.training)


def _recipe(data: Mapping[str, Json]) -> Recipe:
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
        ),
        adapter=data.get("adapter"),
        training=data.get("training", {}),
        checkpoint=Checkpoint(**data.get("checkpoint", {})),
        evaluate=Evaluate(
            **{
                **evaluate,
                "prompts": tuple(evaluate.get("prompts", ())),
                "exact_match": None if exact_match is None else ExactMatch(**exact_match),
            }
        ),
        export=Export(**{**export, "gguf": tuple(export.get("gguf", ()))}),
        resources=data.get("resources", {}),
        sky=data.get("sky", {}),
    )


def _shown(path: pathlib.Path, cwd: pathlib.Path) -> str:
    """The file as errors name it: short where it lies below the working directory."""
    try:
        return str(path.relative_to(cwd.absolute()))
    except ValueError:
        return str(path)
