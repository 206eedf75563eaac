"""The state of a sweep: its journal, folded event by event."""

import bisect
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from runner.sweeps.attendance import Attendance
from runner.sweeps.events import Entry
from runner.sweeps.members import WORST, Rung, Trial, Worker


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
            self.apply_event(event, entry["at"])
        self.number, self.at = entry["number"], entry["at"]

    def apply_event(self, event: Mapping[str, Any], at: str) -> None:
        """Add one event: of an entry, or to see what would be, in a copy of this state."""
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is not None:  # what a newer version has added says nothing to this one
            handler(event, at)

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


def _cause(event: Mapping[str, Any]) -> str:
    """What failures with one cause have in common: their kind and reason, without what differs from trial to trial."""
    reason = "".join("#" if character.isdigit() else character for character in event["reason"])
    return f"{event['kind']}: {reason}"
