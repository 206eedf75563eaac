"""Find and delete what takes room in a store and is no object."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from runner.storage.local import LocalStore
from runner.storage.object_store import RemoteStore
from runner.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """Bytes that no key names."""

    kind: Literal["upload", "version"]
    """``upload``: begun and never completed. ``version``: of an object that was overwritten or deleted since."""
    key: str
    """The key that it was to get, or had, from the store's root; for a folder, the file's own."""
    size: int
    """Bytes; 0 for the mark that a deletion has left."""
    written_at: datetime
    """When it was begun or written."""
    handle: str
    """The upload's or the version's id; empty for a folder."""


def find_leftovers(store: Store, prefix: str) -> list[Leftover]:
    """What is there below a folder of the store, sorted by key.

    Clouds other than S3, and servers that cannot list it, are taken to have none.

    Args:
        store: where to look.
        prefix: the folder's key, with a slash at its end.

    Raises:
        StoreUnavailable: the store did not answer.
    """
    if isinstance(store, LocalStore):
        from runner.storage.leftovers.local import unfinished

        return unfinished(store, prefix)
    if isinstance(store, RemoteStore) and store.lister is not None:
        from runner.storage.leftovers.s3 import uploads, versions

        return sorted(
            [*uploads(store.lister, prefix), *versions(store.lister, prefix)], key=lambda found: (found.key, found.kind)
        )
    return []


def delete_leftovers(store: Store, leftovers: Iterable[Leftover]) -> None:
    """Delete what `find_leftovers` has found. What is gone meanwhile is no error.

    Raises:
        StoreUnavailable: the store did not answer.
    """
    found: Sequence[Leftover] = list(leftovers)
    if isinstance(store, LocalStore):
        from runner.storage.leftovers.local import delete

        delete(store, found)
    elif isinstance(store, RemoteStore) and store.lister is not None and found:
        from runner.storage.leftovers.s3 import delete as delete_in_s3

        delete_in_s3(store.lister, found)
