"""A sweep told event by event: the journal's folding without a store, for small cases made by hand."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from runner.sweeps.controller import Controller
from runner.sweeps.events import Event
from runner.sweeps.journal import cleaned
from runner.sweeps.state import SweepState
from support.sweeping.definitions import make_definition

START = datetime(2026, 1, 1, tzinfo=UTC)
NAN = float("nan")


class Story:
    """A sweep's definition, its controller, and the state after what has been told.

    Args:
        workers: workers that are there from the beginning, each at one dollar an hour.
        changes: what the definition has besides the defaults of `make_definition`.
    """

    def __init__(self, *workers: str, **changes: Any) -> None:
        self.definition = make_definition(**changes)
        self.controller = Controller(self.definition)
        self.state = SweepState(rungs=len(self.definition.rungs) + 1, sign=self.definition.sign)
        self.clock = START
        self.entries: list[dict[str, Any]] = []
        for worker in workers:
            self.tell({"event": "joined", "worker": worker, "dollars_per_hour": 1.0})

    def tell(self, *events: Event | Mapping[str, Any]) -> None:
        """Add an entry of these events; none is no entry."""
        if not events:
            return
        entry: Any = {
            "version": 1,
            "number": self.state.number + 1,
            "at": self.clock.isoformat(),
            "by": "test",
            "token": "t",
            "events": [cleaned(event) for event in events],  # type: ignore[arg-type]
        }
        self.entries.append(entry)
        self.state.apply(entry)

    def wait(self, *, hours: float = 0.0, seconds: float = 0.0) -> None:
        """Let time pass."""
        self.clock += timedelta(hours=hours, seconds=seconds)

    def draw(self, *numbers: int, bracket: int = 0, rung: int = 0) -> None:
        """Trials come into being, with their number as their only value."""
        for number in numbers:
            values = {"x": number}
            self.tell({"event": "drawn", "trial": number, "values": values, "bracket": bracket, "rung": rung})

    def take(self, trial: int, worker: str = "w") -> None:
        """A worker trains a trial."""
        rung = self.state.trials[trial].rung
        self.tell({"event": "taken", "trial": trial, "worker": worker, "until": self.controller.until(rung)})

    def reach(
        self,
        values: Mapping[int, float | None],
        worker: str = "w",
        seconds: float = 10.0,
        bests: Mapping[int, float] | None = None,
    ) -> None:
        """Trials train to their next rung (the end is one too), with these values; the rule decides on arrival.

        Their best values so far are the same, or those of `bests`.
        """
        for trial, value in values.items():
            self.take(trial, worker)
            rung = self.state.trials[trial].rung
            step = self.controller.until(rung)
            call = self.controller.finished if step is None else self.controller.reached
            at = step or self.definition.max_steps or 0
            best = {} if step is None else {"best": value if bests is None else bests[trial]}
            self.tell(*call(self.state, trial, worker, step=at, value=value, seconds=seconds, **best))

    def fail(self, trial: int, kind: Any = "diverged", reason: str = "loss is nan", worker: str = "w") -> None:
        """A trial is taken, and fails."""
        self.take(trial, worker)
        self.tell(*self.controller.failed(self.state, trial, worker, kind=kind, reason=reason, step=3, seconds=5.0))

    def release(self, trial: int, worker: str = "w", step: int | None = None, **options: Any) -> None:
        """A worker loses a trial that it has."""
        told = {"reason": "preempted", "seconds": 5.0, **options}
        self.tell(*self.controller.released(self.state, trial, worker, step=step, **told))

    def promotable(self, *, drawing: bool = False) -> int | None:
        """The trial that the rule lets go on next."""
        return self.controller.halving(self.state).promotable(self.state, drawing=drawing)

    def promote(self, *, drawing: bool = False) -> int | None:
        """Let the next one go on; return it."""
        trial = self.promotable(drawing=drawing)
        if trial is not None:
            rung = self.state.trials[trial].rung + 1
            self.tell({"event": "promoted", "trial": trial, "until": self.controller.until(rung)})
        return trial

    def promote_all(self, *, drawing: bool = False) -> list[int]:
        """Let all go on that may; return them in order."""
        promoted = []
        while (trial := self.promote(drawing=drawing)) is not None:
            promoted.append(trial)
        return promoted

    def work(self, worker: str = "w") -> Any:
        """What a worker is told to do, with its events written."""
        work, events = self.controller.next_work(self.state, worker, now=self.clock)
        self.tell(*events)
        return work
