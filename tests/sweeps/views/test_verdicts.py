"""What a trial's verdict says, for every rule."""

import pytest

from runner.sweeps.views.verdicts import Verdicts, ordinal
from support.sweeping.story import NAN, Story

SHA = {"scheduler": "successive_halving", "rungs": (10, 30), "max_steps": 90, "run_cap": 9}
ASHA = {**SHA, "scheduler": "asha", "run_cap": None}


def why(story: Story, trial: int) -> str:
    return Verdicts(story.definition, story.state).of(story.state.trials[trial]).why


def outlook(story: Story, trial: int) -> str:
    return Verdicts(story.definition, story.state).of(story.state.trials[trial]).outlook


def nine(*, reached: int, **changes: object) -> Story:
    story = Story("w", **{**SHA, **changes})
    story.draw(*range(9))
    story.reach({number: 1.0 + number for number in range(reached)})
    return story


def test_a_trial_that_is_behind_says_its_place_and_how_many_go_on() -> None:
    story = nine(reached=9)
    assert (outlook(story, 4), why(story, 4)) == ("stopped", "5th of 9 at step 10: the best 3 went on")


def test_a_trial_is_out_before_its_rung_is_complete_if_enough_are_better() -> None:
    story = nine(reached=5)
    assert (outlook(story, 3), why(story, 3)) == ("stopped", "4th of 9 at step 10: the best 3 go on")


def test_a_trial_whose_place_is_open_says_how_many_must_come_first() -> None:
    story = nine(reached=5)
    # Four are still to come. Trial 0 is 1st: two of them must be behind it before it is 3rd at worst.
    expected = "1st of 5 at step 10 so far: its place among the best 3 is not certain before 2 more have come"
    assert (outlook(story, 0), why(story, 0)) == ("waits", expected)
    expected = "2nd of 5 at step 10 so far: its place among the best 3 is not certain before 3 more have come"
    assert why(story, 1) == expected


def test_the_verdict_is_certain_exactly_when_the_rule_promotes() -> None:
    for reached in range(1, 10):
        story = nine(reached=reached)
        certain = [number for number in range(reached) if outlook(story, number) == "ready"]
        assert certain == story.promote_all()


def test_a_trial_that_may_go_on_waits_for_a_worker() -> None:
    story = nine(reached=7)
    assert (outlook(story, 0), why(story, 0)) == (
        "ready",
        "1st of 9 at step 10: the best 3 go on; waits for a worker",
    )


def test_a_trial_that_went_on_says_from_which_place() -> None:
    story = nine(reached=9)
    story.promote_all()
    assert why(story, 1) == "went on as 2nd of 9 at step 10; waits for a worker"
    story.take(1)
    assert (outlook(story, 1), why(story, 1)) == (
        "running",
        "trains to step 30; went on as 2nd of 9 at step 10",
    )


def test_the_last_leg_is_to_the_end() -> None:
    story = Story("w")
    story.draw(0)
    story.take(0)
    assert why(story, 0) == "trains to its end"


def test_losses_are_counted() -> None:
    story = nine(reached=0)
    story.take(0)
    story.release(0)
    assert why(story, 0) == "is taken again; waits for a worker; preempted once"
    story.take(0)
    story.release(0, step=5)
    assert why(story, 0) == "goes on where it was; waits for a worker; preempted 2 times"
    story.take(0)
    assert why(story, 0) == "trains to step 10; preempted 2 times"


def test_a_fresh_trial_waits_for_a_worker() -> None:
    assert why(nine(reached=0), 0) == "was drawn; waits for a worker"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("diverged", "diverged after step 3: loss is nan"),
        ("out_of_memory", "ran out of memory after step 3: loss is nan"),
        ("mistake", "failed after step 3: loss is nan"),
    ],
)
def test_a_failure_says_its_kind_where_and_why(kind: str, expected: str) -> None:
    story = nine(reached=0)
    story.fail(0, kind=kind)
    assert (outlook(story, 0), why(story, 0)) == ("failed", expected)


def test_a_trial_that_is_tried_again_says_after_what() -> None:
    story = nine(reached=0)
    story.fail(0, kind="error", reason="disk full")
    assert (outlook(story, 0), why(story, 0)) == (
        "ready",
        "is tried again, since it failed after step 3: disk full; waits for a worker",
    )


