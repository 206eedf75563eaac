"""Which of the accelerators that were asked for a recipe fits on, as far as its models' shapes are known here."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.fit.accelerators import find_accelerator
from runner.recipe.inputs.references import is_local
from runner.recipe.recipe import Recipe

Fits = Callable[[str, float], str | None]
"""Why a recipe does not fit on so many of an accelerator; None: it does."""


def fits_on(recipe: Recipe, nodes: int) -> Fits:
    """A function that says why a recipe does not fit on so many of an accelerator; None: it does, or nobody can tell.

    Args:
        recipe: what is to run.
        nodes: on how many machines.
    """
    from runner.fit.fit import fit  # here: it brings the whole estimate along

    known = [(stage, config) for stage in recipe.in_order if (config := _config(stage)) is not None]

    def why_not(name: str, count: float) -> str | None:
        try:
            accelerator = find_accelerator(name)
        except UserError:
            return None  # SkyPilot has more of them than there are facts here
        for stage, config in known:
            found = fit(stage, config, accelerator, devices=max(1, int(count)), nodes=nodes)
            if not found.fits:
                return found.reason
        return None

    return why_not


def _config(recipe: Recipe) -> Mapping[str, Any] | None:
    """The model's ``config.json``: from its folder, or of those that ship with the package."""
    from runner.fit.model_shape import bundled_config

    name = str(recipe.model["model_name_or_path"])
    if is_local(name):
        try:
            config: Mapping[str, Any] = json.loads((Path(name) / "config.json").read_bytes())
        except (OSError, ValueError):
            return None
        return config
    return bundled_config(name)
