"""Whether a recipe fits on an accelerator, for those who choose machines (`runner.launch.machines`)."""

from collections.abc import Callable
from functools import cache

from runner.launch.model_config import model_config
from runner.spec.accelerator import find_accelerator
from runner.spec.errors import UserError
from runner.spec.fit import fit
from runner.spec.recipe import Recipe


def where_it_fits(recipe: Recipe, *, nodes: int = 1, fetch: bool = True) -> Callable[[str, float], str | None]:
    """A function that says why a recipe does not fit on so many of an accelerator, or None.

    Where nothing can be said (the model's config is not to be had, the GPU is not in the table, a part of one is asked
    for), nothing is held against a machine.

    Args:
        recipe: what is to be trained.
        nodes: how many machines.
        fetch: whether the hub may be asked for the model's config.
    """
    try:
        config = model_config(recipe, fetch=fetch)
    except UserError:
        return lambda name, count: None

    @cache
    def why_not(name: str, count: float) -> str | None:
        try:
            accelerator = find_accelerator(name)
        except UserError:
            return None
        if count < 1 or count != int(count):
            return None
        found = fit(recipe, config, accelerator, devices=int(count), nodes=nodes)
        return None if found.fits else found.reason

    return why_not
