"""Who decides which trials go on: runner's controller itself, and what others do at the same rungs."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import numpy as np

from runner.sweeps.controller import Controller
from runner.sweeps.definition import Definition, Scheduler
from runner.sweeps.events import Event
from runner.sweeps.search.random_search import RandomSearch
from runner.sweeps.space.space import Space
from runner.sweeps.state import SweepState

START = datetime(2026, 1, 1, tzinfo=UTC)


def space(configurations: int) -> dict[str, Any]:
    """Return the space of a table: the numbers of its configurations, as `Space.to_mapping` has it."""
    distribution = {"name": "int_uniform", "min": 0, "max": configurations - 1}
    return {"parameters": [{"name": "configuration", "path": "training.seed", "distribution": distribution}]}


def first_seed(seed: int) -> int:
    """Return the seed of the first sweep, so that all draw the same configurations; the next sweeps count on."""
    return 1000 * seed


@dataclass(frozen=True)
class Segment:
    """A trial from one rung to the next, or to the end."""

    trial: Any
    configuration: int
    start: int
    end: int


class Contender(Protocol):
    """What a worker asks for work, and tells what came out."""

    def take(self, worker: str, seconds: float) -> Segment | None:
        """Return what a worker trains next; None: it waits.

        Args:
            worker: who asks.
            seconds: the time.
        """

    def report(self, segment: Segment, worker: str, loss: float, seconds: float) -> list[Any]:
        """Take the loss at a segment's end; return other trials that stop at once."""


class Runner:
    """runner's own controller, as the workers of a sweep ask it. A sweep that is over is followed by the next one."""

    def __init__(
        self,
        scheduler: Scheduler,
        rungs: Sequence[int],
        last: int,
        configurations: int,
        seed: int,
        *,
        eta: float = 3.0,
        run_cap: int | None = None,
    ) -> None:
        self._settings: dict[str, Any] = {
            "scheduler": scheduler,
            "rungs": () if scheduler == "none" else tuple(rungs),
            "max_steps": last,
            "eta": eta,
            "run_cap": run_cap,
            "space": space(configurations),
        }
        self._last = last
        self._seeds = itertools.count(first_seed(seed))
        self._sweep = -1
        self._begin()

    def _begin(self) -> None:
        self._sweep += 1
        self._definition = Definition(
            sweep_id="benchmark",
            name="benchmark",
            created_at=START.isoformat(),
            runner_version="",
            file={},
            method="random",
            seed=next(self._seeds),
            metric="eval_loss",
            goal="minimize",
            recipe={},
            recipe_name="",
            recipe_digest="",
            **self._settings,
        )
        self._controller = Controller(self._definition)
        self._state = SweepState(rungs=len(self._definition.rungs) + 1, sign=1)

    def _write(self, events: Sequence[Event], now: datetime) -> None:
        if events:
            self._state.apply(
                {
                    "version": 1,
                    "number": self._state.number + 1,
                    "at": now.isoformat(),
                    "by": "benchmark",
                    "token": "",
                    "events": list(events),
                }
            )

    def take(self, worker: str, seconds: float) -> Segment | None:
        """As the worker of a sweep does."""
        now = START + timedelta(seconds=seconds)
        while True:
            work, events = self._controller.next_work(self._state, worker, now=now)
            self._write(events, now)
            if work.kind == "leave" and not self._state.running:
                self._begin()
            elif work.kind != "train":
                return None
            else:
                break
        assert work.trial is not None
        trial = self._state.trials[work.trial]
        end = self._last if work.until is None else work.until
        return Segment((self._sweep, work.trial), trial.values["configuration"], trial.step, end)

    def report(self, segment: Segment, worker: str, loss: float, seconds: float) -> list[Any]:
        """As the worker of a sweep does."""
        now = START + timedelta(seconds=seconds)
        number = segment.trial[1]
        told: Any = {"step": segment.end, "value": loss, "seconds": 0.0}
        if segment.end == self._last:
            self._write(self._controller.finished(self._state, number, worker, **told), now)
        else:
            self._write(self._controller.reached(self._state, number, worker, best=loss, **told), now)
        return []


