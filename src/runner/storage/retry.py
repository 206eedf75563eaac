"""Go on while the store is away: call again, ever more patiently, until somebody says that it is enough."""

import random
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from runner.errors import UserError
from runner.storage.store import StoreUnavailable

_GLANCE_SECONDS = 0.2

R = TypeVar("R")


class Caller(Protocol):
    """How to make a call that may meet `StoreUnavailable`: directly, or through `retrying`."""

    def __call__(self, call: Callable[[], R], /) -> R:
        """The call's result."""


STORE_ERRORS = (StoreUnavailable, UserError, OSError)
"""What a store may raise on a write: away, not permitted (credentials that ran out, say), full."""


def directly(call: Callable[[], R], /) -> R:
    """Call once."""
    return call()


def after(seconds: float) -> Callable[[], bool]:
    """For `until`: whether this many seconds have passed since now."""
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() >= deadline


def retrying(
    call: Callable[[], R],
    /,
    *,
    until: Callable[[], bool],
    on_retry: Callable[[StoreUnavailable, float], None] | None = None,
    first_seconds: float = 0.5,
    longest_seconds: float = 30.0,
) -> R:
    """Call again on `StoreUnavailable`, after pauses that double and vary; everything else is raised at once.

    Args:
        call: may be made more than once.
        until: asked before each pause and five times a second in it; once it is true, the last failure is raised.
        on_retry: told of each failure, and of the pause in seconds that follows it.
        first_seconds: the first pause.
        longest_seconds: no pause is longer.

    Raises:
        StoreUnavailable: the last one, when `until` has become true.
    """
    pause = first_seconds
    while True:
        try:
            return call()
        except StoreUnavailable as error:
            if until():
                raise
            seconds = pause * random.uniform(0.5, 1.0)  # so that many runs do not come back at the same moment
            if on_retry is not None:
                on_retry(error, seconds)
            if not _waited(seconds, until):
                raise
            pause = min(pause * 2, longest_seconds)


def _waited(seconds: float, until: Callable[[], bool]) -> bool:
    wake = time.monotonic() + seconds
    while (left := wake - time.monotonic()) > 0:
        time.sleep(min(left, _GLANCE_SECONDS))
        if until():
            return False
    return True


def retry_store_call(
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
