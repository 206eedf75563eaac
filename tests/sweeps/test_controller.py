"""What the controller decides: who gets which trial, what is tried again, and when a sweep ends or stops."""

import pytest

from runner.sweeps.ending import reason_to_stop
from support.sweeping.spaces import make_space
from support.sweeping.story import NAN, Story

SPACE = make_space(x={"values": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]}).to_mapping()


def story(*workers: str, **changes: object) -> Story:
    return Story(*(workers or ("w",)), **{"space": SPACE, "run_cap": 4, **changes})


# -- work ------------------------------------------------------------------------------------------------------------


def test_two_workers_get_different_trials() -> None:
    sweep = story("a", "b")
    assert [sweep.work("a").trial, sweep.work("b").trial] == [0, 1]
    assert sweep.state.trials[0].values != sweep.state.trials[1].values


def test_a_lost_trial_is_taken_before_a_new_one_is_drawn() -> None:
    sweep = story("a", "b")
    sweep.work("a")
    sweep.release(0, "a", step=7)
    work = sweep.work("b")
    assert (work.kind, work.trial) == ("train", 0)
    assert sweep.state.trials[0].interruptions == 1


def test_the_trial_that_got_furthest_is_taken_first() -> None:
    sweep = story("a", scheduler="asha", rungs=(10,), max_steps=30, run_cap=None)
    for number in range(3):
        sweep.work("a")
        sweep.tell(*sweep.controller.reached(sweep.state, number, "a", step=10, value=number, best=number, seconds=1.0))
    sweep.work("a")
    assert sweep.state.trials[0].rung == 1  # promoted at the third arrival
    sweep.release(0, "a", step=20)
    sweep.draw(3)
    assert sweep.work("a").trial == 0


def test_a_worker_waits_as_long_as_others_may_bring_work() -> None:
    sweep = story("a", "b", run_cap=1)
    sweep.work("a")
    assert sweep.work("b").kind == "wait"


def test_a_sweep_ends_when_all_trials_are_done() -> None:
    sweep = story(run_cap=2)
    for value in (2.0, 1.0):
        number = sweep.work().trial
        sweep.tell(*sweep.controller.finished(sweep.state, number, "w", step=9, value=value, seconds=1.0))
    assert sweep.work().kind == "leave"
    assert sweep.state.ended == ("succeeded", "all trials are done: trial 1 is the best, eval_loss 1")


def test_a_sweep_without_any_result_has_failed_and_says_why() -> None:
    sweep = story(run_cap=1)
    sweep.draw(0)
    sweep.fail(0, reason="loss is nan at step 3")
    sweep.work()
    assert sweep.state.ended is not None
    assert sweep.state.ended[0] == "failed"
    assert "loss is nan at step 3" in sweep.state.ended[1]


@pytest.mark.parametrize(("goal", "target", "value"), [("minimize", 1.0, 0.9), ("maximize", 0.8, 0.9)])
def test_a_finished_trial_that_reaches_the_target_ends_the_sweep(goal: str, target: float, value: float) -> None:
    sweep = story("a", "b", goal=goal, target=target)
    number = sweep.work("a").trial
    other = sweep.work("b").trial
    sweep.tell(*sweep.controller.finished(sweep.state, number, "a", step=9, value=value, seconds=1.0))
    assert sweep.work("a").kind == "leave"
    assert sweep.state.ended[0] == "succeeded"  # type: ignore[index]
    assert "target" in sweep.controller.must_pause(sweep.state, other, "b", now=sweep.clock)  # type: ignore[operator]


def test_a_value_that_misses_the_target_does_not_end_it() -> None:
    sweep = story(goal="maximize", target=0.8)
    number = sweep.work().trial
    sweep.tell(*sweep.controller.finished(sweep.state, number, "w", step=9, value=0.7, seconds=1.0))
    assert sweep.work().kind == "train"


# -- fencing ---------------------------------------------------------------------------------------------------------


