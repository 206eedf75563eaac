"""The first contact with the store: before an attempt has claimed its number, nothing counts how often it was tried."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from runner.storage.retry import retrying
from runner.storage.store import StoreUnavailable
from runner.train.agent.hangs.watchdog import in_words
from runner.train.agent.timing import Timing

_log = logging.getLogger(__name__)

R = TypeVar("R")


class StoreNotReached(Exception):
    """This machine does not reach the store, and none that is started in its place would be counted."""


def reach_store(call: Callable[[], R], *, timing: Timing, counted_by_caller: bool) -> R:
    """Make the first request to the store, again and again while it does not answer.

    Args:
        call: makes the request.
        timing: for how long: `store`, or `reach` if this is the only try.
        counted_by_caller: whether whoever starts this program counts how often. SkyPilot does not: it starts another
            machine after each exit code 75, without end.

    Raises:
        StoreUnavailable: the store did not answer, and the caller may try again.
        StoreNotReached: the store did not answer, and nobody must try again by himself.
    """
    patience = timing.store if counted_by_caller else timing.reach
    began = time.monotonic()

    def say(error: StoreUnavailable, pause_seconds: float) -> None:
        left = patience - (time.monotonic() - began)
        _log.warning("the store does not answer (%s); it is tried for %s more", error, in_words(max(left, 0.0)))

    try:
        return retrying(call, until=lambda: time.monotonic() - began >= patience, on_retry=say)
    except StoreUnavailable as error:
        if counted_by_caller:
            raise
        raise StoreNotReached(
            f"this machine has not reached the store in {in_words(patience)}: {error}\n"
            "  Another machine would not either, so none is started (exit code 1). Check the store's URL, its endpoint "
            "(AWS_ENDPOINT_URL) and the network; then `runner resume` goes on."
        ) from error
