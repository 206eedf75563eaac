"""Decide which of the requested accelerators a recipe fits on, if its model's shape is known."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import UserError
from runner.files import read_whole
from runner.fit.accelerators import find_accelerator

if TYPE_CHECKING:
    from runner.recipe.recipe import Recipe  # types only: `runner ps` imports this module for `Fits`

Fits = Callable[[str, float], str | None]
"""Takes an accelerator and a number of it; returns why a recipe does not fit, or None if it does or is unknown."""


def fits_on(recipe: "Recipe", nodes: int) -> Fits:
    """Return a function that says why a recipe does not fit on a number of an accelerator.

    Args:
        recipe: the recipe to run.
        nodes: number of machines.
    """
    from runner.fit.fit import fit  # not above: it imports the whole estimate

    known = [(stage, config) for stage in recipe.in_order if (config := _config(stage)) is not None]

    def why_not(name: str, count: float) -> str | None:
        try:
            accelerator = find_accelerator(name)
        except UserError:
            return None  # SkyPilot knows more accelerators than runner
        for stage, config in known:
            stage_fit = fit(stage, config, accelerator, devices=max(1, int(count)), nodes=nodes)
            if not stage_fit.fits:
                return stage_fit.reason
        return None

    return why_not


def _config(recipe: "Recipe") -> Mapping[str, Any] | None:
    """Return the model's ``config.json`` from its folder or from the package; None if it has to be fetched."""
    from runner.fit.model_shape import bundled_config
    from runner.recipe.inputs.references import is_local

    name = str(recipe.model["model_name_or_path"])
    if is_local(name):
        try:
            config: Mapping[str, Any] = json.loads(read_whole(Path(name) / "config.json", 64 << 20))
        except (OSError, ValueError, RecursionError):
            return None
        return config
    return bundled_config(name)
