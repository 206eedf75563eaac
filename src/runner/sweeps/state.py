"""The state of a sweep: its journal, folded event by event."""

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict

from runner.runs.record_types.check import check_for
from runner.runs.record_types.rules import Count, Time
from runner.sweeps.attendance import Attendance
from runner.sweeps.events import Entry
from runner.sweeps.fields import check_fields

TrialState = Literal["ready", "running", "paused", "finished", "failed"]

WORST = math.inf
"""The score of a trial whose metric is no number: it is behind every other, and never goes on."""


@dataclass(kw_only=True)
class Trial:
    """One trial, as the journal knows it."""

    number: int
    values: Mapping[str, Any]
    """By parameter."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What they set in the recipe, by dotted name."""
    quantiles: Mapping[str, float] = field(default_factory=dict)
    bracket: int = 0
    """Hyperband's; 0 elsewhere."""
    state: TrialState = "ready"
    rung: int = 0
    """Which rung it is on its way to, or waits at; counted from 0."""
    worker: str | None = None
    """Who has it."""
    taken_at: str | None = None
    step: int = 0
    """The step of its newest known checkpoint."""
    scores: dict[int, float | None] = field(default_factory=dict)
    """The metric by rung, in the journal's own sign; None: no number."""
    value: float | None = None
    """The metric's newest value."""
    failure: str | None = None
    """Why it failed."""
    kind: str | None = None
    """The kind of the failure."""
    failures: int = 0
    """How often it has failed."""
    releases: int = 0
    """How often workers have lost it since it last got further."""
    interruptions: int = 0
    """How often workers have lost it in all."""
    seconds: float = 0.0
    """How long workers have had it."""
    cost: float = 0.0
    """What that cost, in US dollars."""
    after: int = 0
    """The journal's entry that its values were drawn after: what the search knew."""


@dataclass(kw_only=True)
class Worker:
    """One worker, as the journal knows it."""

    name: str
    joined_at: str
    left_at: str | None = None
    reason: str | None = None
    """Why it left."""
    host: str | None = None
    accelerator: str | None = None
    dollars_per_hour: float = 0.0


class Rung:
    """The trials that have reached a rung of a bracket, the best first.

    Equal scores are in the order of the trials' numbers; a score that is no number is behind all others.
    """

    def __init__(self) -> None:
        self.ranked: list[tuple[float, int]] = []
        """Score (less is better) and number of each trial that has reached it."""
        self.promoted: set[int] = set()
        """The trials that have gone on from it."""
        self.waiting: list[tuple[float, int]] = []
        """Those that have not, the best first."""

    def add(self, trial: int, score: float) -> None:
        """Note that a trial has reached it."""
        bisect.insort(self.ranked, (score, trial))
        bisect.insort(self.waiting, (score, trial))

    def promote(self, trial: int, score: float) -> None:
        """Note that a trial has gone on."""
        self.promoted.add(trial)
        place = bisect.bisect_left(self.waiting, (score, trial))
        if place < len(self.waiting) and self.waiting[place] == (score, trial):
            del self.waiting[place]

    def rank(self, trial: int, score: float) -> int:
        """A trial's place among those that have reached it, counted from 0."""
        return bisect.bisect_left(self.ranked, (score, trial))


_AS_THEY_ARE = (
    *("known", "stop", "drain", "space", "method", "run_cap", "limits"),
    *("failures_in_a_row", "last_failure", "last_reason"),
)
"""What a snapshot holds as the state does."""


class Snapshot(TypedDict):
    """``snapshots/<n>.json``: a state, without what follows from the rest."""

    number: Count
    at: Time | None
    trials: list[Any]
    """Each the fields of a `Trial`."""
    workers: list[Any]
    """Each the fields of a `Worker`."""
    promoted: list[list[Any]]
    """Bracket, rung, and the numbers of the trials that went on from it."""
    lost: list[list[int]]
    """Bracket, rung, and how many trials have failed on their way to it."""
    ended: list[str] | None
    attendance: Mapping[str, Any]
    """`Attendance.to_mapping`."""
    known: list[Mapping[str, Any]]
    stop: str | None
    drain: bool
    space: Mapping[str, Any] | None
    method: str | None
    run_cap: Count | None
    limits: Mapping[str, float | None]
    failures_in_a_row: Count
    last_failure: str | None
    last_reason: NotRequired[str | None]


