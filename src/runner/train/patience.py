"""Calls to a store in the middle of a run: whatever it refuses, nothing that was trained is thrown away for it."""

from collections.abc import Callable
from typing import TypeVar

from runner.errors import UserError
from runner.storage.retry import retrying
from runner.storage.store import StoreUnavailable

R = TypeVar("R")

STORE_TROUBLE = (StoreUnavailable, UserError, OSError)
"""What a store may raise on a write: away, not permitted (credentials that ran out, say), full."""
STORE_PATIENCE_SECONDS = 300.0
"""How long the beginning and the end of an attempt wait for a store that is away."""


def patiently(
    call: Callable[[], R],
    *,
    until: Callable[[], bool],
    on_retry: Callable[[StoreUnavailable, float], None] | None = None,
) -> R:
    """`retrying`, also when the store refuses us: it let us in when the run began, so it may again.

    Raises:
        StoreUnavailable: `until` came true first.
    """

    def once() -> R:
        try:
            return call()
        except UserError as error:
            raise StoreUnavailable(str(error)) from error

    return retrying(once, until=until, on_retry=on_retry)
