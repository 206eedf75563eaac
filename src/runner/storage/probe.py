"""Try a store out before a run is trusted to it."""

import secrets
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from runner.errors import UserError
from runner.storage.store import Store, StoreFull


@dataclass(frozen=True)
class Probe:
    """What a store turned out to be."""

    honours_conditional_writes: bool
    """Whether "only if absent" holds. Where it does not, safety rests on each attempt's own keys and the lineage."""


@runtime_checkable
class _Conditional(Protocol):
    """A store that may or may not honour conditional writes."""

    conditional: bool

    def create_blindly(self, key: str, data: bytes) -> bool:
        """Write with "only if absent", without a look."""


def probe(store: Store) -> Probe:
    """Write, read and delete one small object; afterwards the store itself knows whether it need not look first.

    Raises:
        UserError: the store does not let us, has no room, or does not give back what was written.
        StoreUnavailable: it did not answer.
    """
    key = f"probes/{secrets.token_hex(8)}"
    create = store.create_blindly if isinstance(store, _Conditional) else store.create
    try:
        create(key, b"1")
        try:
            written = store.get(key)
            honours = not create(key, b"2") and store.get(key) == b"1"
        finally:
            store.delete([key])
    except StoreFull as error:
        raise UserError(
            "there is no room left in the store", where=store.url, remedy="Make room, or name another with --store."
        ) from error
    if written != b"1":
        raise UserError(
            "the store does not give back what was written to it",
            where=store.url,
            remedy="Look at its server, or name another with --store.",
        )
    if isinstance(store, _Conditional):
        store.conditional = honours
    return Probe(honours)
