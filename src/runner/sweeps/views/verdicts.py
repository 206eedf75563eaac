"""Why each trial of a sweep runs, waits, went on or stopped: a pure function of the definition and the state.

The words are those of the rule in `runner.sweeps.halving` that decides; a verdict never decides anything itself.
"""

import math
from dataclasses import dataclass
from typing import Literal

from runner.sweeps.controller import Controller
from runner.sweeps.definition import Definition
from runner.sweeps.halving import DelayedAsha, StopBehind, SuccessiveHalving
from runner.sweeps.members import WORST, Rung, Trial
from runner.sweeps.state import SweepState

Outlook = Literal["running", "ready", "waits", "stopped", "finished", "failed"]
"""What becomes of a trial: a worker has it; the next free worker takes it; nobody knows yet; it stays where it is; it
was trained to its end; it has failed."""

KINDS = {
    "diverged": "diverged",
    "out_of_memory": "ran out of memory",
    "mistake": "failed",
    "error": "failed",
}
"""The kinds of failures, as verdicts say them."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What becomes of a trial, and why."""

    outlook: Outlook
    why: str
    """A sentence for people."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """What a rule needs to know about a rung, computed once for all its trials."""

    rung: Rung
    step: int
    headed: int
    """How many trials will have reached it in all, as far as is known."""
    missing: int
    """How many of them may still come."""
    settled: int
    """How many have reached it or failed on their way."""
    places: int
    """How many go on."""


class Verdicts:
    """The verdicts on the trials of one state.

    Args:
        definition: the sweep.
        state: what has happened. It must not change meanwhile.
        controller: the sweep's, if there is one; it is only asked for its rule.
    """

    def __init__(self, definition: Definition, state: SweepState, controller: Controller | None = None) -> None:
        controller = controller or Controller(definition)
        self._definition = definition
        self._state = state
        self._rule = controller.halving(state)
        self._drawing = state.ended is None and controller.draws.may_draw(state)
        self._is_over = state.ended is not None and state.ended[0] != "stopped"
        self._steps = definition.steps_of_rungs()
        self._places: dict[tuple[int, int], _Place] = {}
        self._count = sum(1 for score, _ in state.finished if score < WORST)
        self._ranks = {number: rank for rank, (_, number) in enumerate(state.finished)}

    def of(self, trial: Trial) -> Verdict:
        """Return what becomes of a trial, and why."""
        if trial.state == "running":
            return Verdict(outlook="running", why=self._running(trial))
        if trial.state == "ready":
            return Verdict(outlook="ready", why=self._ready(trial))
        if trial.state == "failed":
            return Verdict(outlook="failed", why=_failure(trial))
        if trial.state == "finished":
            return Verdict(outlook="finished", why=self._finished(trial))
        return self._paused(trial)

    def places(self, bracket: int, rung: int) -> int:
        """Return how many trials go on from a rung, as far as is known."""
        return self._place(bracket, rung).places

    # -- those that train, or are about to -------------------------------------------------------------------------

    def _running(self, trial: Trial) -> str:
        step = self._steps[trial.rung]
        target = "to its end" if step is None else f"to step {step}"
        return _joined(f"trains {target}", self._past(trial), _losses(trial))

    def _ready(self, trial: Trial) -> str:
        if trial.failure is not None and trial.kind is not None:
            again = f"is tried again, since it {_failure(trial)}"
        elif trial.interruptions and trial.step:
            again = "goes on where it was"
        else:
            again = self._past(trial) or ("is taken again" if trial.interruptions else "was drawn")
        return _joined(again, "waits for a worker", _losses(trial))

    def _past(self, trial: Trial) -> str:
        """How the trial came to go on from the rung below."""
        below = trial.rung - 1
        if below not in trial.scores or trial.number not in self._state.rung(trial.bracket, below).promoted:
            return ""
        place = self._place(trial.bracket, below)
        rank = place.rung.rank(trial.number, self._state.score(trial.scores[below]))
        return f"went on as {ordinal(rank + 1)} of {len(place.rung.ranked)} at step {place.step}"

    # -- those that are done ---------------------------------------------------------------------------------------

    def _finished(self, trial: Trial) -> str:
        if self._state.score(trial.value) >= WORST:
            return f"finished, but its {self._definition.metric} is no number"
        rank = self._ranks[trial.number]
        text = "finished: best" if rank == 0 else f"finished: {ordinal(rank + 1)}"
        last = self._definition.max_steps
        early = f"its training ended at step {trial.step} of {last}" if last and trial.step < last else ""
        return _joined(f"{text} of {self._count}", early, _losses(trial))

    # -- those that have paused ------------------------------------------------------------------------------------

    def _paused(self, trial: Trial) -> Verdict:
        place = self._place(trial.bracket, trial.rung)
        score = self._state.score(trial.scores.get(trial.rung))
        if score >= WORST:
            why = f"its {self._definition.metric} at step {place.step} is no number, which never goes on"
            return Verdict(outlook="stopped", why=why)
        rank = place.rung.rank(trial.number, score)
        if isinstance(self._rule, SuccessiveHalving):
            return self._by_halving(place, rank)
        if isinstance(self._rule, DelayedAsha):
            return self._by_asha(place, rank)
        if isinstance(self._rule, StopBehind):
            share = f"1 in {self._rule.eta:g}"
            what = "it" if self._rule.strict else "its best so far"
            behind = f"{what} was behind the best {share} of those that had come to step {place.step} by then"
            return Verdict(outlook="stopped", why=f"{behind}; {_rank(place, rank)} now")
        return Verdict(outlook="waits", why=_rank(place, rank))

    def _by_halving(self, place: _Place, rank: int) -> Verdict:
        counted = f"{ordinal(rank + 1)} of {place.settled + place.missing} at step {place.step}"
        best = _best(place.places)
        if rank >= place.places:
            past = "went on" if self._is_over or not place.missing else f"{_go(place.places)} on"
            return Verdict(outlook="stopped", why=f"{counted}: the {best} {past}")
        before = rank + place.missing - place.places + 1
        if before <= 0:
            return Verdict(outlook="ready", why=f"{counted}: the {best} {_go(place.places)} on; waits for a worker")
        if self._is_over:
            return Verdict(outlook="stopped", why=f"{counted}, and the sweep has ended")
        so_far = f"{_rank(place, rank)} so far"
        certain = f"its place among the {best} is not certain before {before} more {_have(before)} come"
        return Verdict(outlook="waits", why=f"{so_far}: {certain}")

    def _by_asha(self, place: _Place, rank: int) -> Verdict:
        assert isinstance(self._rule, DelayedAsha)
        counted, share = _rank(place, rank), f"1 in {self._rule.eta:g}"
        gone, places = len(place.rung.promoted), place.places
        if self._is_over:
            return Verdict(outlook="stopped", why=f"{counted}: {gone} went on")
        if not places:
            few = f"{share} goes on, and fewer than {math.ceil(self._rule.eta)} have come"
            return Verdict(outlook="waits", why=f"{counted} so far: {few}")
        if rank >= places:
            return Verdict(outlook="waits", why=f"{counted} so far: the {_best(places)} {_go(places)} on, {share}")
        if gone < places:
            why = f"{counted} so far: the {_best(places)} {_go(places)} on; waits for a worker"
            return Verdict(outlook="ready", why=why)
        needed = math.ceil((gone + 1) * self._rule.eta - 1e-9)
        why = f"{counted} so far: {gone} went on already; the next goes on when {needed} have come"
        return Verdict(outlook="waits", why=why)

    def _place(self, bracket: int, number: int) -> _Place:
        known = self._places.get((bracket, number))
        if known is None:
            known = self._places[(bracket, number)] = self._look(bracket, number)
        return known

    def _look(self, bracket: int, number: int) -> _Place:
        state, rung = self._state, self._state.rung(bracket, number)
        settled = len(rung.ranked) + state.lost.get((bracket, number), 0)
        headed = places = settled
        if isinstance(self._rule, SuccessiveHalving) and number < self._rule.rungs - 1:
            headed = max(settled, self._rule.headed(state, bracket, number, drawing=self._drawing))
            places = self._rule.places(headed)
        elif isinstance(self._rule, DelayedAsha) and number < self._rule.rungs - 1:
            places = self._rule.places(state, number, drawing=self._drawing)
        step = self._steps[number]
        return _Place(
            rung=rung,
            step=self._definition.max_steps or 0 if step is None else step,
            headed=headed,
            missing=headed - settled,
            settled=settled,
            places=places,
        )


def ordinal(number: int) -> str:
    """Return ``1st``, ``2nd``, ``3rd``, ``4th``, …"""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _failure(trial: Trial) -> str:
    kind = KINDS.get(trial.kind or "", "failed")
    step = f" after step {trial.step}" if trial.step else ""
    times = f" (tried {trial.failures} times)" if trial.failures > 1 else ""
    return f"{kind}{step}{times}: {trial.failure}"


def _losses(trial: Trial) -> str:
    count = trial.interruptions
    return "" if not count else f"preempted {'once' if count == 1 else f'{count} times'}"


def _rank(place: _Place, rank: int) -> str:
    return f"{ordinal(rank + 1)} of {place.settled} at step {place.step}"


def _best(count: int) -> str:
    return "best" if count == 1 else f"best {count}"


def _go(count: int) -> str:
    return "goes" if count == 1 else "go"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
