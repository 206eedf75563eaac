"""Name the commits of a recipe's datasets on the hub: a run is made when a dataset has changed, and only then."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from runner.control.recipes.warm_start import start_resolver
from runner.errors import UserError
from runner.hub.check import hub_references, run_token
from runner.hub.client import request_commit
from runner.recipe.loading.load import load_recipe

_COMMIT = re.compile(r"[0-9a-f]{40}")


def pin_data(recipe: str, overrides: Sequence[str], *, cwd: Path, say: Callable[[str], None]) -> list[str]:
    """Return what `--set` is to be given so that each dataset of a recipe is read at the commit where it is now.

    Args:
        recipe: a name or path, as for a launch.
        overrides: what `--set` is given besides.
        cwd: where relative paths begin.
        say: receives a sentence for each.

    Raises:
        UserError: the recipe is wrong, or the hub does not say at which commit a dataset is.
    """
    loaded = load_recipe(recipe, overrides=overrides, cwd=cwd, start=start_resolver())
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    token = run_token({}, here=True)
    pins = []
    for reference in hub_references(loaded.recipe):
        if reference.kind != "dataset" or _COMMIT.fullmatch(reference.revision):
            continue
        *entry, _ = reference.at
        if entry[0] == "stages" and "data" in loaded.written.data:
            entry = entry[2:]  # the stages share it, and it is written once
        try:
            commit = request_commit(endpoint, reference, token)
        except OSError as error:
            raise _unknown(reference.repo, str(error)) from error
        if commit is None or not _COMMIT.fullmatch(commit):
            raise _unknown(reference.repo, f"no commit is known of {reference.revision}")
        say(f"{reference.repo} is at {commit}")
        pins.append(f"{'.'.join(map(str, entry))}.revision={commit}")
    return list(dict.fromkeys(pins))


def _unknown(repo: str, why: str) -> UserError:
    remedy = "try again, or leave out --pin-data and give the entry a `revision`"
    return UserError(f"the hub does not say where {repo} is: {why}", where="--pin-data", remedy=remedy)
