"""Settings with two names: transformers' `save_…` under `training:` are the recipe's `checkpoint:`."""

from runner.recipe.loading.overrides import LayeredRecipe
from runner.recipe.problems import Problem, RecipePath, show
from runner.recipe.recipe import Json
from runner.recipe.settings import source_of

SAVING = ("save_steps", "save_total_limit")
"""Settings that `training:` and `checkpoint:` both have."""

RANK = {"default": 0, "recipe": 1, "--set": 2, "flag": 3, "sweep": 3}
"""If two sources set the same, the one with the higher rank wins."""


def merge_save_aliases(layers: LayeredRecipe) -> list[Problem]:
    """Move the saving settings under `training:` to `checkpoint:`; the source with the higher rank wins.

    Args:
        layers: a recipe that the schema accepts; modified in place.

    Returns:
        Problems: a save interval that is a share of all steps, and two values from the same source.
    """
    problems: list[Problem] = []
    training: dict[str, Json] = layers.data.get("training", {})
    checkpoint: dict[str, Json] = layers.data.get("checkpoint", {})
    for key in SAVING:
        if key not in training:
            continue
        alias, target = ("training", key), ("checkpoint", key)
        value = training.pop(key)
        if isinstance(value, float) and not value.is_integer():
            problems.append(
                Problem(
                    alias,
                    f"{show(value)} is a share of all steps, which is not known before the data is read",
                    "write a number of steps",
                )
            )
            continue
        value = int(value) if isinstance(value, float) else value
        ranks = RANK[source_of(alias, layers.sources)], RANK[source_of(target, layers.sources)]
        if key in checkpoint and checkpoint[key] != value and ranks[0] == ranks[1]:
            what = f"{show(value)} here, and {show(checkpoint[key])} under `checkpoint:`"
            problems.append(Problem(alias, what, f"keep `checkpoint: {{{key}: …}}`"))
        elif key not in checkpoint or ranks[0] > ranks[1]:
            checkpoint[key] = value
            layers.data["checkpoint"] = checkpoint
            _move_source(layers, alias, target)
    return problems


def _move_source(layers: LayeredRecipe, alias: RecipePath, target: RecipePath) -> None:
    """Give `target` the source and the place of `alias`."""
    layers.sources[target] = source_of(alias, layers.sources)
    place = next((layers.places[alias[:length]] for length in (2, 1) if alias[:length] in layers.places), None)
    if place is not None:
        layers.places[target] = place
