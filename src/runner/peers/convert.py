"""Read a config of another tool and convert it to a recipe."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runner.errors import UserError
from runner.peers import axolotl, llamafactory, oumi, torchtune, trl
from runner.peers.draft import Config, Draft
from runner.peers.skypilot import add_machines
from runner.peers.values import numbers
from runner.recipe.loading.other_tools import PEERS, Peer, detect

_ORDER = (
    "name",
    "method",
    "model",
    "adapter",
    "data",
    "training",
    "checkpoint",
    "evaluate",
    "export",
    "resources",
    "sky",
)


@dataclass(frozen=True)
class Converted:
    """A config of another tool as a recipe."""

    peer: Peer
    """Whose it is."""
    draft: Draft
    """The recipe's content, and what became of each key."""


def read_config(text: str, *, name: str) -> dict[str, Any]:
    """Read a YAML or JSON config as those tools do: YAML 1.1, ``2e-5`` a number, ``${a.b}`` another place's value.

    Raises:
        UserError: it is no mapping, or no YAML.
    """
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        place = name if line is None else f"{name}:{line + 1}"
        raise UserError("the file is no YAML", where=place, remedy="give the config of another tool") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError("the file does not hold settings", where=name, remedy="give the config of another tool")
    resolved: dict[str, Any] = _resolved(numbers(content), content, name, depth=0)
    return resolved


def convert(
    content: Mapping[str, Any],
    *,
    peer: Peer | None,
    name: str,
    folder: Path,
    task: Mapping[str, Any] | None = None,
) -> Converted:
    """Convert a config's content.

    Args:
        content: as `read_config` and `parse_command` return it.
        peer: the tool; None: found by the keys.
        name: what the recipe is named after, such as the file's name.
        folder: where the file is.
        task: the SkyPilot task that trains with it.

    Raises:
        UserError: nobody's config is like that, or a file beside it is missing.
    """
    peer = peer or detect(content)
    if peer is None:
        known = ", ".join(PEERS.values())
        raise UserError(f"the config is none of {known}", where=name, remedy="name the tool: --from axolotl, …")
    config, draft = Config(content), Draft()
    draft.recipe["name"] = recipe_name(name)
    draft.recipe["method"] = "sft"
    if peer == "axolotl":
        axolotl.convert(config, draft)
    elif peer == "llamafactory":
        llamafactory.convert(config, draft, folder)
    elif peer == "oumi":
        oumi.convert(config, draft)
    elif peer == "torchtune":
        torchtune.convert(config, draft)
    else:
        trl.convert(config, draft)
    if task is not None:
        add_machines(task, draft)
    draft.recipe = {key: draft.recipe[key] for key in _ORDER if key in draft.recipe}
    return Converted(peer, draft)


def recipe_name(name: str) -> str:
    """A recipe's name from a file's."""
    stem = re.sub(r"(?i)\.(ya?ml|json)$", "", Path(name).name)
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:100] or "imported"


def _resolved(value: Any, whole: Mapping[str, Any], name: str, depth: int) -> Any:
    """OmegaConf's ``${a.b}`` replaced by what stands at a.b."""
    if isinstance(value, dict):
        return {key: _resolved(one, whole, name, depth) for key, one in value.items()}
    if isinstance(value, list):
        return [_resolved(one, whole, name, depth) for one in value]
    if not isinstance(value, str) or "${" not in value or depth > 20:
        return value

    def at(match: "re.Match[str]") -> str:
        return str(_at(match[1], whole, name))

    if re.fullmatch(r"\$\{[^{}:]+\}", value):
        return _resolved(_at(value[2:-1], whole, name), whole, name, depth + 1)
    replaced = re.sub(r"\$\{([^{}:]+)\}", at, value)
    return replaced if replaced == value else _resolved(replaced, whole, name, depth + 1)


def _at(path: str, whole: Mapping[str, Any], name: str) -> Any:
    found: Any = whole
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            raise UserError(f"${{{path}}} is nowhere in the config", where=name, remedy="write the value itself")
        found = found[part]
    return found