def test_a_zombie_reports_in_vain() -> None:
    sweep = story("a", "b")
    sweep.work("a")
    lost = sweep.controller.lost(sweep.state, "a", last_sign=sweep.clock.isoformat(), reason="gone", now=sweep.clock)
    sweep.tell(*lost)
    assert sweep.work("b").trial == 0
    controller, state = sweep.controller, sweep.state
    told = {"step": 9, "value": 0.1, "seconds": 1.0}
    assert controller.reached(state, 0, "a", best=0.1, **told) == []  # type: ignore[arg-type]
    assert controller.finished(state, 0, "a", **told) == []  # type: ignore[arg-type]
    assert controller.failed(state, 0, "a", kind="error", reason="x", step=1, seconds=1.0) == []
    assert controller.released(state, 0, "a", reason="x", step=1, seconds=1.0) == []
    assert controller.must_pause(state, 0, "a", now=sweep.clock) == "another worker has the trial"
    assert controller.must_pause(state, 0, "b", now=sweep.clock) is None


def test_a_worker_is_lost_once() -> None:
    sweep = story("a")
    sweep.work("a")
    told = {"last_sign": sweep.clock.isoformat(), "reason": "gone", "now": sweep.clock}
    sweep.tell(*sweep.controller.lost(sweep.state, "a", **told))  # type: ignore[arg-type]
    assert sweep.controller.lost(sweep.state, "a", **told) == []  # type: ignore[arg-type]
    assert sweep.controller.lost(sweep.state, "never seen", **told) == []  # type: ignore[arg-type]


# -- failures --------------------------------------------------------------------------------------------------------


def test_an_error_is_tried_again_so_often_with_the_same_values() -> None:
    sweep = story(retries=2)
    values = []
    for _ in range(3):
        number = sweep.work().trial
        assert number == 0
        values.append(sweep.state.trials[0].values)
        sweep.tell(*sweep.controller.failed(sweep.state, 0, "w", kind="error", reason="disk", step=1, seconds=1.0))
    assert sweep.state.trials[0].state == "failed"
    assert values[0] == values[1] == values[2]
    assert sweep.work().trial == 1


@pytest.mark.parametrize("kind", ["diverged", "out_of_memory", "mistake"])
def test_what_the_values_or_the_recipe_caused_is_not_tried_again(kind: str) -> None:
    sweep = story(retries=2)
    sweep.draw(0)
    sweep.fail(0, kind=kind)
    assert sweep.state.trials[0].state == "failed"


def test_a_failed_trial_may_be_taken_again_by_command() -> None:
    sweep = story(run_cap=2)
    sweep.draw(0, 1)
    sweep.fail(0)
    sweep.reach({1: 1.0})
    assert [event["event"] for event in sweep.controller.retry(sweep.state, None)] == ["retried"]
    assert sweep.controller.retry(sweep.state, [1, 7]) == []
    sweep.tell(*sweep.controller.retry(sweep.state, [0]))
    assert sweep.work().trial == 0


def test_ten_failures_in_a_row_with_one_cause_stop_the_sweep_and_say_it() -> None:
    sweep = story(run_cap=None)
    for number in range(10):
        assert reason_to_stop(sweep.definition, sweep.state, now=sweep.clock) is None
        sweep.draw(number)
        sweep.fail(number, kind="mistake", reason=f"no file data-{number}.jsonl")
    assert sweep.work().kind == "leave"
    assert sweep.state.stop == "10 failures in a row with one cause: no file data-9.jsonl"


def test_failures_with_several_causes_or_with_successes_between_do_not_stop_it() -> None:
    sweep = story(run_cap=None)
    for number in range(0, 30, 3):
        sweep.draw(number, number + 1, number + 2)
        sweep.fail(number, reason="loss is nan")
        sweep.fail(number + 1, kind="out_of_memory", reason="CUDA out of memory")
        sweep.reach({number + 2: 1.0})
    assert reason_to_stop(sweep.definition, sweep.state, now=sweep.clock) is None


