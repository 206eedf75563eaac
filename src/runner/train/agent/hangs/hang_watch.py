"""What an attempt does about a hang: look for one, warn of it early, and decide what follows when it is one."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.recipe.recipe import Watchdog as WatchdogSettings
from runner.runs.attempts import Attempt
from runner.runs.layout import CheckpointName
from runner.train.agent.hangs.activity import ActivityMeter
from runner.train.agent.hangs.watchdog import Hang, Watchdog
from runner.train.agent.outcome import Outcome
from runner.train.agent.restart_policy import MOST_HANGS, hangs_in_a_row

_log = logging.getLogger(__name__)


class HangWatch:
    """Watches whether the training of one attempt gets further.

    Args:
        settings: the recipe's `watchdog`.
        pids: returns the training processes of this machine.
        activity_seconds: the longest pause between two looks at what they use.
        on_stall: called with a sentence when half of the time has passed in which there may be no progress.
    """

    def __init__(
        self,
        settings: WatchdogSettings,
        pids: Callable[[], Sequence[int]],
        *,
        activity_seconds: float,
        on_stall: Callable[[str], None] = lambda warning: None,
    ) -> None:
        self._watchdog = Watchdog(settings)
        every_seconds = min(activity_seconds, (settings.timeout_seconds or activity_seconds) / 4)
        self._activity = ActivityMeter(pids, every_seconds=every_seconds)
        self._on_stall = on_stall
        self._warned = False
        self._fruitless = 0
        """How many attempts right before this one hung, and got no further than where it begins."""

    def begin(self, earlier: Sequence[Attempt], restored: CheckpointName | None) -> None:
        """Take in where the attempt begins, and how those before it ended."""
        self._fruitless = hangs_in_a_row(earlier, restored)
        if restored is not None:
            self.note({"step": restored.step})

    def note(self, progress: Mapping[str, Any]) -> None:
        """Take in what the first training process reports. Any thread may."""
        self._watchdog.note(progress, now=time.monotonic())

    def look(self, *, others_busy: bool) -> Hang | None:
        """Find out whether training hangs now.

        Args:
            others_busy: whether a processor of another machine is at work.
        """
        activity = self._activity.look()
        return self._watchdog.look(
            now=time.monotonic(),
            read_bytes=activity.many_bytes,
            busy=activity.busy or others_busy,
            stopped=activity.stopped,
        )

    def warn(self) -> None:
        """Warn once, when training may hang soon; and once more, if it went on meanwhile."""
        warning = self._watchdog.warning()
        if warning is not None and not self._warned:
            _log.warning("%s", warning)
            self._on_stall(warning)
        self._warned = warning is not None

    def heartbeat_fields(self) -> dict[str, Any]:
        """What a heartbeat says of progress."""
        return {"idle_seconds": round(self._watchdog.idle_seconds, 1), "hang_seconds": self._watchdog.limit_seconds}

    def what_follows(self, outcome: Outcome, *, committed: bool, can_go_on: bool) -> tuple[Outcome, bool]:
        """Return what follows from a hang, and whether this same agent tries again.

        It does at first, since that costs no machine. The second time in a row whoever starts attempts does, on another
        machine if it has one. The third time, the run has failed.

        Args:
            outcome: that of the attempt that hung.
            committed: whether it has committed a checkpoint.
            can_go_on: whether this agent may make another attempt.
        """
        if committed:
            return outcome, can_go_on
        hangs = self._fruitless + 1
        if hangs >= MOST_HANGS:
            reason = f"{outcome.reason}; so it was {hangs} times in a row, without a newer checkpoint"
            return Outcome(kind="failed", reason=reason, retry=False), False
        return outcome, hangs == 1 and can_go_on
