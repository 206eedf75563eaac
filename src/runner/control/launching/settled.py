"""Fill in what a launch does not say with what was settled once for all (`runner.remembered`)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.backends.base import ResourceOptions
from runner.backends.registry import BACKENDS
from runner.errors import UserError
from runner.recipe.loading.finder import find_recipe, read_recipe
from runner.recipe.loading.overrides import apply_overrides
from runner.recipe.loading.strict_yaml import parse_document
from runner.recipe.loading.written_in_python import document_of
from runner.remembered import SETTINGS, in_environment, read_file

_OF_GPUS = ("accelerators", "gpus", "instance_type")
_OF_PLACES = ("infra", "cloud", "region", "zone")


def settled_resources(
    options: ResourceOptions, recipe_resources: Mapping[str, Any], *, cluster: str | None = None
) -> ResourceOptions:
    """Return the machines that a launch asks for, with infra and GPUs that were settled where it leaves them open.

    An option counts before a variable, that before the recipe, that before the file. Without an infra by any of them, a
    launch that asks for nothing stays on this machine; GPUs alone do not send it elsewhere.

    Args:
        options: what is asked for.
        recipe_resources: the recipe's `resources`.
        cluster: the SkyPilot cluster that is asked for.

    Raises:
        UserError: what is remembered is not as it has to be.
    """
    infra, settled = options.infra, False
    if not infra:
        infra = _names("infra", said_by_recipe=_says(recipe_resources, _OF_PLACES))
        settled = bool(infra)
    here = [name for name in infra if name.partition("/")[0] in BACKENDS]
    asks_for_more = replace(options, infra=()).any or cluster is not None
    if settled and here and asks_for_more:
        infra = ()  # --gpu and the like are for machines elsewhere
    elsewhere = bool(infra) and not here if infra else asks_for_more
    if not infra and not options.any and cluster is None and _goes_elsewhere(recipe_resources):
        # The recipe says where, and the file that launches go elsewhere.
        options, elsewhere = replace(options, nodes=1), True
    gpus = options.gpus
    if elsewhere and not gpus:
        gpus = _names("gpu", said_by_recipe=_says(recipe_resources, _OF_GPUS))
    return replace(options, infra=infra, gpus=gpus)


def settled_max_cost(*, has_price: bool, said_by_file: float | None = None) -> float | None:
    """Return the most that a launch may cost which does not say it; None: any.

    A remembered limit is for machines that have a price: it must not keep a run from this machine.

    Args:
        has_price: whether it is known what the machines cost.
        said_by_file: the limit in the file of a sweep.

    Raises:
        UserError: what is remembered is not as it has to be.
    """
    value = in_environment("max-cost")
    if value is None:
        value = said_by_file
    if value is None and has_price:
        value = read_file().get("max-cost")
    return None if value is None else float(str(value))


def written_resources(
    recipe: str | Mapping[str, Any], *, overrides: Any = (), values: Mapping[str, Any] | None = None, cwd: Path
) -> Mapping[str, Any]:
    """Return the `resources` of a recipe as they are written, unchecked; nothing if it cannot be read.

    Nor is it read if nothing was settled in the file: then there is nothing that it would win over.
    """
    if not read_file().keys() & {"infra", "gpu"}:
        return {}
    try:
        if isinstance(recipe, str):
            path = find_recipe(recipe, cwd)
            document = parse_document(read_recipe(path, shown_as=str(path)), name=str(path))
        else:
            document = document_of(recipe)
        resources = apply_overrides(document, overrides, values or {}).data.get("resources")
    except UserError:
        return {}  # which is said when the recipe is loaded
    return resources if isinstance(resources, dict) else {}


def _names(setting: str, *, said_by_recipe: bool) -> tuple[str, ...]:
    value = in_environment(setting)
    if value is None and not said_by_recipe:
        value = read_file().get(setting)
    assert value is None or isinstance(value, tuple), SETTINGS[setting]
    return value or ()


def _goes_elsewhere(recipe_resources: Mapping[str, Any]) -> bool:
    infra = read_file().get("infra")
    return (
        isinstance(infra, tuple)
        and not any(name.partition("/")[0] in BACKENDS for name in infra)
        and _says(recipe_resources, _OF_PLACES)
    )


def _says(resources: Mapping[str, Any], keys: tuple[str, ...]) -> bool:
    entries = [resources]
    for choice in ("any_of", "ordered"):
        listed = resources.get(choice)
        entries += [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    return any(entry.get(key) is not None for entry in entries for key in keys)
