"""Show a recipe's rows as they are trained on: a process of the training side loads its tokenizer and its data."""

import json
import os
import subprocess
import sys

from runner.backends.local.training_side import require_training_side
from runner.errors import UserError
from runner.paths import cache_folder
from runner.recipe.loading.load import LoadedRecipe
from runner.recipe.recipe import Recipe


def preview(loaded: LoadedRecipe, *, stage: str | None, rows: int, measured: int, color: bool, as_json: bool) -> int:
    """Print rows of a recipe as they are trained on; return the exit code.

    Args:
        loaded: a checked recipe.
        stage: the stage to show; None for the first.
        rows: how many rows to show.
        measured: how many to measure at most.
        color: whether the terminal shows colors.
        as_json: print JSON instead.

    Raises:
        UserError: there is no such stage, or a package that this needs is not installed.
    """
    recipe = _stage(loaded.recipe, stage)
    require_training_side("runner preview")
    # -P: a `datasets.py` in the working directory must not be taken for the library.
    command = [sys.executable, "-P", "-m", "runner.train.preview.run", "--rows", str(rows), "--measured", str(measured)]
    command += ["--cache-dir", str(cache_folder()), *(["--color"] * color), *(["--json"] * as_json)]
    environment = {"TQDM_DISABLE": "1", **os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", "CUDA_VISIBLE_DEVICES": ""}
    sys.stdout.flush()
    done = subprocess.run(command, input=json.dumps(recipe.to_mapping()), text=True, env=environment, check=False)
    return done.returncode


def _stage(recipe: Recipe, name: str | None) -> Recipe:
    """Return the recipe of a stage.

    Raises:
        UserError: there is none of this name.
    """
    names = {stage.stage_name: stage for stage in recipe.in_order}
    if name is None:
        return recipe.in_order[0]
    if name not in names:
        raise UserError(f"there is no stage {name!r}", where="--stage", remedy=f"There is: {', '.join(names)}.")
    return names[name]
