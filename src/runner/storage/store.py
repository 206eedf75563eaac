"""The protocol that every store speaks, and how a URL becomes one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


class NotFound(Exception):
    """No object has this key."""


class StoreUnavailable(Exception):
    """The store refused or did not answer, after the client's own short retries; the same call may go through later."""


@dataclass(frozen=True)
class ObjectInfo:
    """One entry of a listing."""

    key: str
    """The whole key, from the store's root."""
    size: int
    """Bytes."""
    last_modified: datetime
    """By the store's clock, with a time zone."""


class Store(Protocol):
    """Bytes by key. Every call may raise `StoreUnavailable`; a missing key raises `NotFound` where it is read."""

    url: str
    """The URL that opens this store again; no credentials in it."""

    def get(self, key: str) -> bytes:
        """The whole object."""

    def put(self, key: str, data: bytes) -> None:
        """Write the object, replacing what was there. For hints (the heartbeat) only."""

    def create(self, key: str, data: bytes) -> bool:
        """Write the object unless the key exists. False if it exists.

        Atomic where the store honours conditional writes; elsewhere a look before the write, so callers that need
        certainty read back what they wrote.
        """

    def upload(self, key: str, path: Path) -> None:
        """Write a file's bytes."""

    def download(self, key: str, path: Path) -> None:
        """Write the object's bytes to `path`, whole or not at all."""

    def objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key begins with `prefix` (which ends with a slash), in the order of keys."""

    def folders(self, prefix: str) -> list[str]:
        """The names directly below `prefix` that hold objects, sorted, without slashes."""

    def delete(self, keys: Iterable[str]) -> None:
        """Delete the objects; a missing one is no error."""
