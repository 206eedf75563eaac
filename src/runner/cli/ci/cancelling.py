"""Wait for a run as a CI job does: if the job is cancelled, the run is."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from runner.cli.output import say
from runner.exit_codes import CTRL_C

if TYPE_CHECKING:
    from runner.storage.store import Store

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Told(BaseException):
    """A signal has told this process to end."""


@contextmanager
def cancelled_by_signals(store: "Store", run_id: str, *, active: bool = True) -> Iterator[None]:
    """Within, SIGINT and SIGTERM cancel the run, and end this process with 130.

    The request is in the store at once, for whatever runs the run to find; what else its backend does may take longer
    than a CI system waits (GitHub: ten seconds), and may be cut short.

    Args:
        store: where the run lives.
        run_id: the run.
        active: False: signals do what they did.
    """

    def end(number: int, frame: FrameType | None) -> NoReturn:
        for each in _SIGNALS:  # those that come next must not keep the request from the store
            signal.signal(each, signal.SIG_IGN)
        raise _Told

    before = {number: signal.signal(number, end) for number in _SIGNALS} if active else {}
    try:
        yield
    except _Told:
        from runner.control.cancel import cancel_run
        from runner.errors import UserError

        say(f"cancelling {run_id}")
        try:
            status = cancel_run(store, run_id, say=say)
            say(f"{run_id} is {status.state}")
        except UserError as error:  # it has ended meanwhile
            say(str(error))
        raise click.exceptions.Exit(CTRL_C) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
