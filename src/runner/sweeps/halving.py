"""Halving: which trials go on after a rung, by one rule or another.

A rule is a pure function of the state: equal states give equal answers. Ties go to the trial that was drawn first. A
metric that is no number, or that is missing, never goes on. What fails for good counts among those that reached the
rung, as the worst.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.sweeps.members import WORST, Rung
from runner.sweeps.state import SweepState


class Halving(Protocol):
    """A rule of halving."""

    def bracket_of(self, trial: int) -> int:
        """The bracket that a new trial belongs to; 0 but for Hyperband."""

    def first_rung(self, bracket: int) -> int:
        """The rung that a bracket's trials train to first."""

    def goes_on(self, state: SweepState, trial: int, score: float, best: float) -> bool:
        """Whether a trial that comes to its rung goes on at once, whatever others bring.

        Args:
            state: what has happened before.
            trial: the trial.
            score: that of its value at the rung.
            best: that of its best value so far.
        """

    def promotable(self, state: SweepState, *, drawing: bool) -> int | None:
        """Return the trial that goes on next; None if none may now.

        Args:
            state: what has happened.
            drawing: whether more trials can still be drawn.
        """


class _AllInOne:
    """The part of a rule that has no brackets, and decides nothing on arrival."""

    def bracket_of(self, trial: int) -> int:
        """All are in one."""
        return 0

    def first_rung(self, bracket: int) -> int:
        """The lowest."""
        return 0

    def goes_on(self, state: SweepState, trial: int, score: float, best: float) -> bool:
        """Whether a trial that comes to its rung goes on at once: no, it is `promotable` or not."""
        return False


class NoHalving(_AllInOne):
    """Every trial is trained to its end."""

    def promotable(self, state: SweepState, *, drawing: bool) -> int | None:
        """None: no trial waits."""
        return None


@dataclass(frozen=True)
class SuccessiveHalving(_AllInOne):
    """Synchronous successive halving (Jamieson and Talwalkar, arXiv 1502.07943), with trials that pause and go on.

    Of the `n` trials that are headed for a rung, the best `n / eta`, rounded down and at least one, go on. A trial goes
    on as soon as its place among those is certain, whatever those that are not there yet bring.
    """

    rungs: int
    """How many rungs there are, the end of the training included."""
    eta: float
    """One of so many goes on."""
    sizes: Sequence[int]
    """How many trials each bracket will have."""
    firsts: Sequence[int] = (0,)
    """The rung that each bracket's trials train to first."""
    brackets: Sequence[int] = ()
    """The bracket of each trial by its number; empty: all are in one."""

    def bracket_of(self, trial: int) -> int:
        """From the table; a trial beyond it is in the last."""
        if not self.brackets:
            return 0
        return self.brackets[min(trial, len(self.brackets) - 1)]

    def first_rung(self, bracket: int) -> int:
        """From the table."""
        return self.firsts[bracket]

    def promotable(self, state: SweepState, *, drawing: bool) -> int | None:
        """The best of the highest rung that certainly goes on."""
        for number in range(self.rungs - 2, -1, -1):
            for bracket, first in enumerate(self.firsts):
                if number < first:
                    continue
                trial = self._certain(state, bracket, number, drawing=drawing)
                if trial is not None:
                    return trial
        return None

    def headed(self, state: SweepState, bracket: int, number: int, *, drawing: bool) -> int:
        """How many trials are headed for a rung in all, as far as is known."""
        count = max(self.sizes[bracket], state.entered.get(bracket, 0)) if drawing else state.entered.get(bracket, 0)
        for below in range(self.firsts[bracket], number):
            rung = state.rung(bracket, below)
            complete = len(rung.ranked) + state.lost.get((bracket, below), 0) >= count
            count = self.places(count)
            if complete:  # of those that are there, perhaps not enough have a number to show
                count = min(count, bisect.bisect_left(rung.ranked, (WORST,)))
        return count

    def places(self, count: int) -> int:
        """How many of so many go on."""
        return max(1, math.floor(count / self.eta + 1e-9)) if count else 0

    def _certain(self, state: SweepState, bracket: int, number: int, *, drawing: bool) -> int | None:
        rung = state.board.get((bracket, number))
        best = None if rung is None else best_waiting(rung)
        if rung is None or best is None:
            return None
        score, trial = best
        headed = self.headed(state, bracket, number, drawing=drawing)
        missing = max(0, headed - len(rung.ranked) - state.lost.get((bracket, number), 0))
        certain = rung.rank(trial, score) + missing < self.places(headed)
        return trial if certain else None


