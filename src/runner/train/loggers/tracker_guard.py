"""Trackers that fail or are away: they are left out with a warning, and the training goes on.

The run's own metrics are complete without them, and a tracker's server must not be able to end a training or to make
it wait for minutes.
"""

import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from runner.train.agent.log import NOTICE

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
"""How long a tracker's server may take to answer before the training goes on without it."""
_MOST_CHARACTERS = 200

_HOOKS = tuple(name for name in vars(TrainerCallback) if name.startswith("on_"))


def answers(url: str, *, seconds: float = ANSWER_SECONDS) -> str | None:
    """Ask a server for its front page; return why it does not answer, or None if it does.

    Any answer but a server's error counts. Proxies of the environment are used.

    Args:
        url: the server's.
        seconds: how long to wait at most, name resolution included.
    """
    reasons: list[str | None] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=seconds):
                reasons.append(None)
        except urllib.error.HTTPError as error:
            reasons.append(f"{url} answers with status {error.code}" if error.code >= 500 else None)
        except (OSError, ValueError) as error:
            reasons.append(f"{url}: {getattr(error, 'reason', None) or error}")

    thread = threading.Thread(target=ask, name="tracker", daemon=True)
    thread.start()
    thread.join(seconds)  # a name server that is away takes longer than any socket's timeout
    return reasons[0] if reasons else f"{url} does not answer within {seconds:.0f} s"


def guarded(
    cls: type[TrainerCallback], name: str, *, second_try: Callable[[Any], bool] = lambda callback: False
) -> type[TrainerCallback]:
    """Return a subclass of a tracker's callback whose errors are warnings; after one it does nothing more.

    Args:
        cls: transformers' callback.
        name: the tracker's, as in `report_to`.
        second_try: called with the callback after its first error; whether the call that failed is to be made again.
    """

    def guard(hook: str) -> Callable[..., Any]:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if self.tracker_failed:
                return None
            inner: Callable[..., Any] = getattr(cls, hook)
            try:
                try:
                    return inner(self, *args, **kwargs)
                except Exception as error:
                    if self.tracker_tried_again or not second_try(self):
                        raise
                    self.tracker_tried_again = True
                    logger.warning(f"report_to: {name}: {_line(error)}; it goes on offline", extra=NOTICE)
                    return inner(self, *args, **kwargs)
            except Exception as error:  # noqa: BLE001
                self.tracker_failed = True
                logger.warning(
                    f"report_to: {name} failed ({_line(error)}): the training goes on without it; `runner metrics` has "
                    "all that it was to get",
                    extra=NOTICE,
                )
                return None

        return call

    members: dict[str, Any] = {hook: guard(hook) for hook in _HOOKS}
    return type(cls.__name__, (cls,), {**members, "tracker_failed": False, "tracker_tried_again": False})


def within(seconds: float, call: Callable[[], Any], what: str) -> None:
    """Make a call, but wait no longer than so many seconds; what goes wrong is a warning."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 (reported below)
            errors.append(error)

    thread = threading.Thread(target=run, name="tracker", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        logger.warning(f"report_to: {what} takes longer than {seconds:.0f} s; the run ends without it", extra=NOTICE)
    elif errors:
        logger.warning(f"report_to: {what} failed ({_line(errors[0])})", extra=NOTICE)


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    text = text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
    return f"{type(error).__name__}: {text}"
