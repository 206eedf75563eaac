"""What a value in a record must be besides its type: names that stay in their folder, times, counts."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeAlias

from runner.runs.layout import CheckpointName, is_run_id, is_token
from runner.storage.manifest import is_relative_name


@dataclass(frozen=True)
class Rule:
    """What a value must be besides its type."""

    holds: Callable[[Any], bool]
    """Whether it is."""
    words: str
    """What it is then, as in "is not …"."""


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def is_artifact_name(text: str) -> bool:
    """Whether an artifact can have this name: it is part of keys, and a folder of what is pulled."""
    return "/" not in text and is_relative_name(text)


def _is_checkpoint(text: str) -> bool:
    name = CheckpointName.parse(text)
    return name is not None and str(name) == text


def is_artifact_key(text: str) -> bool:
    """Whether an artifact of a run can have this key in the run: ``artifacts/<name>/<token>/``."""
    parts = text.split("/")
    return is_relative_name(text[:-1]) and len(parts) == 4 and parts[0] == "artifacts" and parts[3] == ""


def _is_input_key(text: str) -> bool:
    parts = text.split("/")
    return is_relative_name(text) and len(parts) == 3 and parts[0] == "inputs"


_STAGE = re.compile(r"[a-z0-9_]{1,100}")
_JOB_NAME = re.compile(r"[a-z][a-z0-9._-]{0,149}")
_NONCE = re.compile(r"[0-9a-z]{1,40}")

Line: TypeAlias = Annotated[str, Rule(str.isprintable, "text in one line")]
Count: TypeAlias = Annotated[int, Rule(lambda value: value >= 0, "a number from 0 on")]
Size: TypeAlias = Annotated[int, Rule(lambda value: value >= 1, "a number from 1 on")]
Time: TypeAlias = Annotated[str, Rule(_is_time, "a time with its zone (ISO 8601)")]
RunId: TypeAlias = Annotated[str, Rule(is_run_id, "a run's id")]
Token: TypeAlias = Annotated[str, Rule(is_token, "an attempt's token")]
Nonce: TypeAlias = Annotated[str, Rule(lambda text: _NONCE.fullmatch(text) is not None, "a nonce")]
StageName: TypeAlias = Annotated[str, Rule(lambda text: _STAGE.fullmatch(text) is not None, "a stage's name")]
JobName: TypeAlias = Annotated[str, Rule(lambda text: _JOB_NAME.fullmatch(text) is not None, "a job's name")]
Checkpoint: TypeAlias = Annotated[str, Rule(_is_checkpoint, "a checkpoint's name")]
ArtifactName: TypeAlias = Annotated[str, Rule(is_artifact_name, "an artifact's name")]
ArtifactKey: TypeAlias = Annotated[str, Rule(is_artifact_key, "an artifact's key")]
InputKey: TypeAlias = Annotated[str, Rule(_is_input_key, "an input's key")]
Split: TypeAlias = Annotated[list[Size], Rule(lambda value: len(value) == 2, "a micro-batch and an accumulation")]
