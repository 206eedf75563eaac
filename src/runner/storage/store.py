"""The protocol that every store speaks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from runner.storage.manifest import Damaged, is_relative_name

MOST_BYTES = 64 << 20
"""The largest object that `Store.get` returns. Records, chunks and manifests are far smaller; files are downloaded."""


class NotFound(Exception):
    """No object has this key."""


class StoreUnavailable(Exception):
    """The store failed or did not answer, after the client's own short retries. The same call may succeed later."""


class StoreFull(OSError):
    """The store is full. Trying again does not help until the user makes room.

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

    Every call may raise `StoreUnavailable`, and `runner.errors.UserError` if the store refuses the request (no
    permission, no such bucket). Reading a missing key raises `NotFound`; writes may raise `StoreFull`. A key that is
    not a relative name (``..``, empty parts) is a bug in runner and raises `ValueError`.
    """

    url: str
    """The URL that opens this store again, without credentials."""

    def get(self, key: str) -> bytes:
        """Return the object's bytes.

        Raises:
            Damaged: it is larger than `MOST_BYTES`, or no file.
        """

    def put(self, key: str, data: bytes) -> None:
        """Write the object and replace an existing one. For hints (the heartbeat) only."""

    def create(self, key: str, data: bytes) -> bool:
        """Write the object unless the key exists. False if it exists.

        Atomic if the store honours conditional writes. Elsewhere it looks for the key and then writes, so callers that
        need certainty read back what they wrote.
        """

    def upload(self, key: str, path: Path, *, move: bool = False) -> None:
        """Write a file's bytes and replace an existing object.

        With `move` the caller promises not to write to the file again, so that a store on the same file system may link
        it instead of copying it. The file may still exist at `path` afterwards.
        """

    def download(self, key: str, path: Path) -> None:
        """Write the object's bytes to `path`, completely or not at all. Creates the folders above it."""

    def download_rest(self, key: str, path: Path, size: int) -> None:
        """Append to `path`, which may hold the beginning of the object, what it lacks of the object's `size` bytes.

        What has arrived stays if it breaks off. Nothing is compared: whoever calls does that.
        """

    def objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """Return every object whose key begins with `prefix` (which ends with a slash), sorted by key."""

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders directly below `prefix` that hold objects, sorted, without slashes.

        A local store may also return an empty folder: one whose first write did not finish.
        """

    def delete(self, keys: Iterable[str]) -> None:
        """Delete the objects. A missing one is not an error."""


def check_size(key: str, size: int) -> None:
    """Refuse to read an object into memory that is larger than anything that is read so.

    Raises:
        Damaged: it is.
    """
    if size > MOST_BYTES:
        raise Damaged(key, f"it has {size:,} bytes, and {MOST_BYTES:,} at most are read")


def check_key(key: str) -> str:
    """Return `key` if it stays below the store's root.

    Raises:
        ValueError: if it does not.
    """
    if not is_relative_name(key):
        raise ValueError(f"not a key: {key!r}")
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix` if it is empty (the root) or the key of a folder, with a slash at its end.

    Raises:
        ValueError: if it is neither.
    """
    if prefix and not (prefix.endswith("/") and is_relative_name(prefix[:-1])):
        raise ValueError(f"not a prefix: {prefix!r}")
    return prefix


def create_ours(store: Store, key: str, data: bytes) -> bool:
    """Create an object and return True if it now exists with these bytes, from this call or an earlier one.

    The answer to a write can get lost after the write succeeded, so a second try may find the caller's own object. If
    equal bytes from another writer must not count, `data` has to contain something unique (the attempt's token).
    """
    if store.create(key, data):
        return True
    try:
        return store.get(key) == data
    except (NotFound, Damaged):
        return False