def test_a_resumed_sweep_begins_to_count_failures_anew() -> None:
    sweep = story(run_cap=None)
    for number in range(10):
        sweep.draw(number)
        sweep.fail(number)
    sweep.work()
    sweep.tell({"event": "resumed"})
    assert sweep.work().kind == "train"


def test_a_trial_that_is_lost_ten_times_without_progress_has_failed() -> None:
    sweep = story()
    sweep.work()
    for count in range(9):
        sweep.release(0, step=5 if count == 0 else None)
        assert sweep.work().trial == 0
    sweep.release(0)  # the ninth without a newer checkpoint
    assert sweep.work().trial == 0
    sweep.release(0)
    assert sweep.state.trials[0].state == "failed"
    assert "lost 10 times without a newer checkpoint" in (sweep.state.trials[0].failure or "")


def test_a_trial_that_gets_further_each_time_may_be_lost_for_ever() -> None:
    sweep = story()
    for count in range(40):
        assert sweep.work().trial == 0
        sweep.release(0, step=count + 1)
    assert sweep.state.trials[0].state == "ready"
    assert sweep.state.trials[0].interruptions == 40


def test_a_pause_that_the_sweep_asked_for_is_no_loss() -> None:
    sweep = story()
    for _ in range(15):
        assert sweep.work().trial == 0
        sweep.release(0, stopped=True)
    assert (sweep.state.trials[0].state, sweep.state.trials[0].interruptions) == ("ready", 0)


# -- budget ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [{"max_cost": 3.0}, {"max_hours": 1.5}])
def test_at_the_cap_trials_pause_and_a_higher_cap_goes_on(limit: dict[str, float]) -> None:
    sweep = story("a", "b", **limit)  # two workers at a dollar an hour: three dollars are spent after 1.5 hours
    sweep.work("a")
    sweep.work("b")
    sweep.wait(hours=1.4)
    assert sweep.controller.must_pause(sweep.state, 0, "a", now=sweep.clock) is None
    sweep.wait(hours=0.1)
    assert sweep.controller.must_pause(sweep.state, 0, "a", now=sweep.clock) is not None
    sweep.release(0, "a", step=40, stopped=True)
    sweep.release(1, "b", step=41, stopped=True)
    assert sweep.work("a").kind == "leave"
    assert sweep.state.stop is not None
    assert sweep.work("b").reason == sweep.state.stop
    assert sweep.state.ended is None
    sweep.tell({"event": "resumed"})  # without a higher cap, it stops again
    assert sweep.work("a").kind == "leave"
    sweep.tell({"event": "resumed", **{name: 2 * value for name, value in limit.items()}})
    work = sweep.work("a")
    assert (work.kind, work.trial, sweep.state.trials[0].step) == ("train", 0, 40)


def test_a_cap_can_be_taken_away() -> None:
    sweep = story(max_cost=1.0)
    sweep.wait(hours=2)
    assert sweep.work().kind == "leave"
    sweep.tell({"event": "resumed", "max_cost": None})
    assert sweep.work().kind == "train"


def test_idle_workers_and_retries_are_paid_too() -> None:
    sweep = story("a", "idle", max_cost=4.0)
    sweep.work("a")
    sweep.wait(hours=2)
    assert reason_to_stop(sweep.definition, sweep.state, now=sweep.clock) == "the budget is spent: $4.00 of $4.00"


def test_a_drain_lets_running_trials_reach_their_rung_and_takes_no_other() -> None:
    sweep = story()
    sweep.work()
    sweep.tell({"event": "stop_requested", "reason": "enough", "drain": True})
    assert sweep.controller.must_pause(sweep.state, 0, "w", now=sweep.clock) is None
    assert sweep.work().kind == "leave"
    sweep.tell({"event": "stop_requested", "reason": "now"})
    assert sweep.controller.must_pause(sweep.state, 0, "w", now=sweep.clock) == "now"


# -- what is drawn ---------------------------------------------------------------------------------------------------


