"""The controller of a sweep: from what has happened to what happens next. Pure: no store, no clock, no chance.

Whoever needs a decision makes it (a worker that looks for work, a command of the person's) with these functions, on
the state as the journal has it, and writes the answer to the journal (`runner.sweeps.journal`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from runner.sweeps.definition import Definition
from runner.sweeps.draws import Draws
from runner.sweeps.ending import end_by_exhaustion, end_by_target, reason_to_stop
from runner.sweeps.events import Event, FailureKind, Reached
from runner.sweeps.halving import DelayedAsha, Halving, NoHalving, StopBehind, SuccessiveHalving, make_hyperband
from runner.sweeps.members import Trial
from runner.sweeps.state import SweepState

MOST_RELEASES = 10
"""How often a trial may be lost, one time after the other, without having got further."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a worker does next."""

    kind: Literal["train", "wait", "leave"]
    trial: int | None = None
    """Which trial it trains."""
    until: int | None = None
    """The step after which the trial pauses; None: its end."""
    reason: str = ""
    """Why it waits or leaves."""


class Controller:
    """The decisions of one sweep. It remembers nothing but what can be computed again.

    Args:
        definition: what the sweep is.
    """

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self.draws = Draws(definition)
        """What is drawn."""
        self._rule_of: tuple[int | None, Halving] | None = None

    # -- work ------------------------------------------------------------------------------------------------------

    def next_work(self, state: SweepState, worker: str, *, now: datetime) -> tuple[Work, list[Event]]:
        """Decide what a worker does next.

        Args:
            state: what has happened.
            worker: who asks.
            now: the time, for the budget.

        Returns:
            What it does, once the events are in the journal.
        """
        if state.ended is not None:
            return Work(kind="leave", reason=state.ended[1]), []
        if state.stop is None and (reason := reason_to_stop(self._definition, state, now=now)) is not None:
            event: Event = {"event": "stop_requested", "reason": reason}
            return Work(kind="leave", reason=reason), [event]
        if state.stop is not None:
            return Work(kind="leave", reason=state.stop), []
        if (end := end_by_target(self._definition, state)) is not None:
            return Work(kind="leave", reason=end["reason"]), [end]
        if worker in state.held:  # its own words were written, although the store did not say so
            trial = state.trials[state.held[worker]]
            return Work(kind="train", trial=trial.number, until=self.until(trial.rung)), []
        if state.ready:
            trial = min((state.trials[number] for number in state.ready), key=lambda trial: (-trial.rung, trial.number))
            return self._take(trial.number, trial.rung, worker, [])
        rule, drawing = self.halving(state), self.draws.may_draw(state)
        promoted = rule.promotable(state, drawing=drawing)
        if promoted is not None:
            trial = state.trials[promoted]
            return self._take(promoted, trial.rung + 1, worker, [self._promotion(trial)])
        if drawing:
            drawn = self._draw(state, rule)
            if drawn is not None:
                return self._take(drawn["trial"], drawn["rung"], worker, [cast(Event, drawn)])
            promoted = rule.promotable(state, drawing=False)  # the space is exhausted
            if promoted is not None:
                trial = state.trials[promoted]
                return self._take(promoted, trial.rung + 1, worker, [self._promotion(trial)])
        if state.running:
            return Work(kind="wait", reason=f"{len(state.running)} trials are running, and no other may go on yet"), []
        end = end_by_exhaustion(self._definition, state)
        return Work(kind="leave", reason=end["reason"]), [end]

    def nothing_left(self, state: SweepState) -> str | None:
        """Why no worker is of any use; None: there is something to train, or to wait for."""
        if (end := end_by_target(self._definition, state)) is not None:
            return end["reason"]
        if state.ready or state.running or self.draws.may_draw(state):
            return None
        if self.halving(state).promotable(state, drawing=False) is not None:
            return None
        return end_by_exhaustion(self._definition, state)["reason"]

    def until(self, rung: int) -> int | None:
        """The step of a rung; None for the end of the training."""
        return self._definition.steps_of_rungs()[rung]

    def must_pause(self, state: SweepState, trial: int, worker: str, *, now: datetime) -> str | None:
        """Why a worker that trains a trial pauses it at the next step; None: it goes on.

        Args:
            state: what has happened.
            trial: the trial.
            worker: who trains it.
            now: the time, for the budget.
        """
        entry = state.trials[trial]
        if entry.worker != worker or entry.state != "running":
            return "another worker has the trial"
        if state.ended is not None:
            return state.ended[1]
        if state.stop is not None:
            return None if state.drain else state.stop
        return reason_to_stop(self._definition, state, now=now)

    # -- what a worker reports -------------------------------------------------------------------------------------

    def reached(
        self,
        state: SweepState,
        trial: int,
        worker: str,
        *,
        step: int,
        value: float | None,
        best: float | None,
        seconds: float,
    ) -> list[Event]:
        """A trial has committed a checkpoint at its rung. Nothing, if the worker has it no longer.

        If the rule decides on arrival, its decision is in the same entry: nobody can be killed in between.

        Args:
            state: what has happened.
            trial: the trial.
            worker: who trained it.
            step: the rung's.
            value: the metric's there; None: it is no number.
            best: the metric's best until there.
            seconds: how long the worker had it.
        """
        if not self._has(state, trial, worker):
            return []
        event: Reached = {
            "event": "reached",
            "trial": trial,
            "worker": worker,
            "step": step,
            "value": value,
            "seconds": round(seconds, 3),
        }
        if not self._definition.strict:
            event["best"] = best
        if self.halving(state).goes_on(state, trial, state.score(value), state.score(best)):
            return [event, self._promotion(state.trials[trial])]
        return [event]

    def finished(
        self, state: SweepState, trial: int, worker: str, *, step: int | None, value: float | None, seconds: float
    ) -> list[Event]:
        """A trial was trained to its end."""
        if not self._has(state, trial, worker):
            return []
        event: Event = {
            "event": "finished",
            "trial": trial,
            "worker": worker,
            "step": step,
            "value": value,
            "seconds": round(seconds, 3),
        }
        return [event]

    def released(
        self,
        state: SweepState,
        trial: int,
        worker: str,
        *,
        reason: str,
        step: int | None,
        seconds: float,
        stopped: bool = False,
    ) -> list[Event]:
        """A worker gives a trial up, or is lost. A trial that is lost time after time without progress has failed.

        Args:
            state: what has happened.
            trial: the trial.
            worker: who had it.
            reason: why.
            step: the newest checkpoint's step, if it is known.
            seconds: how long the worker had it.
            stopped: whether the sweep itself asked for it.
        """
        if not self._has(state, trial, worker):
            return []
        entry = state.trials[trial]
        further = step is not None and step > entry.step
        if not stopped and not further and entry.releases + 1 >= MOST_RELEASES:
            text = f"lost {MOST_RELEASES} times without a newer checkpoint; the last time: {reason}"
            return self.failed(state, trial, worker, kind="mistake", reason=text, step=step, seconds=seconds)
        event: dict[str, Any] = {
            "event": "released",
            "trial": trial,
            "worker": worker,
            "reason": reason,
            "step": step,
            "seconds": round(seconds, 3),
        }
        if stopped:
            event["stopped"] = True
        return [cast(Event, event)]

    def failed(
        self,
        state: SweepState,
        trial: int,
        worker: str,
        *,
        kind: FailureKind,
        reason: str,
        step: int | None,
        seconds: float,
    ) -> list[Event]:
        """A trial has failed. An error is tried again, so often; what the values or the recipe caused is not."""
        if not self._has(state, trial, worker):
            return []
        events: list[Event] = [
            {
                "event": "failed",
                "trial": trial,
                "worker": worker,
                "kind": kind,
                "reason": reason,
                "step": step,
                "seconds": round(seconds, 3),
            }
        ]
        if kind == "error" and state.trials[trial].failures < self._definition.retries:
            events.append({"event": "retried", "trial": trial})
        return events

    def leaving(self, state: SweepState, worker: str, *, reason: str) -> list[Event]:
        """A worker goes by itself. What it has is free; nothing, if it has gone before."""
        events: list[Event] = []
        if worker in state.held:
            held = state.held[worker]
            events += self.released(state, held, worker, reason=reason, step=None, seconds=0.0, stopped=True)
        if state.is_there(worker):
            events.append({"event": "left", "worker": worker, "reason": reason})
        return events

    def lost(
        self,
        state: SweepState,
        worker: str,
        *,
        last_sign: str,
        reason: str,
        now: datetime,
        steps: Mapping[int, int] = {},
    ) -> list[Event]:
        """A worker is gone without a word: what it had is free.

        Args:
            state: what has happened.
            worker: who.
            last_sign: when it was last seen, ISO 8601.
            reason: how it is known.
            now: the time.
            steps: the newest checkpoint's step of each trial that it had.
        """
        if not state.is_there(worker):
            return []
        events: list[Event] = []
        for number in sorted(state.running):
            trial = state.trials[number]
            if trial.worker == worker:
                until = max(datetime.fromisoformat(last_sign), datetime.fromisoformat(trial.taken_at or last_sign))
                seconds = (until - datetime.fromisoformat(trial.taken_at or last_sign)).total_seconds()
                step = steps.get(number)
                events += self.released(state, number, worker, reason=reason, step=step, seconds=seconds)
        left: Event = {"event": "left", "worker": worker, "reason": reason, "at": last_sign}
        return [*events, left]

    # -- what a person asks ----------------------------------------------------------------------------------------

    def retry(self, state: SweepState, trials: Sequence[int] | None) -> list[Event]:
        """Trials that have failed may be taken again, with the same values; None: all that have."""
        chosen = sorted(state.trials) if trials is None else trials
        return [
            {"event": "retried", "trial": number}
            for number in chosen
            if number in state.trials and state.trials[number].state == "failed"
        ]

    # -- inside ----------------------------------------------------------------------------------------------------

    def halving(self, state: SweepState) -> Halving:
        """The rule that decides who goes on."""
        needs_cap = len(self._definition.rungs) > 0 and self._definition.scheduler not in ("asha", "stop")
        cap = self.draws.run_cap(state) if needs_cap else None
        if self._rule_of is None or self._rule_of[0] != cap:
            self._rule_of = cap, self._make_rule(cap)
        return self._rule_of[1]

    def _make_rule(self, cap: int | None) -> Halving:
        definition = self._definition
        rungs = len(definition.rungs) + 1
        if rungs == 1:
            return NoHalving()
        if definition.scheduler == "asha":
            return DelayedAsha(rungs=rungs, eta=definition.eta)
        if definition.scheduler == "stop":
            return StopBehind(rungs=rungs, eta=definition.eta, strict=definition.strict)
        assert cap is not None, "successive halving is launched with a number of trials"
        if definition.scheduler == "hyperband":
            return make_hyperband(rungs=rungs, eta=definition.eta, run_cap=cap)
        return SuccessiveHalving(rungs=rungs, eta=definition.eta, sizes=(cap,))

    def _draw(self, state: SweepState, rule: Halving) -> dict[str, Any] | None:
        fields, number = self.draws.next_values(state), len(state.trials)
        if fields is None:
            return None
        bracket = rule.bracket_of(number)
        return {"event": "drawn", "trial": number, **fields, "bracket": bracket, "rung": rule.first_rung(bracket)}

    def _take(self, trial: int, rung: int, worker: str, before: Sequence[Event]) -> tuple[Work, list[Event]]:
        until = self.until(rung)
        taken: Event = {"event": "taken", "trial": trial, "worker": worker, "until": until}
        return Work(kind="train", trial=trial, until=until), [*before, taken]

    def _promotion(self, trial: Trial) -> Event:
        return {"event": "promoted", "trial": trial.number, "until": self.until(trial.rung + 1)}

    def _has(self, state: SweepState, trial: int, worker: str) -> bool:
        entry = state.trials.get(trial)
        return entry is not None and entry.state == "running" and entry.worker == worker
