"""Logging of the training side: how its records read to people, and which of them the launching user sees.

Modules log with ``logging.getLogger(__name__)``. A program calls `set_up_logging` once; nothing happens before that.
Only `LOGGER` and the loggers below it are touched, so libraries log as they would without us.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from runner.runs.chunks import ChunkWriter

LOGGER = "runner.train"
"""The logger above all loggers of the training side. (A program's own `__name__` is ``__main__``: not below it.)"""

NOTICE = {"notice": True}
"""Pass as `extra` with a message below WARNING that the launching user should see too."""


def as_it_is(text: str) -> str:
    """Return a text unchanged: what is done to one where nothing has to be hidden."""
    return text


class AttemptLog:
    """An attempt's log in the store: each line after the time at which it came, in UTC, and without secrets.

    Args:
        chunks: writes it to the store.
        redact: hides secrets in a text.
        now: returns the time.
    """

    def __init__(
        self, chunks: ChunkWriter, *, redact: Callable[[str], str] = as_it_is, now: Callable[[], datetime] | None = None
    ) -> None:
        self._chunks = chunks
        self._redact = redact
        self._now = now or (lambda: datetime.now(UTC))

    def write(self, text: str) -> None:
        """Add one or several lines; the last line break may be left out. Any thread may."""
        stamp = f"{self._now():%Y-%m-%dT%H:%M:%SZ} "
        lines = self._redact(text).removesuffix("\n").split("\n")
        self._chunks.append("".join(f"{stamp}{line}\n" for line in lines))


class PeopleFormatter(logging.Formatter):
    """The message alone, after ``warning: `` or ``error: `` if it is one.

    Args:
        redact: hides secrets in a text.
    """

    def __init__(self, redact: Callable[[str], str] = as_it_is) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record, without the end of the line."""
        text = self._redact(super().format(record))
        if record.levelno >= logging.ERROR:
            return f"error: {text}"
        return f"warning: {text}" if record.levelno >= logging.WARNING else text


class StreamsHandler(logging.Handler):
    """Prints errors on standard error, and the rest on standard output.

    The streams are those of the moment: in all training processes but the first, standard output is replaced, so that
    only errors are printed by each. A reader that has gone is not an error.

    Args:
        only_stderr: print everything on standard error, for programs whose output is their answer.
        redact: hides secrets in a text.
    """

    def __init__(self, *, only_stderr: bool = False, redact: Callable[[str], str] = as_it_is) -> None:
        super().__init__()
        self.setFormatter(PeopleFormatter(redact))
        self._only_stderr = only_stderr

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        stream = sys.stderr if self._only_stderr or record.levelno >= logging.ERROR else sys.stdout
        try:
            stream.write(self.format(record) + "\n")
            stream.flush()
        except OSError:
            return
        except Exception:  # noqa: BLE001 (as every handler: a message that cannot be formatted ends no training)
            self.handleError(record)


class CallingHandler(logging.Handler):
    """Calls a function with the level and the text of each record.

    Args:
        call: takes the level (``logging.WARNING``…) and the text without a level's prefix. Must not raise.
        only_notices: leave out what the launching user need not see: records below WARNING that are not marked with
            `NOTICE`, and errors, because the user sees why an attempt ended anyway.
    """

    def __init__(self, call: Callable[[int, str], None], *, only_notices: bool = False) -> None:
        super().__init__()
        self._call = call
        self._only_notices = only_notices

    def emit(self, record: logging.LogRecord) -> None:
        """Call the function with one record."""
        notice = logging.WARNING <= record.levelno < logging.ERROR or getattr(record, "notice", False)
        if notice or not self._only_notices:
            try:
                self._call(record.levelno, self.format(record))
            except Exception:  # noqa: BLE001 (as above)
                self.handleError(record)


def set_up_logging(*, only_stderr: bool = False, redact: Callable[[str], str] = as_it_is) -> None:
    """Print what the training side logs, from INFO on, as people read it. May be called again.

    Args:
        only_stderr: print everything on standard error, for programs whose output is their answer.
        redact: hides secrets in a text.
    """
    logger = logging.getLogger(LOGGER)
    for handler in [handler for handler in logger.handlers if isinstance(handler, StreamsHandler)]:
        logger.removeHandler(handler)
    logger.addHandler(StreamsHandler(only_stderr=only_stderr, redact=redact))
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a library that sets up the root logger must not print each line once more


@contextmanager
def logged_to(handler: logging.Handler) -> Iterator[None]:
    """Within, records of the training side go to `handler` too."""
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
