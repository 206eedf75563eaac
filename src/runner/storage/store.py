"""The protocol that every store speaks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from runner.storage.manifest import is_relative_name


class NotFound(Exception):
    """No object has this key."""


class StoreUnavailable(Exception):
    """The store refused or did not answer, after the client's own short retries; the same call may go through later."""


class StoreFull(OSError):
    """No room left. Trying again does not help until somebody has made room.

    An `OSError` with ``errno.ENOSPC``, so that one handler sees a full store and a full work directory alike.
    """


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
    """Bytes by key.

    Every call may raise `StoreUnavailable`, and `runner.errors.UserError` if the store will not have us (no
    permission, no such bucket); a missing key raises `NotFound` where it is read; writes raise `StoreFull`. A key that
    is no relative name (``..``, empty parts) is a bug of ours and raises `ValueError`.
    """

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

    def upload(self, key: str, path: Path, *, move: bool = False) -> None:
        """Write a file's bytes, replacing what was there.

        With `move` the caller gives the file away: nobody writes to it again, so that a store on the same file system
        may link it instead of copying. It may still lie at `path` afterwards.
        """

    def download(self, key: str, path: Path) -> None:
        """Write the object's bytes to `path`, whole or not at all; folders above it are made."""

    def objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key begins with `prefix` (which ends with a slash), in the order of keys."""

    def folders(self, prefix: str) -> list[str]:
        """The names directly below `prefix` that hold objects, sorted, without slashes.

        A local store may also name a folder whose first write was cut short, and that holds nothing.
        """

    def delete(self, keys: Iterable[str]) -> None:
        """Delete the objects; a missing one is no error."""


def checked_key(key: str) -> str:
    """`key` itself, if it stays below the store's root.

    Raises:
        ValueError: it does not.
    """
    if not is_relative_name(key):
        raise ValueError(f"not a key: {key!r}")
    return key


def checked_prefix(prefix: str) -> str:
    """`prefix` itself, if it is empty (the root) or a folder's key with a slash at its end.

    Raises:
        ValueError: it is neither.
    """
    if prefix and not (prefix.endswith("/") and is_relative_name(prefix[:-1])):
        raise ValueError(f"not a prefix: {prefix!r}")
    return prefix


def create_ours(store: Store, key: str, data: bytes) -> bool:
    """Create an object that only we can have written; True if it stands there now, from this call or an earlier one.

    An answer can get lost after the write went through, so that trying again finds one's own object. `data` must
    hold something of the writer's own (its token) wherever another's equal bytes would not do.
    """
    if store.create(key, data):
        return True
    try:
        return store.get(key) == data
    except NotFound:
        return False
