"""Snapshots of a sweep's state in JSON: what an entry of the journal is read from, instead of all before it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NotRequired, TypedDict

from runner.runs.record_types.check import check_for
from runner.runs.record_types.rules import Count, Time
from runner.sweeps.attendance import Attendance
from runner.sweeps.fields import check_fields
from runner.sweeps.members import Trial, TrialState, Worker
from runner.sweeps.state import SweepState

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


def make_snapshot(state: SweepState) -> dict[str, Any]:
    """Return a state in JSON, to be encoded at once: it shares its values with the state. What follows is left out."""
    promoted = [
        [bracket, number, sorted(rung.promoted)]
        for (bracket, number), rung in sorted(state.board.items())
        if rung.promoted
    ]
    return {
        "version": 1,
        "number": state.number,
        "at": state.at,
        "trials": [dict(vars(trial)) for trial in state.trials.values()],
        "workers": [dict(vars(worker)) for worker in state.workers.values()],
        "attendance": state.attendance.to_mapping(),
        "promoted": promoted,
        "lost": [[bracket, rung, count] for (bracket, rung), count in sorted(state.lost.items())],
        "ended": state.ended,
        **{name: getattr(state, name) for name in _AS_THEY_ARE},
    }


def restore_snapshot(mapping: Mapping[str, Any], *, rungs: int, sign: int) -> SweepState:
    """Restore what `make_snapshot` returned.

    Raises:
        KeyError, TypeError, ValueError: it is no state.
    """
    check_for(Snapshot)(mapping, "")
    state = SweepState(rungs=rungs, sign=sign)
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
        _add_trial(state, entry)
    for bracket, rung, numbers in mapping["promoted"]:
        state.rung(bracket, rung).promoted = set(numbers)
    for board in state.board.values():
        board.ranked.sort()
        board.waiting = [entry for entry in board.ranked if entry[1] not in board.promoted]
    state.finished.sort()
    return state


def _add_trial(state: SweepState, entry: Mapping[str, Any]) -> None:
    """Add a trial, and what follows from it, in no order yet."""
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
