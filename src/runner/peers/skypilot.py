"""SkyPilot's tasks that start another tool's training: the config or command line in `run`, and the machines."""

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.errors import UserError
from runner.peers.draft import Draft
from runner.recipe.loading.other_tools import Peer

_SECRET = re.compile(r"(?i)token|secret|passw|api_?key|credential")
_RESOURCES = (
    "accelerators", "infra", "cloud", "region", "zone", "use_spot", "cpus", "memory", "disk_size", "disk_tier",
    "network_tier", "any_of", "ordered", "job_recovery", "instance_type", "autostop", "labels", "max_hourly_cost",
)  # fmt: skip
_LEFT_OUT = {
    "name": "the recipe is named after the file",
    "setup": "runner sets its machines up",
    "workdir": "runner takes along what the recipe names",
    "file_mounts": "checkpoints go to the store; see that `data:` names what the training reads",
    "volumes": "checkpoints go to the store; see that `data:` names what the training reads",
    "config": "it is for SkyPilot's own settings: write it under `sky:` by hand",
    "experimental": "it is for SkyPilot's own settings: write it under `sky:` by hand",
}
_TRAINERS: tuple[tuple[Peer, str], ...] = (
    ("axolotl", r"axolotl\.cli\.train|axolotl train"),
    ("llamafactory", r"llamafactory-cli train|llamafactory/train|src/train\.py"),
    ("oumi", r"oumi train|oumi\.train|oumi distributed"),
    ("torchtune", r"tune run"),
)
_TRL = re.compile(r"(?:^|\s)trl (?:sft|dpo|grpo|kto|reward|rloo)\b|(?:^|[\s/])(?:sft|dpo|grpo)\.py\b")


@dataclass(frozen=True)
class Training:
    """The training that a task starts."""

    peer: Peer
    """Whose it is."""
    config: str | None
    """The file that it names."""
    words: Sequence[str]
    """The command."""


def is_task(content: Mapping[str, Any]) -> bool:
    """Whether a mapping is a SkyPilot task."""
    return isinstance(content.get("run"), str) and bool(content.keys() & {"resources", "setup", "num_nodes", "workdir"})


def training_of(content: Mapping[str, Any], *, name: str) -> Training:
    """Find the one training that a task starts.

    Raises:
        UserError: it starts none that is known, or several.
    """
    found = [training for words in _commands(content["run"]) if (training := _training(words)) is not None]
    if len(found) != 1:
        how = "starts no training of Axolotl, LLaMA-Factory, Oumi, torchtune or TRL" if not found else "starts several"
        raise UserError(f"the task {how}", where=f"{name}: run", remedy="give the config that its training reads")
    return found[0]


def add_machines(content: Mapping[str, Any], draft: Draft) -> None:
    """Take a task's machines and variables along; secrets stay out of the recipe."""
    for key, value in (content.get("resources") or {}).items():
        if key in _RESOURCES:
            draft.put(f"resources.{key}", value, key=f"resources.{key}")
        else:
            draft.leave(f"resources.{key}", "runner has an image of its own, and opens no ports")
    if content.get("num_nodes", 1) != 1:
        draft.leave("num_nodes", f"`runner launch --nodes {content['num_nodes']}` says it")
    for key, value in (content.get("envs") or {}).items():
        if _SECRET.search(str(key)) or value is None or value == "":
            draft.leave(f"envs.{key}", f"`runner launch --secret {key}` gives it, and no recipe has it")
        else:
            draft.put(f"sky.envs.{key}", str(value), key=f"envs.{key}")
    for key in content.get("secrets") or {}:
        draft.leave(f"secrets.{key}", f"`runner launch --secret {key}` gives it, and no recipe has it")
    for key in content.keys() - {"resources", "num_nodes", "envs", "secrets", "run"}:
        if key in _LEFT_OUT:
            draft.leave(key, _LEFT_OUT[key])
        else:
            draft.refuse(key, "runner knows nothing of this key of a task")


def _commands(run: str) -> Iterator[list[str]]:
    for line in re.sub(r"\\\n", " ", run).splitlines():
        for part in re.split(r"&&|;|\|\|", line):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:
                continue  # a line of a longer construction of the shell
            if words:
                yield words


def _training(words: Sequence[str]) -> Training | None:
    line = " ".join(words)
    for peer, pattern in _TRAINERS:
        if re.search(pattern, line):
            configs = [word for word in words if re.search(r"\.(ya?ml|json)$", word) and "$" not in word]
            named = [after for word, after in itertools.pairwise(words) if word in ("--config", "-c")]
            return Training(peer, next(iter([*named, *configs[-1:]]), None), words)
    return Training("trl", None, words) if _TRL.search(line) else None
