"""Which of a conversation's answers the loss is on, by `training`."""

from collections.abc import Mapping
from typing import Any

CHOICES = ("all", "last", "marked")
"""Values of `training.train_on_turns`."""


def answers_only(training: Mapping[str, Any]) -> bool:
    """Whether the loss is on the assistant's turns alone: on all of them, the last, or those that are marked."""
    return bool(training.get("assistant_only_loss")) or training.get("train_on_turns") is not None


def turns_to_learn(training: Mapping[str, Any]) -> str:
    """Return which of the assistant's turns are learned: one of `CHOICES`."""
    return str(training.get("train_on_turns") or "all")
