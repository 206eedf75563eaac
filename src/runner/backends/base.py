"""What an engine of this machine is: it starts attempts, one after the other, for the supervisor to watch."""

from collections.abc import Mapping
from typing import IO, Any, Protocol


class Attempt(Protocol):
    """An attempt that has been started here. It dies with this process, whatever this process dies of."""

    def wait(self, timeout_seconds: float) -> int | None:
        """Wait for its end; its exit code (negative: the signal that killed it), or None if time is up."""

    def stop(self) -> None:
        """Ask it to save and end, with SIGTERM."""

    def kill(self) -> None:
        """Kill it and whatever it has started."""

    def clear(self) -> None:
        """See to it that nothing of it is left."""

    def made(self, claim: Mapping[str, Any]) -> bool:
        """Whether a claim (``attempts/<n>.json``) was made by this attempt, and not by one elsewhere."""


class Backend(Protocol):
    """Where attempts run."""

    def command(self, store_url: str, run_id: str) -> list[str]:
        """The command of one attempt, for people: it is not tied to the life of any process."""

    def start(self, store_url: str, run_id: str, *, environment: Mapping[str, str], log: IO[bytes]) -> Attempt:
        """Start an attempt.

        Args:
            store_url: where the run lives.
            run_id: the run.
            environment: of the attempt, this process's own included.
            log: where what it prints goes.
        """
