"""Find out what a store does with conditional writes ("only if absent")."""

import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from runner.errors import UserError
from runner.storage.store import NotFound, Store, StoreFull, StoreUnavailable


@dataclass(frozen=True)
class ProbeResult:
    """What a probe has shown."""

    honours_conditional_writes: bool
    """False if the store overwrites an object that exists. Runs are safe there too: each attempt has its own keys, and
    readers follow the lineage."""


@runtime_checkable
class _ConditionalStore(Protocol):
    """A store that may ignore the condition, and whose `create` may look first."""

    conditional: bool | None

    def create_blindly(self, key: str, data: bytes) -> bool:
        """Write with "only if absent", without a look."""


def probe(store: Store) -> ProbeResult:
    """Write one small object twice, read it and delete it: four requests.

    An object store remembers the result, so that `create` need not look before it writes.

    "Honoured" does not mean atomic. OpenStack Swift refuses to overwrite an object that exists, but of several writes
    at the same moment all may win. Nothing is lost there by leaving out our own look: the server's own comes later, so
    fewer races get through, and those that do are settled by the lineage, as in a store that ignores the condition.

    Raises:
        UserError: the store refuses a request, is full, or does not return what was written.
        StoreUnavailable: the store did not answer.
    """
    key = f"probes/{secrets.token_hex(8)}"
    create = store.create_blindly if isinstance(store, _ConditionalStore) else store.create
    content: bytes | None = None
    try:
        if not create(key, b"1"):  # the key is new: the store refuses for a moment (409), which shows nothing
            raise StoreUnavailable(f"{store.url}: a write to {key} is under way")
        overwrote = create(key, b"2")
        with suppress(NotFound):
            content = store.get(key)
    except StoreFull as error:
        raise UserError(
            "there is no room left in the store", where=store.url, remedy="Make room, or name another with --store."
        ) from error
    finally:
        store.delete([key])
    if content not in (b"1", b"2"):
        raise UserError(
            "the store does not give back what was written to it",
            where=store.url,
            remedy="Look at its server, or name another with --store.",
        )
    honours = not overwrote and content == b"1"
    if isinstance(store, _ConditionalStore):
        store.conditional = honours
    return ProbeResult(honours)
