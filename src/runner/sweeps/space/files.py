"""Local files and folders that only a drawn value names."""

from collections.abc import Iterable, Iterator
from typing import Any

from runner.runs.submission.portable import PortableRecipe, drawn_paths
from runner.sweeps.space.space import Space

_PLACES = (
    "training.reward_funcs",
    "training.deepspeed",
    "training.chat_template_path",
    "training.accelerator_config",
)


def drawn_files(space: Space) -> Iterator[dict[str, Any]]:
    """Yield the settings that a trial may have and that may name a file: each choice of each parameter by itself."""
    for parameter in space.parameters:
        for value in parameter.distribution.values() or ():
            settings = parameter.settings(value)
            if any(path.startswith(("data", "stages", "model", "export")) or path in _PLACES for path in settings):
                yield settings


def paths_of(portable: PortableRecipe, spaces: Iterable[Space]) -> list[str]:
    """Return the absolute paths of this machine that trials may name besides those of the recipe, each once.

    Args:
        portable: the sweep's recipe.
        spaces: what trials were, and will be, drawn from.
    """
    choices = [settings for space in spaces for settings in drawn_files(space)]
    return sorted({path for settings in choices for path in drawn_paths(portable, settings)})
