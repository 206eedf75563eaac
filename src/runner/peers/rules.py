"""What a table says of a key: a path, a sentence, or that it is not needed; and the walk over a config by its table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from runner.peers.draft import Config, Draft
from runner.recipe.schema import recipe_schema


@dataclass(frozen=True)
class To:
    """The key is a setting of the recipe."""

    path: str
    value: Callable[[Any], Any] | Mapping[Any, Any] | None = None
    """What its value becomes; None: as it is. A mapping has all values that can be said."""
    why: str = ""


@dataclass(frozen=True)
class Leave:
    """The key changes nothing of the result."""

    why: str = "it changes speed, logging or places only"


@dataclass(frozen=True)
class Refuse:
    """A recipe cannot say the key, unless it has one of the values that mean nothing (false, null, 0, empty and those
    that are named)."""

    why: str
    harmless: tuple[Any, ...] = ()


Rule: TypeAlias = To | Leave | Refuse
Table: TypeAlias = Mapping[str, Rule]
"""Rules by dotted key; a name that ends in ``*`` is for all that begin so and have no rule of their own."""


def apply(table: Table, config: Config, draft: Draft, *, own_names: str | None = None) -> None:
    """Apply a table to all keys that nobody has read yet. A key in no table cannot be said.

    Args:
        table: the tool's.
        config: what is converted.
        draft: what becomes of it.
        own_names: the section of the config whose other keys are the names of transformers and TRL, with a dot at its
            end (empty: its top); they are settings of `training` where the method has them. None: there is none.
    """
    settings = recipe_schema(draft.method)["properties"]["training"]["properties"]
    for key in config.unread:
        value = config.leaves[key]
        rule = _rule(table, key)
        if rule is None and own_names is not None and key.startswith(own_names):
            rule = _own_rule(key.removeprefix(own_names), settings)
        _apply(rule, key, value, draft)


def _rule(table: Table, key: str) -> Rule | None:
    if key in table:
        return table[key]
    patterns = [name for name in table if name.endswith("*") and key.startswith(name.removesuffix("*"))]
    return table[max(patterns, key=len)] if patterns else None


def _own_rule(name: str, settings: Mapping[str, Any]) -> Rule | None:
    return To(f"training.{name}") if name.split(".")[0] in settings else None


def _apply(rule: Rule | None, key: str, value: Any, draft: Draft) -> None:
    if value is None:
        draft.leave(key, "it says nothing")
    elif rule is None:
        draft.refuse(key, "runner knows nothing of this key")
    elif isinstance(rule, Leave):
        draft.leave(key, rule.why)
    elif isinstance(rule, Refuse):
        if not value or value in rule.harmless:
            draft.leave(key, "it says what is so anyway")
        else:
            draft.refuse(key, rule.why)
    elif isinstance(rule.value, Mapping):
        if value in rule.value:
            draft.put(rule.path, rule.value[value], key=key, why=rule.why)
        else:
            known = ", ".join(str(one) for one in rule.value)
            draft.refuse(key, f"{value!r} is none of what `{rule.path}` can be: {known}")
    else:
        draft.put(rule.path, value if rule.value is None else rule.value(value), key=key, why=rule.why)
