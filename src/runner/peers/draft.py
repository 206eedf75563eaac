"""A recipe in the making: what has been taken from a config, and what became of each of its keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Mark: TypeAlias = Literal["taken", "said otherwise", "left out", "added", "cannot be said"]
"""What became of a key. `left out`: it changes speed, logging or places only. `added`: a default of the tool that is
not the recipe's, written out."""


@dataclass(frozen=True)
class Remark:
    """What became of a key of a config."""

    key: str
    """Its dotted name in the config; empty: what was added."""
    mark: Mark
    """What became of it."""
    text: str = ""
    """Why, or what is said instead, as a sentence without a full stop."""
    path: str | None = None
    """Where it is in the recipe, dotted."""


@dataclass
class Draft:
    """A recipe in the making."""

    method: str = "sft"
    """The recipe's method."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """The sections so far."""
    remarks: list[Remark] = field(default_factory=list)
    """What became of each key so far, in order."""

    files: dict[str, str] = field(default_factory=dict)
    """Files that belong beside the recipe, by name."""

    @property
    def impossible(self) -> list[Remark]:
        """What a recipe cannot say."""
        return [remark for remark in self.remarks if remark.mark == "cannot be said"]

    def put(self, path: str, value: Any, *, key: str, why: str = "") -> None:
        """Write a value at a dotted path, which the key of the config means."""
        self._write(path, value)
        self.remarks.append(Remark(key, "taken" if not why and path.endswith(key) else "said otherwise", why, path))

    def put_file(self, path: str, name: str, content: str, *, key: str) -> None:
        """Write a file's name at a dotted path, and the file beside the recipe."""
        self.files[name] = content
        self.put(path, name, key=key, why="a file of its own")

    def add(self, path: str, value: Any, why: str) -> None:
        """Write out what the tool takes without being told, unless the config says it."""
        if self.find(path) is None:
            self._write(path, value)
            self.remarks.append(Remark("", "added", why, path))

    def leave(self, key: str, why: str) -> None:
        """Leave out a key that changes nothing of the result."""
        self.remarks.append(Remark(key, "left out", why))

    def refuse(self, key: str, why: str) -> None:
        """A recipe cannot say a key."""
        self.remarks.append(Remark(key, "cannot be said", why))

    def find(self, path: str) -> Any:
        """The value at a dotted path; None if there is none."""
        found: Any = self.recipe
        for part in path.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return None
            found = found[part]
        return found

    def _write(self, path: str, value: Any) -> None:
        *sections, last = path.split(".")
        inside = self.recipe
        for section in sections:
            inside = inside.setdefault(section, {})
        inside[last] = value


class Config:
    """A config of another tool, by dotted keys; it knows which of them were read.

    Args:
        content: the mapping as the tool reads it.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content
        self.leaves = dict(_leaves(content))
        """Values by dotted key. Lists are values; empty mappings and null are values too."""
        self._read: set[str] = set()

    def take(self, key: str, default: Any = None) -> Any:
        """Return a key's value (a mapping too), and count all below it as read; `default` for absent and null."""
        found: Any = self.content
        for part in key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        self._read.add(key)
        return default if found is None else found

    def has(self, key: str) -> bool:
        """Whether a key is there and not null."""
        return (key in self.leaves and self.leaves[key] is not None) or any(
            one.startswith(f"{key}.") for one in self.leaves
        )

    @property
    def unread(self) -> list[str]:
        """The dotted keys that nobody has read, in the config's order."""
        return [key for key in self.leaves if not any(key == one or key.startswith(f"{one}.") for one in self._read)]


def _leaves(content: Mapping[str, Any], before: str = "") -> Any:
    for key, value in content.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value