def test_trials_are_the_same_whoever_draws_them() -> None:
    one, other = story("a"), story("b")
    for number in range(4):
        one.work("a")
        other.work("b")
        assert one.state.trials[number].values == other.state.trials[number].values
        for sweep, worker in ((one, "a"), (other, "b")):
            sweep.tell(*sweep.controller.finished(sweep.state, number, worker, step=1, value=1.0, seconds=1.0))


def finish_all(sweep: Story) -> list[object]:
    """Train all there is; the values in the order in which they were drawn."""
    while (work := sweep.work()).kind == "train":
        sweep.tell(*sweep.controller.finished(sweep.state, work.trial, "w", step=1, value=1.0, seconds=1.0))
    return [trial.values["x"] for trial in sweep.state.trials.values()]


def test_a_grid_is_gone_through_once() -> None:
    assert finish_all(story(method="grid", run_cap=None)) == list(range(1, 13))


def test_a_changed_grid_adds_its_points_to_what_was_drawn() -> None:
    sweep = story(method="grid", run_cap=None, space=make_space(x={"values": [1, 2, 3]}).to_mapping())
    assert finish_all(sweep) == [1, 2, 3]
    sweep.tell({"event": "changed", "space": make_space(x={"values": [3, 4]}).to_mapping()}, {"event": "resumed"})
    assert finish_all(sweep) == [1, 2, 3, 4]
    assert sweep.controller.draws.run_cap(sweep.state) == 4


def test_points_of_a_grid_that_are_known_are_not_trained_again() -> None:
    sweep = story(method="grid", run_cap=None, space=make_space(x={"values": [1, 2, 3]}).to_mapping())
    sweep.tell({"event": "known", "source": "before", "values": {"x": 2}, "step": 1, "value": 0.5})
    assert sweep.controller.draws.run_cap(sweep.state) == 2
    assert finish_all(sweep) == [1, 3]


def test_a_random_space_that_is_exhausted_ends_the_sweep() -> None:
    sweep = story(run_cap=50)
    assert sorted(finish_all(sweep)) == list(range(1, 13))  # type: ignore[type-var]
    assert sweep.state.ended is not None


def test_the_search_is_told_what_trials_showed_and_nothing_of_machines() -> None:
    sweep = story(goal="maximize", scheduler="successive_halving", rungs=(10,), max_steps=30, run_cap=6)
    sweep.draw(*range(6))
    sweep.reach({0: 0.5, 1: NAN})
    sweep.fail(2)
    sweep.fail(3, kind="mistake")
    sweep.take(4)
    sweep.release(4)
    sweep.tell({"event": "known", "source": "before", "values": {"x": 12}, "step": 30, "value": 0.9})
    told = {one.trial: (one.state, one.step, one.value) for one in sweep.controller.draws.observations(sweep.state)}
    assert told == {
        0: ("complete", 10, -0.5),  # lower is better
        1: ("infeasible", 10, None),
        2: ("infeasible", 3, None),
        3: ("failed", 3, None),
        4: ("running", None, None),
        5: ("running", None, None),
        -1: ("complete", 30, -0.9),
    }


@pytest.mark.parametrize("left", ["ready", "running", "promotable", "to draw", "nothing"])
def test_whether_anything_is_left_is_what_a_worker_would_be_told(left: str) -> None:
    rungs = {"scheduler": "successive_halving", "rungs": (10,), "max_steps": 30, "eta": 2.0}
    sweep = story("w", "v", run_cap=3 if left == "to draw" else 2, **rungs)
    sweep.draw(0, 1)
    if left == "running":
        sweep.take(0)
        sweep.take(1, "v")
    elif left in ("promotable", "to draw", "nothing"):
        sweep.reach({0: 1.0, 1: 2.0})
    if left == "nothing":
        assert sweep.promote() == 0
        sweep.reach({0: 0.5})
    reason = sweep.controller.nothing_left(sweep.state)
    assert (reason is not None) == (left == "nothing")
