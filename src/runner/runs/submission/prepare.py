"""Turn a checked recipe into what ``run.json`` holds: local data files become inputs of the run, named by digest."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3

from runner.errors import UserError
from runner.recipe.inputs.references import is_local
from runner.recipe.inputs.reward_refs import split_reward
from runner.recipe.loading.load import LoadedRecipe
from runner.recipe.recipe import Checkpoint, Watchdog
from runner.storage.commit import digest
from runner.storage.manifest import canonical_json, is_relative_name


@dataclass(frozen=True, kw_only=True)
class PreparedRecipe:
    """A recipe that is ready to be submitted."""

    recipe: Mapping[str, Any]
    """`Recipe.to_mapping` as JSON gives it back; data files are named by their key in the run."""
    settings: Mapping[str, Any]
    """Every setting: its value and who set it."""
    digest: str
    """Equal for equal recipes with equal data, wherever the files are."""
    inputs: Mapping[str, Path]
    """Local files to copy to the store, by their key in the run (``inputs/<digest>/<name>``)."""
    left_behind: Mapping[str, str] = field(default_factory=dict)
    """Digests of the files and folders of data that stay where they are, by path."""


def prepare(loaded: LoadedRecipe, *, left_behind: Mapping[str, str] | None = None) -> PreparedRecipe:
    """Prepare a recipe; its data files are read once, for their digests.

    Data in single files, and files of reward functions, are copied to the store. Folders (of data, or a model) stay
    where they are: the run names their path, and for data the digest covers their contents.

    Args:
        loaded: the recipe.
        left_behind: for a recipe that another machine prepared before (`portable_recipe`): digests of what stays where
            it is, by path, as they were there. The local paths in `sky` are that machine's then.

    Raises:
        UserError: a file cannot be read.
    """
    recipe: dict[str, Any] = json.loads(json.dumps(loaded.recipe.to_mapping()))
    if left_behind is None:
        recipe["sky"] = resolve_sky_paths(recipe["sky"], loaded.path.parent)
    known = left_behind or {}
    inputs: dict[str, Path] = {}
    not_copied: dict[str, str] = {}

    def add_input(path: Path) -> str:
        key = input_key(path)
        inputs[key] = path
        return key

    for stage in [recipe, *recipe["stages"]]:
        for source in [*stage["data"]["train"], *stage["data"]["eval"]]:
            path = Path(source["path"])
            if not is_local(source["path"]):
                continue
            if path.is_dir():
                not_copied[source["path"]] = known.get(source["path"]) or folder_digest(path)
            else:
                source["path"] = add_input(path)
        rewards = stage["training"].get("reward_funcs", [])
        for index, name in enumerate(rewards):
            file, function = split_reward(name)
            if file is not None and is_local(file):
                rewards[index] = f"{add_input(Path(file))}:{function}"
    for path in loaded.local_files:
        if path.is_file() and path not in inputs.values():
            not_copied[str(path)] = known.get(str(path)) or file_digest(path)
    identified = _identified(recipe)
    identity = {"recipe": identified, "left_behind": not_copied} if not_copied else identified
    return PreparedRecipe(
        recipe=recipe,
        settings={key: {"value": setting.value, "source": setting.source} for key, setting in loaded.settings.items()},
        digest=blake3(canonical_json(identity)).hexdigest(),
        inputs=inputs,
        left_behind=not_copied,
    )


def input_key(path: Path) -> str:
    """The key within the run of a local file that is to travel with it: ``inputs/<digest>/<name>``.

    Raises:
        UserError: it cannot be read.
    """
    name = path.name if is_relative_name(path.name) else f"data{path.suffix}"
    return f"inputs/{file_digest(path)}/{name}"


def _identified(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe without settings that older versions did not have, where they are as they always were.

    So a run that an older version began is found again by its settings.
    """
    identified = {**recipe, "stages": [_identified(stage) for stage in recipe.get("stages", ())]}
    if identified.get("watchdog") == dataclasses.asdict(Watchdog()):
        del identified["watchdog"]
    checkpoint = dict(identified["checkpoint"])
    if checkpoint.get("durable_minutes") == Checkpoint().durable_minutes:
        checkpoint.pop("durable_minutes", None)
    return identified | {"checkpoint": checkpoint}


def resolve_sky_paths(own: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Make the local paths in a recipe's `sky` absolute: they are relative to the recipe's file.

    Raises:
        UserError: one of them does not exist.
    """
    placed = dict(own)
    if isinstance(own.get("workdir"), str):
        placed["workdir"] = _existing(own["workdir"], folder, "sky.workdir")
    if "file_mounts" in own:
        placed["file_mounts"] = {
            target: _existing(source, folder, f"sky.file_mounts.{target}")
            if isinstance(source, str) and "://" not in source
            else source
            for target, source in own["file_mounts"].items()
        }
    return placed


def _existing(text: str, folder: Path, where: str) -> str:
    path = folder / Path(text).expanduser()
    if not path.exists():
        raise UserError("there is no such file or folder", where=f"{where}: {path}")
    return str(path)


def folder_digest(folder: Path) -> str:
    """Of all files below a folder, by their names and contents."""
    files = {str(path.relative_to(folder)): file_digest(path) for path in folder.rglob("*") if path.is_file()}
    return blake3(canonical_json(files)).hexdigest()


def file_digest(path: Path) -> str:
    """Of a file's contents.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return digest(path)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
