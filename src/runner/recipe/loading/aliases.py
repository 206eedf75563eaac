"""Settings that have a second name: transformers' saving under `training:` is the recipe's `checkpoint:`."""

from runner.recipe.loading.overrides import Layered
from runner.recipe.problems import Problem, RecipePath, show
from runner.recipe.recipe import Json
from runner.recipe.settings import source_of

SAVING = ("save_steps", "save_total_limit")
"""Under `training:` and under `checkpoint:` the same."""

RANK = {"default": 0, "recipe": 1, "--set": 2, "flag": 3}
"""Of two who set the same, the one with the higher rank counts."""


def merge_save_aliases(layers: Layered) -> list[Problem]:
    """Move what `training:` says of saving to `checkpoint:`; of two sources the one that counts more wins.

    Args:
        layers: a recipe that the schema accepts; changed in place.

    Returns:
        what cannot be moved: a share of all steps, and two values from the same source.
    """
    problems: list[Problem] = []
    training: dict[str, Json] = layers.data.get("training", {})
    checkpoint: dict[str, Json] = layers.data.get("checkpoint", {})
    for key in SAVING:
        if key not in training:
            continue
        here, there = ("training", key), ("checkpoint", key)
        value = training.pop(key)
        if isinstance(value, float) and not value.is_integer():
            problems.append(
                Problem(
                    here,
                    f"{show(value)} is a share of all steps, which is not known before the data is read",
                    "write a number of steps",
                )
            )
            continue
        value = int(value) if isinstance(value, float) else value
        ranks = RANK[source_of(here, layers.sources)], RANK[source_of(there, layers.sources)]
        if key in checkpoint and checkpoint[key] != value and ranks[0] == ranks[1]:
            what = f"{show(value)} here, and {show(checkpoint[key])} under `checkpoint:`"
            problems.append(Problem(here, what, f"keep `checkpoint: {{{key}: …}}`"))
        elif key not in checkpoint or ranks[0] > ranks[1]:
            checkpoint[key] = value
            layers.data["checkpoint"] = checkpoint
            _moved(layers, here, there)
    return problems


def _moved(layers: Layered, here: RecipePath, there: RecipePath) -> None:
    """Let errors and sources of the one name hold for the other."""
    layers.sources[there] = source_of(here, layers.sources)
    place = next((layers.places[here[:length]] for length in (2, 1) if here[:length] in layers.places), None)
    if place is not None:
        layers.places[there] = place