@dataclass(frozen=True)
class DelayedAsha(_AllInOne):
    """Asynchronous successive halving by promotion (arXiv 1810.05934), delayed as in Hyper-Tune (arXiv 2201.06834).

    A trial goes on if it is among the best `1 / eta` of those that have reached its rung, and if, with it, at least
    `eta` trials have reached the rung for each that has gone on. Nobody waits: where no trial may go on, a new one is
    drawn. When nothing is left to draw, at least one trial of each rung goes on.
    """

    rungs: int
    eta: float

    def promotable(self, state: SweepState, *, drawing: bool) -> int | None:
        """The best of the highest rung that may go on."""
        for number in range(self.rungs - 2, -1, -1):
            rung = state.board.get((0, number))
            best = None if rung is None else best_waiting(rung)
            if rung is None or best is None:
                continue
            score, trial = best
            places = self.places(state, number, drawing=drawing)
            if rung.rank(trial, score) < places and len(rung.promoted) < places:
                return trial
        return None

    def places(self, state: SweepState, number: int, *, drawing: bool) -> int:
        """How many may go on from a rung, of those that have reached it so far."""
        settled = len(state.rung(0, number).ranked) + state.lost.get((0, number), 0)
        places = math.floor(settled / self.eta + 1e-9)
        if places == 0 and not drawing and not self._below_is_busy(state, number):
            return 1
        return places

    def _below_is_busy(self, state: SweepState, number: int) -> bool:
        """Whether a trial may still come to a rung: one that is on its way to it, or may go on from below."""
        if any(state.trials[trial].rung <= number for trial in state.running | state.ready):
            return True
        return any(
            len(rung.promoted) < math.floor(len(rung.ranked) / self.eta + 1e-9) and best_waiting(rung) is not None
            for (_, below), rung in state.board.items()
            if below < number
        )


@dataclass(frozen=True)
class StopBehind(_AllInOne):
    """W&B's rule (`early_terminate` in its sweeps package): who is behind at a rung stops for good; all others go on.

    The threshold is the value at `n / eta` of those that have reached the rung, in order, the trial itself included.
    """

    rungs: int
    eta: float
    strict: bool = True
    """Whether the trial's value at the rung is held against it; false: its best so far."""

    def promotable(self, state: SweepState, *, drawing: bool) -> int | None:
        """None: it was decided when the trial reached its rung."""
        return None

    def goes_on(self, state: SweepState, trial: int, score: float, best: float) -> bool:
        """Whether the trial is not behind the threshold. One whose value at the rung is no number is."""
        entry = state.trials[trial]
        values = [value for value, number in state.rung(entry.bracket, entry.rung).ranked if number != trial]
        bisect.insort(values, score)
        threshold = values[min(int(1 / self.eta * len(values)), len(values) - 1)]
        return score < WORST and (score if self.strict else best) <= threshold


def make_hyperband(*, rungs: int, eta: float, run_cap: int) -> SuccessiveHalving:
    """Hyperband (Li et al., arXiv 1603.06560): brackets of successive halving that begin at later and later rungs.

    Bracket `s` of `K` begins at rung `s`. The trials are shared out in the proportions of one round of the paper,
    ``K / (K - s) * eta^(K - s - 1)``, and each trial goes to the bracket that has most to catch up.

    Args:
        rungs: how many rungs there are, the end of the training included.
        eta: one of so many goes on.
        run_cap: how many trials there will be.
    """
    weights = [rungs / (rungs - first) * eta ** (rungs - first - 1) for first in range(rungs)]
    total = sum(weights)
    sizes = [0] * rungs
    brackets: list[int] = []
    for number in range(run_cap):
        owed = [weight / total * (number + 1) - size for weight, size in zip(weights, sizes, strict=True)]
        bracket = max(range(rungs), key=lambda index: (owed[index], -index))
        sizes[bracket] += 1
        brackets.append(bracket)
    return SuccessiveHalving(rungs=rungs, eta=eta, sizes=sizes, firsts=range(rungs), brackets=brackets)


def best_waiting(rung: Rung) -> tuple[float, int] | None:
    """Score and number of the best trial that waits at a rung; None if there is none, or its metric is no number."""
    if not rung.waiting or rung.waiting[0][0] >= WORST:
        return None
    return rung.waiting[0]