class _Stopping:
    """The part of those that can only stop a trial, never wake it: its worker goes on with it or draws a new one."""

    def __init__(self, rungs: Sequence[int], last: int, configurations: int, seed: int) -> None:
        self._ends = [*rungs, last]
        self._search = RandomSearch(Space.from_mapping(space(configurations)), first_seed(seed))
        self._numbers = itertools.count()
        self._next: dict[str, Segment] = {}

    def take(self, worker: str, seconds: float) -> Segment | None:
        """The trial that the worker has, or a new one."""
        if worker in self._next:
            return self._next.pop(worker)
        number = next(self._numbers)
        drawn = self._search.draw(number, [])
        assert drawn is not None
        return Segment(self.new(number), drawn.values["configuration"], 0, self._ends[0])

    def new(self, number: int) -> Any:
        """A new trial, by what the rule knows it by."""
        return number

    def report(self, segment: Segment, worker: str, loss: float, seconds: float) -> list[Any]:
        """Ask the rule at a rung."""
        if segment.end < self._ends[-1]:
            if self.goes_on(segment, loss):
                end = self._ends[self._ends.index(segment.end) + 1]
                self._next[worker] = Segment(segment.trial, segment.configuration, segment.end, end)
        else:
            self.finished(segment, loss)
        return self.stopped()

    def goes_on(self, segment: Segment, loss: float) -> bool:
        """Whether a trial at a rung goes on: each does where no rule stops it."""
        return True

    def finished(self, segment: Segment, loss: float) -> None:
        """A trial is at its end."""

    def stopped(self) -> list[Any]:
        """Trials that stop where they are."""
        return []


class RayAsha(_Stopping):
    """Ray Tune's ASHA: `_Bracket.on_result` of ray/tune/schedulers/async_hyperband.py, one bracket (its default).

    At a milestone a trial stops if it is behind the percentile (1 - 1/eta) of the rewards of those before it; the first
    always goes on.
    """

    def __init__(self, rungs: Sequence[int], last: int, configurations: int, seed: int, *, eta: float = 3.0) -> None:
        super().__init__(rungs, last, configurations, seed)
        self._eta = eta
        self._recorded: dict[int, list[float]] = {rung: [] for rung in rungs}

    def goes_on(self, segment: Segment, loss: float) -> bool:
        """Compare with those before."""
        recorded = self._recorded[segment.end]
        cutoff = np.nanpercentile(recorded, (1 - 1 / self._eta) * 100) if recorded else -math.inf
        recorded.append(-loss)
        return bool(-loss >= cutoff)


class WandbHyperband(_Stopping):
    """W&B's early_terminate: `hyperband_stop_runs` of sweeps 0.3.0, with `min_iter` and `strict: true`.

    All that run are held, again and again, against the value at n/eta of the last band that they have passed.
    """

    def __init__(self, rungs: Sequence[int], last: int, configurations: int, seed: int, *, eta: float = 3.0) -> None:
        super().__init__(rungs, last, configurations, seed)
        self._eta = eta
        self._values: dict[int, dict[int, float]] = {rung: {} for rung in rungs}
        self._band: dict[int, int] = {}

    def _threshold(self, band: int) -> float:
        values = sorted(self._values[band].values())
        return values[int(len(values) / self._eta)]

    def goes_on(self, segment: Segment, loss: float) -> bool:
        """Compare with all at the band, itself among them."""
        self._values[segment.end][segment.trial] = loss
        self._band[segment.trial] = segment.end
        if loss <= self._threshold(segment.end):
            return True
        del self._band[segment.trial]
        return False

    def finished(self, segment: Segment, loss: float) -> None:
        """Finished runs are not stopped any more."""
        self._band.pop(segment.trial, None)

    def stopped(self) -> list[Any]:
        """Those that run and have fallen behind since."""
        thresholds = {band: self._threshold(band) for band in set(self._band.values())}
        behind = [trial for trial, band in self._band.items() if self._values[band][trial] > thresholds[band]]
        for trial in behind:
            del self._band[trial]
        self._next = {worker: segment for worker, segment in self._next.items() if segment.trial not in behind}
        return behind


class OptunaPruner(_Stopping):
    """Optuna's real pruners, through ask, report and should_prune."""

    def __init__(
        self, rungs: Sequence[int], last: int, configurations: int, seed: int, *, pruner: str, eta: int = 3
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        super().__init__(rungs, last, configurations, seed)
        made: Any
        if pruner == "hyperband":
            made = optuna.pruners.HyperbandPruner(min_resource=rungs[0], max_resource=last, reduction_factor=eta)
        else:
            made = optuna.pruners.SuccessiveHalvingPruner(min_resource=rungs[0], reduction_factor=eta)
        # Hyperband takes the bracket from the study's name and the trial's number.
        sampler = optuna.samplers.RandomSampler(seed=seed)
        self._study = optuna.create_study(study_name=f"{seed}", sampler=sampler, pruner=made)
        self._pruned = optuna.trial.TrialState.PRUNED

    def new(self, number: int) -> Any:
        """Optuna's own trial."""
        return self._study.ask()

    def goes_on(self, segment: Segment, loss: float) -> bool:
        """Report, and ask. Only at rungs: these pruners decide nothing between them."""
        segment.trial.report(loss, step=segment.end)
        if not segment.trial.should_prune():
            return True
        self._study.tell(segment.trial, state=self._pruned)
        return False

    def finished(self, segment: Segment, loss: float) -> None:
        """Tell it."""
        self._study.tell(segment.trial, loss)
