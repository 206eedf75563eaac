"""A sweep without training: the real controller and the real journal, machines that come and go, curves by formula."""

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from runner.storage.store import Store
from runner.sweeps.controller import Controller, Work
from runner.sweeps.definition import Definition, write_definition
from runner.sweeps.events import Event
from runner.sweeps.journal import Journal
from runner.sweeps.state import SweepState
from support.sweeping.definitions import make_definition
from support.sweeping.spaces import make_space

START = datetime(2026, 1, 1, tzinfo=UTC)


def curve(seed: int, trial: int, step: int) -> float:
    """A loss that falls, faster or slower, to more or less."""
    draw = random.Random(f"{seed}/{trial}")
    floor, speed = draw.uniform(0.5, 2.0), draw.uniform(0.01, 0.1)
    return floor + 3 * math.exp(-speed * step)


@dataclass(order=True)
class _Happening:
    at: float
    tie: int
    act: Callable[[], None] = field(compare=False)


class Simulation:
    """Workers that take, train, lose and finish trials, in simulated time.

    Args:
        store: where the sweep lives.
        definition: the sweep.
        workers: how many machines.
        mean_life_seconds: of a machine until it is preempted; None: they stay.
        seed: of what happens.
        value: the metric of a trial at a step.
        controller: makes the decisions; each worker has one of its own if it is None.
    """

    def __init__(
        self,
        store: Store,
        definition: Definition,
        *,
        workers: int,
        mean_life_seconds: float | None = None,
        seed: int = 0,
        step_seconds: float = 1.0,
        value: Callable[[int, int], float | None] | None = None,
    ) -> None:
        self.definition = definition
        self.journal = Journal(store, definition, by="simulation", clock=lambda: self.now.isoformat())
        self.controller = Controller(definition)
        self.random = random.Random(seed)
        self.mean_life = mean_life_seconds
        self.step_seconds = step_seconds
        self.value = value or (lambda trial, step: curve(seed, trial, step))
        self.clock = 0.0
        self.steps_trained: dict[int, list[tuple[int, int]]] = {}
        """The spans of steps that each trial was trained in, as they were committed."""
        self.checkpoints: dict[int, int] = {}
        self.events = 0
        self._heap: list[_Happening] = []
        self._ties = itertools.count()
        self._names = itertools.count()
        for _ in range(workers):
            self._at(self.random.uniform(0, 10), self._join)

    @property
    def now(self) -> datetime:
        """The simulated time."""
        return START + timedelta(seconds=self.clock)

    def run(self, *, most_happenings: int = 1_000_000) -> SweepState:
        """Go on until nothing happens any more; return the state."""
        for _ in range(most_happenings):
            if not self.run_once():
                return self.journal.state
        raise AssertionError("the sweep does not end")

    def run_once(self) -> bool:
        """Let the next thing happen; False if nothing does any more."""
        if not self._heap:
            return False
        happening = heapq.heappop(self._heap)
        self.clock = happening.at
        happening.act()
        return True

    def _at(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._heap, _Happening(self.clock + seconds, next(self._ties), act))

    def _write(self, events: list[Event]) -> None:
        if events:
            self.journal.append(lambda state: events)
            self.events += len(events)

    def _join(self) -> None:
        name = f"w{next(self._names)}"
        self._write([{"event": "joined", "worker": name, "dollars_per_hour": 1.0}])
        life = math.inf if self.mean_life is None else self.random.expovariate(1 / self.mean_life)
        self._look(name, self.clock + life)

    def _look(self, name: str, dies_at: float) -> None:
        if self.clock >= dies_at:
            self._write(
                self.controller.lost(
                    self.journal.state, name, last_sign=self.now.isoformat(), reason="gone", now=self.now
                )
            )
            self._at(60, self._join)
            return
        work, events = self.controller.next_work(self.journal.state, name, now=self.now)
        self._write(events)
        if work.kind == "wait":
            self._at(5, lambda: self._look(name, dies_at))
        elif work.kind == "leave":
            self._write([{"event": "left", "worker": name, "reason": work.reason}])
        else:
            self._train(name, work, dies_at)

    def _train(self, name: str, work: Work, dies_at: float) -> None:
        assert work.trial is not None
        trial = work.trial
        start = self.checkpoints.get(trial, 0)
        end = work.until or self.definition.max_steps or 0
        seconds = (end - start) * self.step_seconds
        if self.clock + seconds > dies_at:
            saved = start + int((dies_at - self.clock) / self.step_seconds) // 10 * 10
            self._at(dies_at - self.clock, lambda: self._die(name, trial, start, saved))
            return

        def done() -> None:
            self._commit(trial, start, end)
            value = self.value(trial, end)
            state = self.journal.state
            told: Any = {"step": end, "value": value, "seconds": seconds}
            if work.until is None:
                self._write(self.controller.finished(state, trial, name, **told))
            else:
                self._write(self.controller.reached(state, trial, name, best=value, **told))
            self._look(name, dies_at)

        self._at(seconds, done)

    def _die(self, name: str, trial: int, start: int, saved: int) -> None:
        self._commit(trial, start, saved)
        self._look(name, self.clock)

    def _commit(self, trial: int, start: int, end: int) -> None:
        assert self.checkpoints.get(trial, 0) == start, "two machines trained one trial at once"
        if end > start:
            self.steps_trained.setdefault(trial, []).append((start, end))
        self.checkpoints[trial] = end


def simulate(store: Store, *, workers: int = 3, mean_life_seconds: float | None = None, **changes: Any) -> Simulation:
    """Launch a sweep over a learning rate and a rank, and have it simulated to its end.

    Args:
        store: where it lives.
        workers: how many machines.
        mean_life_seconds: see `Simulation`.
        changes: what the definition has besides; 9 trials of successive halving if nothing is said.
    """
    space = make_space(
        training__learning_rate={"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-3},
        adapter__r={"values": [8, 16, 32]},
    )
    fields = {
        "space": space.to_mapping(),
        "scheduler": "successive_halving",
        "rungs": (10, 30),
        "max_steps": 90,
        "run_cap": 9,
        "recipe": {"document": {"name": "small", "method": "sft", "training": {"max_steps": 90}}},
    }
    definition = make_definition(**(fields | changes))
    assert write_definition(store, definition)
    simulation = Simulation(store, definition, workers=workers, mean_life_seconds=mean_life_seconds)
    simulation.run()
    return simulation
