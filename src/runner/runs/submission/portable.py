"""A recipe that can be checked and prepared on another machine: as it was written, with its local files in the store.

A sweep keeps such a recipe. Whatever worker takes a trial first sets the drawn values in it, and has it go through
exactly the checks of a launch.
"""

import copy
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from runner.recipe.inputs.references import absolute, is_local, resolve
from runner.recipe.inputs.reward_refs import resolve_reward, split_reward
from runner.recipe.loading.load import LoadedRecipe, check_layers
from runner.recipe.loading.overrides import LayeredRecipe, apply_values
from runner.recipe.problems import RecipePath
from runner.recipe.recipe import Json
from runner.recipe.settings import Source, source_of
from runner.recipe.strategy import read_deepspeed_file
from runner.runs.submission.prepare import (
    PreparedRecipe,
    file_digest,
    folder_digest,
    input_key,
    prepare,
    resolve_sky_paths,
)

_FILES_UNDER_TRAINING = ("chat_template_path", "accelerator_config", "deepspeed")
_DRAWN: Source = "sweep"
_PLACE = "the sweep's {}"
_INPUT = re.compile(r"inputs/[0-9a-f]{64}/[^/]+")


@dataclass(frozen=True, kw_only=True)
class PortableRecipe:
    """A recipe as it was written, for other machines."""

    document: Mapping[str, Json]
    """The recipe's mapping with the command line's changes. Local files are keys (``inputs/<digest>/<name>``), or
    absolute paths if they stay where they are; so are folders."""
    sources: Mapping[RecipePath, Source]
    """The source of each path that the recipe's file did not set."""
    files: Mapping[str, Json] = field(default_factory=dict)
    """What a drawn value names on the machine of the launch, and what stands for it elsewhere."""
    left_behind: Mapping[str, str] = field(default_factory=dict)
    """Digests of the files and folders that stay where they are, by path."""
    inputs: Mapping[str, Path] = field(default_factory=dict)
    """On the machine of the launch: local files to copy to the store, by their keys."""

    def to_mapping(self) -> dict[str, Any]:
        """Return all but `inputs`, as JSON."""
        return {
            "document": dict(self.document),
            "sources": [[list(path), source] for path, source in self.sources.items()],
            "files": dict(self.files),
            "left_behind": dict(self.left_behind),
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "PortableRecipe":
        """Take the JSON of `to_mapping`; what it lacks is empty."""
        return cls(
            document=mapping["document"],
            sources={tuple(path): cast(Source, source) for path, source in mapping.get("sources", ())},
            files=mapping.get("files", {}),
            left_behind=mapping.get("left_behind", {}),
        )


def portable_recipe(loaded: LoadedRecipe, *, drawn: Iterable[Mapping[str, Json]] = (), cwd: Path) -> PortableRecipe:
    """Make a checked recipe independent of this machine, apart from the folders that it names.

    Args:
        loaded: the recipe.
        drawn: settings that a trial may have, by dotted name: those that name a local file become portable too.
        cwd: the folder in which relative paths of the command line, and drawn ones, begin.

    Raises:
        UserError: a file cannot be read.
    """
    inputs: dict[str, Path] = {}
    files: dict[str, Json] = {}
    left_behind = dict(prepare(loaded).left_behind)
    for settings in drawn:
        layers = copy.deepcopy(loaded.written)
        apply_values(layers, settings, source=_DRAWN, place=_PLACE)
        for place in _places(layers.data):
            if source_of(place.path, layers.sources) != _DRAWN:
                continue
            portable = place.portable(cwd.absolute(), inputs)
            if portable != place.text:
                files[place.text] = portable
            left_behind |= place.digest_left_behind(portable)
    layers = copy.deepcopy(loaded.written)
    for place in _places(layers.data):
        base = loaded.path.parent if source_of(place.path, layers.sources) == "recipe" else cwd.absolute()
        place.replace(place.portable(base, inputs))
    if isinstance(layers.data.get("sky"), dict):
        layers.data["sky"] = resolve_sky_paths(layers.data["sky"], loaded.path.parent)
    return PortableRecipe(
        document=json.loads(json.dumps(layers.data)),
        sources=layers.sources,
        files=files,
        left_behind=left_behind,
        inputs=inputs,
    )


def prepare_with(
    portable: PortableRecipe,
    settings: Mapping[str, Json],
    *,
    fetch: Callable[[str], Path],
    folder: Path,
    shown_as: str,
) -> tuple[LoadedRecipe, PreparedRecipe]:
    """Set values in a portable recipe, check all of it, and prepare it: as a launch with these values would be.

    Args:
        portable: the recipe.
        settings: values by dotted name; their source is ``sweep``.
        fetch: returns the local copy of an input.
        folder: of this machine; holds no files that the recipe could be taken to name.
        shown_as: names the recipe in errors.

    Raises:
        UserError: the recipe is not valid with these values, or what it names is not on this machine.
        Damaged: an input is not what it was at the launch.
    """
    layers = _layers_with(portable, settings)
    for place in _places(layers.data):
        place.replace(place.local(fetch))
    path = folder.absolute() / f"{layers.data['name']}.yaml"
    loaded = check_layers(layers, path, shown_as=shown_as, lines={}, cwd=folder)
    return loaded, prepare(loaded, left_behind=portable.left_behind)


def drawn_paths(portable: PortableRecipe, settings: Mapping[str, Json]) -> list[str]:
    """Return the absolute local paths that values name where a path belongs; what travels with the sweep has none.

    Args:
        portable: the recipe.
        settings: values by dotted name.
    """
    layers = _layers_with(portable, settings)
    drawn = (place.text for place in _places(layers.data) if source_of(place.path, layers.sources) == _DRAWN)
    return [text for text in drawn if is_local(text)]


def _layers_with(portable: PortableRecipe, settings: Mapping[str, Json]) -> LayeredRecipe:
    """The recipe with values set in it, and what stands for the files that they name."""
    layers = LayeredRecipe(
        copy.deepcopy(dict(portable.document)),
        dict(portable.sources),
        {path: f"{source} {'.'.join(map(str, path))}" for path, source in portable.sources.items()},
    )
    apply_values(layers, _with_files(dict(settings), portable.files), source=_DRAWN, place=_PLACE)
    return layers


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A text of the recipe that may name a file or folder."""

    path: RecipePath
    kind: str
    container: Any
    key: str | int

    @property
    def text(self) -> str:
        return str(self.container[self.key])

    def replace(self, value: Json) -> None:
        self.container[self.key] = value

    def portable(self, base: Path, inputs: dict[str, Path]) -> Json:
        """Return what stands for the text on other machines; adds to `inputs` what has to travel."""
        text = self.text
        if self.kind == "deepspeed":
            return read_deepspeed_file(absolute(text, base))
        if self.kind == "file":
            path = absolute(text, base)
            return str(path) if path.exists() else text
        if self.kind == "reward":
            file, function = split_reward(resolve_reward(text, base))
            return text if file is None or not is_local(file) else f"{_add_input(Path(file), inputs)}:{function}"
        resolved = resolve(text, base, "model" if self.kind == "model" else "data")
        if self.kind == "model" or not is_local(resolved) or Path(resolved).is_dir():
            return resolved
        return _add_input(Path(resolved), inputs)

    def local(self, fetch: Callable[[str], Path]) -> str:
        """Return what the text is on this machine."""
        file, function = split_reward(self.text) if self.kind == "reward" else (self.text, None)
        if self.kind not in ("data", "reward") or file is None or _INPUT.fullmatch(file) is None:
            return self.text
        path = str(fetch(file))
        return path if function is None else f"{path}:{function}"

    def digest_left_behind(self, portable: Json) -> dict[str, str]:
        """Return the digest of what stays where it is, by its path; nothing for what travels, or is a model's."""
        path = Path(portable) if isinstance(portable, str) and is_local(portable) else None
        if path is not None and self.kind == "data":
            return {str(path): folder_digest(path)}
        return {str(path): file_digest(path)} if path is not None and self.kind == "file" and path.is_file() else {}


def _add_input(path: Path, inputs: dict[str, Path]) -> str:
    key = input_key(path)
    inputs[key] = path
    return key


def _places(data: Mapping[str, Any]) -> Iterator[_Place]:
    """Yield the texts of a written recipe that may name files, at the top and in the stages."""
    yield from _places_of(data, ())
    stages = data.get("stages")
    for index, stage in enumerate(stages if isinstance(stages, list) else ()):
        if isinstance(stage, dict):
            yield from _places_of(stage, ("stages", index))


def _places_of(section: Mapping[str, Any], at: RecipePath) -> Iterator[_Place]:
    model, data, training, export = (_mapping(section, key) for key in ("model", "data", "training", "export"))
    found: list[tuple[RecipePath, str, Any, str | int]] = [
        (("model", "model_name_or_path"), "model", model, "model_name_or_path"),
        (("export", "base"), "model", export, "base"),
    ]
    for part in ("train", "eval"):
        entries = data.get(part)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, dict):
                found.append((("data", part, index, "path"), "data", entry, "path"))
    for key in _FILES_UNDER_TRAINING:
        written = training.get(key)
        if isinstance(written, str) and not written.startswith("{"):
            found.append((("training", key), "deepspeed" if key == "deepspeed" else "file", training, key))
    rewards = training.get("reward_funcs")
    if isinstance(rewards, list):
        found += [(("training", "reward_funcs", index), "reward", rewards, index) for index in range(len(rewards))]
    for path, kind, container, name in found:
        values: Any = container
        if (isinstance(values, list) or name in values) and isinstance(container[name], str):
            yield _Place(path=(*at, *path), kind=kind, container=container, key=name)


def _mapping(section: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = section.get(key)
    return value if isinstance(value, dict) else {}


def _with_files(value: Any, files: Mapping[str, Json]) -> Any:
    """Return settings in which each text that names a file of the launch's machine is what stands for it."""
    if isinstance(value, dict):
        return {key: _with_files(item, files) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_files(item, files) for item in value]
    return copy.deepcopy(files[value]) if isinstance(value, str) and value in files else value
