"""What a journal folds to."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.sweeps.snapshot import make_snapshot, restore_snapshot
from runner.sweeps.state import SweepState
from support.sweeping.story import NAN, START, Story

RUNGS = {"scheduler": "successive_halving", "rungs": (10, 30), "max_steps": 90, "run_cap": 9}


def restored(story: Story) -> SweepState:
    """The state after a snapshot was written and read."""
    text = json.dumps(make_snapshot(story.state))
    return restore_snapshot(json.loads(text), rungs=story.state.rung_count, sign=story.definition.sign)


def everything(state: SweepState) -> Any:
    """All that a state knows, also what a snapshot leaves out."""
    boards = {
        place: (rung.ranked, sorted(rung.promoted), rung.waiting)
        for place, rung in sorted(state.board.items())
        if rung.ranked
    }
    return (
        json.dumps(make_snapshot(state), sort_keys=True),
        boards,
        state.ready,
        state.running,
        state.held,
        state.finished,
        [round(call(START + timedelta(hours=9)), 9) for call in (state.spent, state.hours, state.machine_hours)],
        state.entered,
        {place: count for place, count in state.lost.items() if count},
    )


_MOVES = st.lists(
    st.tuples(
        st.sampled_from(
            ["draw", "reach", "fail", "release", "promote", "retry", "stop", "resume", "leave", "join", "hold"]
        ),
        st.integers(0, 5),
        st.sampled_from([0.1, 0.5, 0.5, 1.0, None, NAN]),
    ),
    max_size=60,
)


def play(story: Story, moves: list[tuple[str, int, float | None]]) -> Any:
    """Tell what may happen of these moves; yield after each."""
    for move, which, value in moves:
        state = story.state
        ready, failed = sorted(state.ready), [t.number for t in state.trials.values() if t.state == "failed"]
        if move == "draw":
            story.draw(len(state.trials))
        elif move == "reach" and ready:
            story.reach({ready[which % len(ready)]: value})
        elif move == "fail" and ready:
            story.fail(ready[which % len(ready)], kind=["diverged", "error"][which % 2])
        elif move == "release" and ready:
            story.take(ready[which % len(ready)])
            story.release(ready[which % len(ready)], step=which * 3)
        elif move == "promote":
            story.promote(drawing=which > 2)
        elif move == "retry" and failed:
            story.tell(*story.controller.retry(state, failed))
        elif move == "stop":
            story.tell({"event": "stop_requested", "reason": "enough", "drain": which > 2})
        elif move == "resume":
            story.tell({"event": "resumed", "max_cost": 5.0 + which})
        elif move == "hold" and ready:
            story.take(ready[which % len(ready)], f"holder of {ready[which % len(ready)]}")
        elif move == "leave":
            story.wait(hours=1)
            story.tell({"event": "left", "worker": "w", "reason": "gone"})
        elif move == "join":
            story.wait(hours=0.5)
            story.tell({"event": "joined", "worker": f"j{len(state.workers)}", "dollars_per_hour": 0.3})
        yield


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
@pytest.mark.parametrize("scheduler", ["successive_halving", "asha", "stop"])
@given(moves=_MOVES)
@settings(max_examples=40, deadline=None)
def test_a_snapshot_after_any_entry_is_the_state(scheduler: str, goal: str, moves: list[Any]) -> None:
    story = Story("w", "v", **{**RUNGS, "scheduler": scheduler, "goal": goal})
    for _ in play(story, moves):
        assert everything(restored(story)) == everything(story.state)


@given(before=_MOVES, after=_MOVES)
@settings(max_examples=60, deadline=None)
def test_what_follows_a_snapshot_is_folded_as_if_there_had_been_none(before: list[Any], after: list[Any]) -> None:
    story = Story("w", **RUNGS)
    for _ in play(story, before):
        pass
    state, known = restored(story), len(story.entries)
    for _ in play(story, after):
        pass
    for entry in story.entries[known:]:
        state.apply(json.loads(json.dumps(entry)))
    assert everything(state) == everything(story.state)


def test_a_snapshot_of_an_older_version_may_lack_what_a_newer_one_has_added() -> None:
    story = Story("w", **RUNGS)
    mapping = make_snapshot(story.state)
    del mapping["last_reason"]
    assert restore_snapshot(mapping, rungs=3, sign=1).last_reason is None


def test_an_entry_out_of_order_is_refused() -> None:
    story = Story("w", **RUNGS)
    with pytest.raises(ValueError, match="does not follow"):
        story.state.apply({**story.entries[0], "number": 3})  # type: ignore[typeddict-item]


def test_events_of_a_newer_version_change_nothing() -> None:
    story = Story("w", **RUNGS)
    before = everything(story.state)[1:]
    story.tell({"event": "invented_later", "trial": 7})
    assert everything(story.state)[1:] == before


# -- time and money --------------------------------------------------------------------------------------------------


def test_hours_of_the_clock_count_once_however_many_workers_there_are() -> None:
    story = Story("a", "b")
    story.wait(hours=2)
    story.tell({"event": "left", "worker": "a", "reason": "done"})
    story.wait(hours=1)
    story.tell({"event": "left", "worker": "b", "reason": "done"})
    story.wait(hours=5)  # nobody is there
    story.tell({"event": "joined", "worker": "c", "dollars_per_hour": 2.0})
    story.wait(hours=1)
    assert story.state.hours(story.clock) == pytest.approx(4)
    assert story.state.machine_hours(story.clock) == pytest.approx(6)
    assert story.state.spent(story.clock) == pytest.approx(2 + 3 + 2)


def test_a_lost_worker_costs_until_it_was_last_seen() -> None:
    story = Story("w")
    story.draw(0)
    story.take(0)
    story.wait(hours=1)
    last_sign = story.clock.isoformat()
    story.wait(hours=3)
    lost = story.controller.lost(story.state, "w", last_sign=last_sign, reason="no sign", now=story.clock)
    story.tell(*lost)
    assert story.state.spent(story.clock) == pytest.approx(1)
    assert story.state.trials[0].state == "ready"
    assert story.state.trials[0].seconds == pytest.approx(3600)


def test_a_clock_that_is_behind_makes_no_negative_hours() -> None:
    story = Story("w")
    before = (START - timedelta(hours=1)).isoformat()
    story.tell({"event": "left", "worker": "w", "reason": "done", "at": before})
    assert story.state.spent(story.clock) == 0
    assert story.state.hours(story.clock) == 0


def test_a_trial_costs_what_its_workers_cost_while_they_had_it() -> None:
    story = Story("w", **RUNGS)
    story.draw(0)
    story.reach({0: 1.0}, seconds=1800)
    assert story.state.trials[0].cost == pytest.approx(0.5)


# -- the best --------------------------------------------------------------------------------------------------------


def test_the_best_is_a_finished_trial_even_if_a_paused_one_has_a_better_value() -> None:
    story = Story("w", **{**RUNGS, "run_cap": 3})
    story.draw(0, 1, 2)
    story.reach({0: 1.0, 1: 2.0, 2: 3.0})
    story.promote()
    story.reach({0: 5.0})
    story.promote()
    story.reach({0: 6.0})
    assert [trial.number for trial in story.state.best(5)] == [0, 1, 2]


def test_before_any_is_finished_the_best_is_the_best_of_those_that_got_furthest() -> None:
    story = Story("w", **RUNGS)
    story.draw(*range(9))
    story.reach({number: 1.0 + number for number in range(9)})
    story.promote_all()
    story.reach({0: 9.0, 1: 8.0})
    assert [trial.number for trial in story.state.best(3)] == [1, 0, 2]


def test_what_failed_or_is_no_number_is_never_the_best() -> None:
    story = Story("w")
    story.draw(0, 1, 2)
    story.reach({0: NAN, 1: 4.0})
    story.fail(2)
    assert [trial.number for trial in story.state.best(3)] == [1]
