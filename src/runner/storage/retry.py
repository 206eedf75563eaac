"""Repeat a call while the store is unavailable, with growing pauses, until the caller says to stop."""

import random
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from runner.errors import UserError
from runner.storage.store import StoreUnavailable

_UNTIL_SECONDS = 0.2  # how often `until` is asked during a pause

STORE_ERRORS = (StoreUnavailable, UserError, OSError)
"""What a write to a store may raise: unavailable, not permitted (expired credentials, for example), full."""

R = TypeVar("R")


class Caller(Protocol):
    """How to make a call that may raise `StoreUnavailable`: `directly`, or through `retrying`."""

    def __call__(self, call: Callable[[], R], /) -> R:
        """Make the call and return its result."""


def directly(call: Callable[[], R], /) -> R:
    """Call once and return the result."""
    return call()


def after(seconds: float) -> Callable[[], bool]:
    """Return a function for `until` that becomes true when this many seconds have passed."""
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
        call: must be safe to repeat.
        until: asked before each pause and five times a second during it. Once it is true, the last failure is raised.
        on_retry: called with each failure and the pause in seconds that follows it.

    Raises:
        StoreUnavailable: the last failure, once `until` is true.
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
            if not _sleep(seconds, until):
                raise
            pause = min(pause * 2, longest_seconds)


def _sleep(seconds: float, until: Callable[[], bool]) -> bool:
    """Sleep for this long; stop early and return False once `until` is true."""
    wake = time.monotonic() + seconds
    while (left := wake - time.monotonic()) > 0:
        time.sleep(min(left, _UNTIL_SECONDS))
        if until():
            return False
    return True


def retry_store_call(
    call: Callable[[], R],
    *,
    until: Callable[[], bool],
    on_retry: Callable[[StoreUnavailable, float], None] | None = None,
) -> R:
    """Call like `retrying`, and also repeat if the store refuses the request: it was permitted when the run began.

    Raises:
        StoreUnavailable: the last failure, once `until` is true.
    """

    def once() -> R:
        try:
            return call()
        except UserError as error:
            raise StoreUnavailable(str(error)) from error

    return retrying(once, until=until, on_retry=on_retry)
