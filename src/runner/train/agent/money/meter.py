"""What a run costs while it trains, and the moment to save and leave before it costs more than its owner allows.

A thread of its own looks at the clock: neither a store that does not answer nor a long step keeps it from that.
"""

import threading
import time
from collections.abc import Callable

from runner.runs.measured.spending import cost_of, in_dollars
from runner.runs.record_types.money import PriceRecord
from runner.train.agent.outcome import Outcome

SAVING_SECONDS = 60.0
"""How long it takes to end the step and upload a checkpoint, at least; an attempt that is told to stop may take it."""

SAVING_SHARE = 0.1
"""The most of what may still be spent that is kept for that."""

_LOOK_SECONDS = 0.2


class Meter:
    """Counts what the run costs.

    Args:
        before: what its earlier attempts have cost, in US dollars; None: none of them had a price.
        price: what an hour of a machine costs; None: it has no price.
        machines: how many machines the attempt has.
        max_cost: the most that all attempts together may cost; None: any.
        clock: seconds since some moment.
    """

    def __init__(
        self,
        *,
        before: float | None,
        price: PriceRecord | None,
        machines: int = 1,
        max_cost: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._before = before
        self._price = price
        self._machines = machines
        self._clock = clock
        self._begun = clock()
        self._step: tuple[float, object] | None = None
        self._longest_step = 0.0
        self.max_cost = max_cost

    def set_limits(self, *, before: float | None, max_cost: float | None) -> None:
        """Say what earlier attempts have cost, and the most that all may cost."""
        self._before, self.max_cost = before, max_cost

    @property
    def dollars_per_hour(self) -> float | None:
        """What an hour of all machines costs."""
        return cost_of(3600.0, self._price, self._machines)

    def spent(self) -> float | None:
        """What all attempts have cost so far, in US dollars; None: nothing has a price."""
        own = cost_of(self._clock() - self._begun, self._price, self._machines)
        return self._before if own is None else (self._before or 0.0) + own

    @property
    def affordable_seconds(self) -> float | None:
        """How long the attempt may last in all; None: for ever, or nobody knows."""
        rate = self.dollars_per_hour
        if self.max_cost is None or not rate:
            return None
        return max(0.0, self.max_cost - (self._before or 0.0)) / rate * 3600

    @property
    def saving_seconds(self) -> float:
        """How much of that is kept for a checkpoint."""
        needed = max(SAVING_SECONDS, SAVING_SECONDS / 2 + 2 * self._longest_step)
        return min(needed, SAVING_SHARE * (self.affordable_seconds or 0.0))

    def note_step(self, step: object) -> None:
        """Learn how long a step takes."""
        now = self._clock()
        if self._step is not None and self._step[1] != step:
            self._longest_step = max(self._longest_step, now - self._step[0])
        if self._step is None or self._step[1] != step:
            self._step = now, step

    def refusal(self, run_id: str) -> str | None:
        """Say why the attempt must not begin; None if it may."""
        if self.max_cost is None:
            return None
        if self._price is None:
            return (
                "nothing is known of what this machine costs, so that --max-cost cannot be kept; "
                f"`runner resume {run_id} --hourly-cost DOLLARS` says it"
            )
        return self.reason(run_id) if self.affordable_seconds == 0 else None

    def reason(self, run_id: str) -> str:
        """Say why the attempt ends."""
        return (
            f"it has cost {in_dollars(self.spent() or 0.0)} of the {in_dollars(self.max_cost or 0.0)} that --max-cost "
            f"allows; `runner resume {run_id} --max-cost DOLLARS` goes on"
        )

    def seconds_to(self, *, saved: bool) -> float | None:
        """How long it is until the attempt has to save (or, if that is done, to end); None: for ever."""
        affordable = self.affordable_seconds
        if affordable is None:
            return None
        return self._begun + affordable - (0.0 if saved else self.saving_seconds) - self._clock()


class Cap:
    """A thread that ends an attempt in time. A context: it watches within.

    Args:
        meter: counts.
        on_near: called once, when it is time to save.
        on_reached: called once, when nothing may be spent any more, or the time to save is over.
    """

    def __init__(self, meter: Meter, *, on_near: Callable[[], None], on_reached: Callable[[], None]) -> None:
        self._meter = meter
        self._on_near = on_near
        self._on_reached = on_reached
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.near = False
        """Whether the attempt was told to save and end."""

    def __enter__(self) -> "Cap":
        if self._meter.affordable_seconds is not None:
            self._thread = threading.Thread(target=self._watch, name="cap", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        if not self._wait(saved=False):
            return
        self.near = True
        self._on_near()
        until = time.monotonic() + SAVING_SECONDS
        if self._wait(saved=True) and not self._over.wait(max(0.0, until - time.monotonic())):
            self._on_reached()

    def _wait(self, *, saved: bool) -> bool:
        """Wait until it is time; return False if the attempt has ended before."""
        while not self._over.is_set():
            seconds = self._meter.seconds_to(saved=saved)
            if seconds is not None and seconds <= 0:
                return True
            self._over.wait(_LOOK_SECONDS if seconds is None else min(seconds, 10 * _LOOK_SECONDS))
        return False


def capped(reason: str) -> Outcome:
    """Return the outcome of an attempt that ends since its run may cost no more."""
    return Outcome(kind="interrupted", reason=reason, retry=False, capped=True)