def test_a_trial_that_failed_for_good_says_how_often_it_was_tried() -> None:
    story = nine(reached=0, retries=1)
    story.fail(0, kind="error", reason="disk full")
    story.fail(0, kind="error", reason="disk full")
    assert why(story, 0) == "failed after step 3 (tried 2 times): disk full"


def test_no_number_never_goes_on() -> None:
    story = Story("w", **SHA)
    story.draw(0)
    story.reach({0: NAN})
    assert (outlook(story, 0), why(story, 0)) == (
        "stopped",
        "its eval_loss at step 10 is no number, which never goes on",
    )


def test_finished_trials_say_their_place() -> None:
    story = Story("w", max_steps=90)
    story.draw(0, 1, 2)
    story.reach({0: 2.0, 1: 1.0, 2: NAN})
    assert [why(story, number) for number in range(3)] == [
        "finished: 2nd of 2",
        "finished: best of 2",
        "finished, but its eval_loss is no number",
    ]


def test_a_training_that_ended_early_says_so() -> None:
    story = Story("w", max_steps=90)
    story.draw(0)
    story.take(0)
    story.tell(*story.controller.finished(story.state, 0, "w", step=60, value=1.0, seconds=1.0))
    assert why(story, 0) == "finished: best of 1; its training ended at step 60 of 90"


# -- the other rules -------------------------------------------------------------------------------------------------


def test_asha_says_who_goes_on_so_far() -> None:
    story = Story("w", **ASHA)
    story.draw(*range(6))
    story.reach({0: 3.0, 1: 2.0})
    assert why(story, 0) == "2nd of 2 at step 10 so far: 1 in 3 goes on, and fewer than 3 have come"
    story.reach({2: 1.0})
    assert (outlook(story, 2), why(story, 2)) == (
        "ready",
        "1st of 3 at step 10 so far: the best goes on; waits for a worker",
    )
    assert story.promote(drawing=True) == 2
    story.reach({3: 0.5})
    # 4 have come, one place in three is one, and trial 2 has it.
    assert (outlook(story, 3), why(story, 3)) == (
        "waits",
        "1st of 4 at step 10 so far: 1 went on already; the next goes on when 6 have come",
    )
    assert why(story, 0) == "4th of 4 at step 10 so far: the best goes on, 1 in 3"


def test_asha_after_the_end_says_who_went_on() -> None:
    story = Story("w", **ASHA)
    story.draw(*range(3))
    story.reach({0: 3.0, 1: 2.0, 2: 1.0})
    story.promote()
    story.tell({"event": "ended", "state": "succeeded", "reason": "all done"})
    assert (outlook(story, 0), why(story, 0)) == ("stopped", "3rd of 3 at step 10: 1 went on")


def test_wandbs_rule_says_what_it_was_behind() -> None:
    story = Story("w", **{**SHA, "scheduler": "stop"})
    story.draw(0, 1)
    story.reach({0: 1.0, 1: 2.0})
    expected = "it was behind the best 1 in 3 of those that had come to step 10 by then; 2nd of 2 at step 10 now"
    assert (outlook(story, 1), why(story, 1)) == ("stopped", expected)
    assert outlook(story, 0) == "ready"


def test_a_sweep_that_was_stopped_leaves_open_what_is_open() -> None:
    story = nine(reached=5)
    story.tell(
        {"event": "stop_requested", "reason": "enough"}, {"event": "ended", "state": "stopped", "reason": "enough"}
    )
    assert outlook(story, 0) == "waits"  # `resume` goes on with it


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (112, "112th"), (23, "23rd")]
)
def test_ordinals(number: int, text: str) -> None:
    assert ordinal(number) == text


@pytest.mark.parametrize("scheduler", ["none", "successive_halving", "asha", "hyperband", "stop"])
def test_every_trial_has_a_verdict_whatever_the_rule(scheduler: str) -> None:
    story = Story("w", **{**SHA, "scheduler": scheduler, "rungs": () if scheduler == "none" else (10, 30)})
    story.draw(*range(9))
    story.reach({number: 1.0 + number for number in range(6)})
    story.fail(6)
    story.take(7)
    for _ in range(3):
        story.promote_all(drawing=True)
        for number in story.state.trials:
            assert why(story, number)
        ready = sorted(story.state.ready - {7, 8})
        story.reach(dict.fromkeys(ready, 0.5))
