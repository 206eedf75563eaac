"""Which setting of a recipe a parameter's name means: a dotted path, or a short name where it is unambiguous."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from runner.recipe.problems import Problem, RecipePath
from runner.recipe.recipe import Json
from runner.recipe.schema import methods, recipe_schema
from runner.recipe.suggestions import FORMER, LORA, closest, remedy_for_unknown

SECTIONS = ("training", "adapter", "model", "data", "checkpoint", "evaluate", "watchdog", "export")
"""Sections whose settings a sweep can draw; where a short name is looked for."""
NOT_DRAWN = {
    "name": "leave it out: each trial gets a name of its own",
    "stages": "write the stage's name too: `stages.NAME.training.learning_rate`",
    "resources": "leave it out: machines are chosen for the whole sweep, under `runner:`",
    "sky": "leave it out: machines are chosen for the whole sweep, under `runner:`",
}
"""Keys of a recipe that no parameter may be, and what to do instead."""

_PLAIN_RENAME = re.compile(r"write `(\w+)`(, its name .*)?")
_GENERIC = ("name", "type", "path", "method", "target", "config", "test", "val", "args", "task")
_AMBIGUOUS = {
    **dict.fromkeys(
        ("batch_size", "train_batch_size"),
        "write `per_device_train_batch_size`, a device's micro-batch, or `effective_batch_size`, all samples of a step",
    ),
    "alpha": "write `lora_alpha`",
}


@dataclass(frozen=True)
class Name:
    """What a name means."""

    path: str
    """The dotted path of the setting, or of a section."""
    note: str | None = None
    """What to say if it is not the name of the setting."""


def resolve_name(name: str, method: str | None, *, section: str = "") -> Name | str:
    """Return the setting that `name` means, or what to write instead, if it means none.

    Args:
        name: a dotted path, or a short name.
        method: the recipe's; None: the recipe has stages.
        section: the section that the name stands in: ``adapter`` for the ``r`` of ``adapter: {r: 8}``.
    """
    if section:
        return _in_section(section, name, method)
    first, dot, rest = name.partition(".")
    if name in NOT_DRAWN or (dot and first in ("name", "resources", "sky")):
        return NOT_DRAWN[first]
    if first == "stages":
        step, dot, beyond = rest.partition(".")
        inner = resolve_name(beyond, None) if dot else NOT_DRAWN["stages"]
        return inner if isinstance(inner, str) else Name(f"stages.{step}.{inner.path}", inner.note)
    if first in _known(method):
        return _in_section(first, rest, method) if dot else Name(name)
    return _short(name, method) if not dot else _no_section(first, rest, method)


def is_section(path: str) -> bool:
    """Whether `path` is a section of a recipe, whose settings a mapping has, and not a setting."""
    steps = path.split(".")
    return len(steps[2:] if steps[0] == "stages" else steps) == 1 and steps[-1] in (*SECTIONS, "resources", "sky")


def is_map_of_settings(name: str, method: str | None) -> bool:
    """Whether `name` is no setting, so that a choice between mappings may have it, whose keys are settings."""
    return "." not in name and isinstance(resolve_name(name, method), str) and name not in NOT_DRAWN


@cache
def _known(method: str | None) -> Mapping[str, Mapping[str, Any]]:
    properties: Mapping[str, Mapping[str, Any]] = recipe_schema(method)["properties"]
    return properties


@cache
def _homes(method: str | None) -> dict[str, list[str]]:
    """Return the paths of each short name, without names of other tools."""
    homes: dict[str, list[str]] = {}
    for section in SECTIONS:
        for key in _known(method)[section].get("properties", ()):
            homes.setdefault(key, []).append(f"{section}.{key}")
    # `training.save_steps` is `checkpoint.save_steps` under another name.
    for key in ("save_steps", "save_total_limit"):
        homes[key] = [f"checkpoint.{key}"]
    return homes


@cache
def _other_names(method: str | None) -> dict[str, str]:
    """Return the paths of names in other tools, and former ones, that mean one setting and nothing else."""
    others: dict[str, str] = {}
    for section in ("training", "model", "adapter"):
        properties = _known(method)[section].get("properties", {})
        for name, remedy in FORMER[section].items():
            match = _PLAIN_RENAME.fullmatch(remedy)
            if match and match[1] in properties and name not in _GENERIC and name not in _AMBIGUOUS:
                others.setdefault(name, f"{section}.{match[1]}")
    for name, key in LORA.items():
        others[name] = f"adapter.{key}"
    return others | {"warmup_ratio": "training.warmup_steps", "rank": "adapter.r", "alpha": "adapter.lora_alpha"}


def _short(name: str, method: str | None) -> Name | str:
    homes = _homes(method).get(name, [])
    if name in LORA:  # the schema of `model:` may have TRL's names as well
        return Name(f"adapter.{LORA[name]}")
    if len(homes) == 1:
        return Name(homes[0])
    if homes:
        return f"write {' or '.join(f'`{home}`' for home in homes)}: there are both"
    if name in _AMBIGUOUS and name not in _other_names(method):
        return _AMBIGUOUS[name]
    if name in _other_names(method):
        path = _other_names(method)[name]
        said = f"`{name}` is read as `{path}`"
        return Name(path, f"{said}, where a number below 1 is a share of all steps" if name == "warmup_ratio" else said)
    elsewhere = [other for other, training in methods().items() if name in training["properties"]]
    if elsewhere:
        return f"it is a setting of {' and '.join(elsewhere)}, not of {method}"
    if meant := closest(name, [*_homes(method), *_other_names(method)], likeness=0.75):
        meant = (_homes(method).get(meant) or [_other_names(method)[meant]])[0]
        return f"did you mean `{meant}`?"
    return remedy_for_unknown(("training", name), _known(method)["training"]["properties"], recipe_schema(method))


def _in_section(section: str, rest: str, method: str | None) -> Name | str:
    path = f"{section}.{rest}"
    properties = _known(method)[section].get("properties", {})
    step, _, beyond = rest.partition(".")
    if section == "data" or not properties or step in properties:
        return Name(path)
    if section == "adapter" and step in LORA and not beyond:
        return Name(f"adapter.{LORA[step]}")
    if section == "training" and rest == "warmup_ratio":
        return Name("training.warmup_steps", _warmup_note(path))
    elsewhere = [other for other, training in methods().items() if step in training["properties"]]
    if section == "training" and elsewhere:
        return f"it is a setting of {' and '.join(elsewhere)}, not of {method}"
    return remedy_for_unknown((section, step), properties, recipe_schema(method))


def _warmup_note(name: str) -> str:
    return f"`{name}` is read as `training.warmup_steps`, where a number below 1 is a share of all steps"


def _no_section(first: str, rest: str, method: str | None) -> str:
    if meant := closest(first, SECTIONS):
        return f"did you mean `{meant}.{rest}`?"
    inner = resolve_name(rest, method)
    if isinstance(inner, Name):
        return f"write `{inner.path}`"
    return f"a recipe has {', '.join(SECTIONS)}"


def unknown_name(at: RecipePath, name: str, remedy: str) -> Problem:
    """Return the problem with a name that means no setting."""
    if remedy.startswith(("it is a setting of", "leave it out: machines", "leave it out: each")):
        what, _, instead = remedy.partition(": ")
        return Problem(at, f"`{name}` cannot be drawn: {instead or what}", what if instead else "leave it out")
    return Problem(at, f"no setting of the recipe is `{name}`", remedy)


def flat_settings(value: Mapping[str, Json], prefix: str, method: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """Return the setting that each key of a mapping means, by its place in the mapping; and what to write for others.

    Args:
        value: ``{r: 8, lora_alpha: 16}``.
        prefix: the section that it is merged into; empty: its keys are whole names.
    """
    paths: dict[str, str] = {}
    wrong: dict[str, str] = {}
    for key, item in value.items():
        stage, _, section = prefix.rpartition(".")
        found = resolve_name(key, method, section=section)
        if isinstance(found, str):
            wrong[key] = found
            continue
        path = f"{stage}.{found.path}" if stage else found.path
        if is_section(path) and isinstance(item, dict):
            inner, more = flat_settings(item, path, method)
            paths |= {f"{key}/{below}": target for below, target in inner.items()}
            wrong |= more
        else:
            paths[key] = path
    return paths, wrong