class SweepState:
    """All that has happened in a sweep. `apply` adds the next entry of the journal; nothing else changes it.

    Args:
        rungs: how many rungs there are, the end of the training included.
        sign: what a metric's value is multiplied with so that less is better.
    """

    def __init__(self, *, rungs: int, sign: int) -> None:
        self._sign = sign
        self.rung_count = rungs
        self.number = 0
        """The newest entry."""
        self.at: str | None = None
        """When that was written."""
        self.trials: dict[int, Trial] = {}
        self.workers: dict[str, Worker] = {}
        self.attendance = Attendance()
        """How long workers have been there."""
        self.known: list[dict[str, Any]] = []
        """Results from outside of the sweep (`Known`)."""
        self.ready: set[int] = set()
        self.running: set[int] = set()
        self.held: dict[str, int] = {}
        """The trial that each worker has."""
        self.finished: list[tuple[float, int]] = []
        """Score and number of the trials that were trained to their end, the best first."""
        self.board: dict[tuple[int, int], Rung] = {}
        """Rungs by bracket and number."""
        self.entered: dict[int, int] = {}
        """How many trials each bracket has been given."""
        self.lost: dict[tuple[int, int], int] = {}
        """How many trials have failed for good on their way to a rung, by bracket and rung."""
        self.stop: str | None = None
        """Why no trial is taken; None: the sweep goes on."""
        self.drain = False
        """Whether trials that run may reach their next rung although `stop` is set."""
        self.ended: tuple[str, str] | None = None
        """How the sweep ended, and why."""
        self.space: Mapping[str, Any] | None = None
        """A space that has taken the place of the definition's."""
        self.method: str | None = None
        self.run_cap: int | None = None
        self.limits: dict[str, float | None] = {}
        """`max_cost` and `max_hours` where they are others than the definition's."""
        self.failures_in_a_row: int = 0
        self.last_failure: str | None = None
        """The cause that those have in common."""
        self.last_reason: str | None = None
        """The newest of them, as it was said."""

    # -- reading ---------------------------------------------------------------------------------------------------

    def rung(self, bracket: int, number: int) -> Rung:
        """A rung of a bracket."""
        return self.board.setdefault((bracket, number), Rung())

    def is_there(self, worker: str) -> bool:
        """Whether a worker has joined and not left."""
        return worker in self.workers and self.workers[worker].left_at is None

    def score(self, value: float | None) -> float:
        """A metric's value as a score: less is better, and what is no number is worst."""
        return WORST if value is None or not math.isfinite(value) else self._sign * value

    def spent(self, now: datetime) -> float:
        """US dollars that the sweep has cost."""
        return self.attendance.dollars(now)

    def machine_hours(self, now: datetime) -> float:
        """Hours of all workers together."""
        return self.attendance.machine_hours(now)

    def hours(self, now: datetime) -> float:
        """Hours of the clock in which the sweep had a worker."""
        return self.attendance.hours(now)

    def best(self, count: int = 1) -> list[Trial]:
        """The best trials: those trained to their end, then those that got furthest. None that failed."""
        ended = [self.trials[number] for score, number in self.finished if score < WORST]
        if len(ended) >= count:
            return ended[:count]
        paused = [
            trial
            for trial in self.trials.values()
            if trial.state not in ("finished", "failed") and trial.scores and self.score(self._newest(trial)) < WORST
        ]
        paused.sort(key=lambda trial: (-max(trial.scores), self.score(self._newest(trial)), trial.number))
        return [*ended, *paused][:count]

    def _newest(self, trial: Trial) -> float | None:
        return trial.scores[max(trial.scores)]

    # -- folding ---------------------------------------------------------------------------------------------------

    def apply(self, entry: Entry) -> None:
        """Add the next entry.

        Raises:
            ValueError: it is not the next one.
        """
        if entry["number"] != self.number + 1:
            raise ValueError(f"entry {entry['number']} does not follow {self.number}")
        for event in entry["events"]:
            handler = getattr(self, f"_on_{event['event']}", None)
            if handler is not None:  # what a newer version has added says nothing to this one
                handler(event, entry["at"])
        self.number, self.at = entry["number"], entry["at"]

    def _on_drawn(self, event: Mapping[str, Any], at: str) -> None:
        trial = Trial(
            number=event["trial"],
            values=event["values"],
            settings=event.get("settings", event["values"]),
            quantiles=event.get("quantiles", {}),
            bracket=event.get("bracket", 0),
            rung=event.get("rung", 0),
            after=self.number,
        )
        self.trials[trial.number] = trial
        self.entered[trial.bracket] = self.entered.get(trial.bracket, 0) + 1
        self.ready.add(trial.number)

    def _on_taken(self, event: Mapping[str, Any], at: str) -> None:
        trial = self.trials[event["trial"]]
        trial.state, trial.worker, trial.taken_at = "running", event["worker"], at
        self.ready.discard(trial.number)
        self.running.add(trial.number)
        self.held[event["worker"]] = trial.number

    def _on_reached(self, event: Mapping[str, Any], at: str) -> None:
        trial = self._given_back(event)
        trial.state, trial.releases, trial.step, trial.value = "paused", 0, event["step"], event["value"]
        trial.scores[trial.rung] = event["value"]
        self.rung(trial.bracket, trial.rung).add(trial.number, self.score(event["value"]))
        self._note_success()

    def _on_finished(self, event: Mapping[str, Any], at: str) -> None:
        trial = self._given_back(event)
        trial.state, trial.step, trial.value = "finished", event["step"] or trial.step, event["value"]
        score = self.score(event["value"])
        last = self.rung_count - 1
        for number in range(trial.rung, last + 1):  # early stopping may end it before a rung
            trial.scores[number] = event["value"]
            self.rung(trial.bracket, number).add(trial.number, score)
            if number < last:
                self.rung(trial.bracket, number).promote(trial.number, score)
        trial.rung = last
        bisect.insort(self.finished, (score, trial.number))
        self._note_success()

    def _on_released(self, event: Mapping[str, Any], at: str) -> None:
        trial = self._given_back(event)
        trial.state = "ready"
        step = event.get("step")
        if not event.get("stopped"):
            trial.interruptions += 1
            trial.releases = 0 if step is not None and step > trial.step else trial.releases + 1
        trial.step = max(trial.step, step or 0)
        self.ready.add(trial.number)

    def _on_failed(self, event: Mapping[str, Any], at: str) -> None:
        trial = self._given_back(event)
        trial.state, trial.failure, trial.kind = "failed", event["reason"], event["kind"]
        trial.step = max(trial.step, event.get("step") or 0)
        trial.failures += 1
        key = (trial.bracket, trial.rung)
        self.lost[key] = self.lost.get(key, 0) + 1
        cause = _cause(event)
        self.failures_in_a_row = self.failures_in_a_row + 1 if cause == self.last_failure else 1
        self.last_failure, self.last_reason = cause, event["reason"]

    def _on_retried(self, event: Mapping[str, Any], at: str) -> None:
        trial = self.trials[event["trial"]]
        trial.state, trial.releases = "ready", 0
        self.lost[(trial.bracket, trial.rung)] -= 1
        self.ready.add(trial.number)

    def _on_promoted(self, event: Mapping[str, Any], at: str) -> None:
        trial = self.trials[event["trial"]]
        self.rung(trial.bracket, trial.rung).promote(trial.number, self.score(trial.scores[trial.rung]))
        trial.rung += 1
        trial.state = "ready"
        self.ready.add(trial.number)

    def _on_joined(self, event: Mapping[str, Any], at: str) -> None:
        worker = Worker(
            name=event["worker"],
            joined_at=at,
            host=event.get("host"),
            accelerator=event.get("accelerator"),
            dollars_per_hour=event.get("dollars_per_hour", 0.0),
        )
        if self.is_there(worker.name):  # its first word counts
            return
        self.workers[worker.name] = worker
        self.attendance.join(worker.name, datetime.fromisoformat(at), worker.dollars_per_hour)

    def _on_left(self, event: Mapping[str, Any], at: str) -> None:
        worker = self.workers.get(event["worker"])
        if worker is not None and worker.left_at is None:
            joined, left = (datetime.fromisoformat(text) for text in (worker.joined_at, event.get("at", at)))
            worker.left_at = worker.joined_at if left < joined else event.get("at", at)
            worker.reason = event["reason"]
            self.attendance.leave(worker.name, max(left, joined))

    def _on_stop_requested(self, event: Mapping[str, Any], at: str) -> None:
        self.stop, self.drain = event["reason"], event.get("drain", False)

    def _on_resumed(self, event: Mapping[str, Any], at: str) -> None:
        self.stop, self.drain, self.ended = None, False, None
        self.failures_in_a_row, self.last_failure = 0, None
        for name in ("max_cost", "max_hours"):
            if name in event:
                self.limits[name] = event[name]
        self.run_cap = event.get("run_cap", self.run_cap)

    def _on_changed(self, event: Mapping[str, Any], at: str) -> None:
        self.space = event["space"]
        self.method = event.get("method", self.method)
        self.run_cap = event.get("run_cap", self.run_cap)
        self.failures_in_a_row, self.last_failure = 0, None

    def _on_known(self, event: Mapping[str, Any], at: str) -> None:
        self.known.append({name: value for name, value in event.items() if name != "event"})

    def _on_ended(self, event: Mapping[str, Any], at: str) -> None:
        self.ended = event["state"], event["reason"]

    def _given_back(self, event: Mapping[str, Any]) -> Trial:
        """A trial that its worker has no longer."""
        trial = self.trials[event["trial"]]
        worker = self.workers.get(event["worker"])
        trial.worker, trial.taken_at = None, None
        trial.seconds += event["seconds"]
        trial.cost += event["seconds"] / 3600 * (worker.dollars_per_hour if worker else 0.0)
        self.running.discard(trial.number)
        if self.held.get(event["worker"]) == trial.number:
            del self.held[event["worker"]]
        return trial

    def _note_success(self) -> None:
        self.failures_in_a_row, self.last_failure = 0, None

    # -- snapshots -------------------------------------------------------------------------------------------------

    def to_mapping(self) -> dict[str, Any]:
        """The state in JSON, to be encoded at once: it shares its values with the state. What follows is left out."""
        promoted = [
            [bracket, number, sorted(rung.promoted)]
            for (bracket, number), rung in sorted(self.board.items())
            if rung.promoted
        ]
        return {
            "version": 1,
            "number": self.number,
            "at": self.at,
            "trials": [dict(vars(trial)) for trial in self.trials.values()],
            "workers": [dict(vars(worker)) for worker in self.workers.values()],
            "attendance": self.attendance.to_mapping(),
            "promoted": promoted,
            "lost": [[bracket, rung, count] for (bracket, rung), count in sorted(self.lost.items())],
            "ended": self.ended,
            **{name: getattr(self, name) for name in _AS_THEY_ARE},
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], *, rungs: int, sign: int) -> "SweepState":
        """Restore what `to_mapping` returned.

        Raises:
            KeyError, TypeError, ValueError: it is no state.
        """
        check_for(Snapshot)(mapping, "")
        state = cls(rungs=rungs, sign=sign)
        state.number, state.at = mapping["number"], mapping["at"]
        for name in _AS_THEY_ARE:
            setattr(state, name, mapping[name] if name in mapping else getattr(state, name))
        state.ended = None if mapping["ended"] is None else tuple(mapping["ended"])
        state.workers = {
            entry["name"]: Worker(**check_fields(Worker, entry, joined_at=Time, left_at=Time | None))
            for entry in mapping["workers"]
        }
        state.attendance = Attendance.from_mapping(mapping["attendance"])
        for worker in state.workers.values():
            if worker.left_at is None:
                joined = datetime.fromisoformat(worker.joined_at)
                state.attendance.join(worker.name, joined, worker.dollars_per_hour)
        state.lost = {(bracket, rung): count for bracket, rung, count in mapping["lost"]}
        for entry in mapping["trials"]:
            fields = check_fields(Trial, entry, state=TrialState, taken_at=Time | None, number=Count, rung=Count)
            fields["scores"] = scores = {int(rung): value for rung, value in fields["scores"].items()}
            trial = Trial(**fields)
            state.trials[trial.number] = trial
            state.entered[trial.bracket] = state.entered.get(trial.bracket, 0) + 1
            if trial.state == "ready":
                state.ready.add(trial.number)
            elif trial.state == "running":
                state.running.add(trial.number)
                state.held[str(trial.worker)] = trial.number
            elif trial.state == "finished":
                state.finished.append((state.score(trial.value), trial.number))
            for rung, value in scores.items():
                board = state.rung(trial.bracket, rung)
                board.ranked.append((state.score(value), trial.number))
        state.finished.sort()
        for bracket, rung, numbers in mapping["promoted"]:
            state.rung(bracket, rung).promoted = set(numbers)
        for board in state.board.values():
            board.ranked.sort()
            board.waiting = [entry for entry in board.ranked if entry[1] not in board.promoted]
        return state


def _cause(event: Mapping[str, Any]) -> str:
    """What failures with one cause have in common: their kind and reason, without what differs from trial to trial."""
    reason = "".join("#" if character.isdigit() else character for character in event["reason"])
    return f"{event['kind']}: {reason}"
