"""Who goes on from a rung, in small cases that were decided by hand."""

import pytest

from support.sweeping.story import NAN, Story

SHA = {"scheduler": "successive_halving", "rungs": (10, 30), "max_steps": 90, "eta": 3.0}


def nine(**changes: object) -> Story:
    """Nine trials of successive halving."""
    story = Story("w", **{**SHA, "run_cap": 9, **changes})
    story.draw(*range(9))
    return story


# -- synchronous successive halving ----------------------------------------------------------------------------------


def test_of_nine_the_best_three_go_on_and_then_the_best_one() -> None:
    story = nine()
    story.reach({number: 1.0 + number for number in range(9)})
    assert story.promote_all() == [0, 1, 2]
    story.reach({0: 0.9, 1: 0.5, 2: 0.7})
    assert story.promote_all() == [1]


def test_nobody_goes_on_while_its_place_is_open() -> None:
    story = nine()
    story.reach({number: 1.0 + number for number in range(6)})
    # Of nine, three go on; three are still to come, and could all be better than the best so far.
    assert story.promotable() is None


def test_the_best_goes_on_before_the_rung_is_complete_once_its_place_is_certain() -> None:
    story = nine()
    story.reach({number: 1.0 + number for number in range(7)})
    # Two are still to come: the best is third at worst. The second best could be fourth.
    assert story.promote_all() == [0]
    story.reach({7: 9.0})
    assert story.promote_all() == [1]
    story.reach({8: 1.5})
    assert story.promote_all() == [8]


def test_what_was_promoted_early_is_what_a_complete_rung_would_promote() -> None:
    values = {4: 5.0, 2: 1.0, 7: 3.0, 0: 2.0, 8: 9.0, 1: 8.0, 3: 4.0, 6: 7.0, 5: 6.0}
    early, late = nine(), nine()
    chosen = []
    for number, value in values.items():
        early.reach({number: value})
        chosen += early.promote_all()
    late.reach(values)
    assert sorted(chosen) == sorted(late.promote_all()) == [0, 2, 7]


def test_of_equal_trials_the_one_that_was_drawn_first_goes_on() -> None:
    story = nine()
    story.reach(dict.fromkeys(reversed(range(9)), 1.0))
    assert story.promote_all() == [0, 1, 2]


def test_more_is_better_if_the_goal_says_so() -> None:
    story = nine(goal="maximize")
    story.reach({number: 1.0 + number for number in range(9)})
    assert story.promote_all() == [8, 7, 6]


@pytest.mark.parametrize("nothing", [None, NAN, float("inf")])
def test_a_metric_that_is_no_number_never_goes_on(nothing: float | None) -> None:
    story = nine()
    story.reach({**dict.fromkeys(range(7), nothing), 7: 2.0, 8: 1.0})
    assert story.promote_all() == [8, 7]  # a third place is left empty


def test_infinity_is_no_good_number_where_more_is_better() -> None:
    story = nine(goal="maximize")
    story.reach({**dict.fromkeys(range(8), 1.0), 8: float("inf")})
    assert 8 not in story.promote_all()


def test_a_trial_that_failed_counts_as_the_worst() -> None:
    story = nine()
    story.reach({number: 1.0 + number for number in range(4)})
    for number in range(4, 9):
        story.fail(number)
    assert story.promote_all() == [0, 1, 2]


def test_nobody_waits_for_a_promoted_trial_that_failed() -> None:
    story = nine()
    story.reach({number: 1.0 + number for number in range(9)})
    assert story.promote_all() == [0, 1, 2]
    story.fail(0)
    story.reach({1: 0.5, 2: 0.4})
    assert story.promote_all() == [2]  # one of three, as if trial 0 had come last


def test_if_all_failed_or_are_no_number_nobody_is_waited_for_above() -> None:
    story = nine()
    story.reach(dict.fromkeys(range(3), NAN))
    for number in range(3, 9):
        story.fail(number)
    work = story.work()
    assert (work.kind, story.state.ended[0]) == ("leave", "failed")


def test_one_number_among_many_failures_goes_on_to_the_end() -> None:
    story = nine()
    story.reach({0: 1.0})
    for number in range(1, 9):
        story.fail(number)
    assert story.promote_all() == [0]
    story.reach({0: 0.9})
    assert story.promote_all() == [0]
    story.reach({0: 0.8})
    assert (story.work().kind, story.state.ended[0]) == ("leave", "succeeded")


def test_those_that_are_still_to_be_drawn_are_waited_for() -> None:
    story = Story("w", **SHA, run_cap=9)
    story.draw(0, 1, 2)
    story.reach({0: 1.0, 1: 2.0, 2: 3.0})
    assert story.promotable(drawing=True) is None
    assert story.promotable(drawing=False) == 0  # the space is exhausted after three


def test_fewer_trials_than_eta_still_have_a_best_one() -> None:
    story = Story("w", **SHA, run_cap=2)
    story.draw(0, 1)
    story.reach({0: 2.0, 1: 1.0})
    assert story.promote_all() == [1]


@pytest.mark.parametrize(("count", "places"), [(27, 9), (9, 3), (8, 2), (3, 1), (2, 1), (1, 1), (0, 0)])
def test_places_are_rounded_down_and_at_least_one(count: int, places: int) -> None:
    rule = nine().controller.halving(nine().state)
    assert rule.places(count) == places  # type: ignore[attr-defined]


def test_places_do_not_suffer_from_binary_fractions() -> None:
    story = nine(eta=1.1)
    rule = story.controller.halving(story.state)
    assert rule.places(11) == 10  # type: ignore[attr-defined]  # 11 / 1.1 is 9.999… in binary


def test_a_training_that_ends_early_keeps_its_places_at_the_rungs_that_it_skips() -> None:
    story = nine()
    story.reach({number: 1.0 + number for number in range(8)})
    story.take(8)
    story.tell(*story.controller.finished(story.state, 8, "w", step=7, value=0.1, seconds=1.0))
    assert story.promote_all() == [0, 1]  # the third place is that of trial 8
    story.reach({0: 0.9, 1: 0.8})
    assert story.promote_all() == []  # and the one place above it too


# -- delayed ASHA ----------------------------------------------------------------------------------------------------


def asha(**changes: object) -> Story:
    return Story("w", **{**SHA, "scheduler": "asha", "run_cap": None, **changes})


def test_asha_promotes_at_each_third_arrival_and_only_the_best_third() -> None:
    story = asha()
    story.draw(*range(9))
    promoted = []
    for number in range(9):
        story.reach({number: 9.0 - number})  # each is better than all before it
        promoted.append(story.promote(drawing=True))
    # Undelayed ASHA would promote at the fourth arrival already: trial 3 is the best third of four. The delay asks for
    # eta arrivals for each that has gone on (Hyper-Tune: |rung k| / (|rung k+1| + 1) >= eta): the 3rd, 6th and 9th.
    assert promoted == [None, None, 2, None, None, 5, None, None, 8]


def test_asha_does_not_promote_what_is_not_among_the_best_third() -> None:
    story = asha()
    story.draw(*range(6))
    story.reach({0: 1.0, 1: 2.0, 2: 3.0})
    assert story.promote(drawing=True) == 0
    story.reach({3: 0.1, 4: 0.2, 5: 9.0})
    assert story.promote(drawing=True) == 3
    assert story.promote(drawing=True) is None  # trial 4 is among the best two, but two have gone on


def test_asha_promotes_from_the_highest_rung_first() -> None:
    story = asha()
    story.draw(*range(12))
    story.reach({number: 1.0 + number for number in range(9)})
    assert story.promote_all(drawing=True) == [0, 1, 2]
    story.reach({0: 1.0, 1: 2.0, 2: 3.0, 9: 0.1, 10: 0.2, 11: 0.3})
    assert story.promote_all(drawing=True) == [0, 9]


def test_asha_counts_failures_as_arrivals() -> None:
    story = asha()
    story.draw(*range(3))
    story.reach({0: 1.0})
    assert story.promotable(drawing=True) is None
    story.fail(1)
    story.fail(2)
    assert story.promotable(drawing=True) == 0


def test_asha_takes_no_trial_without_a_number() -> None:
    story = asha()
    story.draw(*range(3))
    story.reach(dict.fromkeys(range(3), NAN))
    assert story.promotable(drawing=True) is None
    assert story.promotable(drawing=False) is None


def test_asha_ends_with_a_finished_trial_although_there_are_fewer_than_eta() -> None:
    story = asha(run_cap=2)
    story.draw(0, 1)
    story.reach({0: 1.0})
    assert story.promotable(drawing=False) is None  # trial 1 may still come
    story.reach({1: 2.0})
    assert story.promote_all() == [0]
    story.reach({0: 0.9})
    assert story.promote_all() == [0]


# -- W&B's rule ------------------------------------------------------------------------------------------------------


def test_stop_lets_on_who_is_not_behind_the_value_at_the_nth_place() -> None:
    story = Story("w", **{**SHA, "scheduler": "stop", "rungs": (10,)})
    story.draw(*range(6))
    decisions = []
    for number, value in enumerate([5.0, 6.0, 4.0, 4.5, 3.0, 4.2]):
        story.reach({number: value})
        decisions.append(story.state.trials[number].state == "ready")
    # Of each arrival the values so far in order, and the one at int(n / 3):
    # [5]: 5. [5 6]: 5. [4 5 6]: 5. [4 4.5 5 6]: 4.5. [3 4 4.5 5 6]: 4. [3 4 4.2 4.5 5 6]: 4.2.
    assert decisions == [True, False, True, True, True, True]


def test_stop_takes_the_decision_into_the_same_entry() -> None:
    story = Story("w", **{**SHA, "scheduler": "stop", "rungs": (10,)})
    story.draw(0)
    story.take(0)
    events = story.controller.reached(story.state, 0, "w", step=10, value=1.0, best=1.0, seconds=1.0)
    # A worker that is killed between the two would leave a trial that nobody ever takes.
    assert [event["event"] for event in events] == ["reached", "promoted"]


def test_stop_that_is_not_strict_holds_the_best_so_far_against_the_values_at_the_rung() -> None:
    decisions = {}
    for strict in (True, False):
        story = Story("w", **{**SHA, "scheduler": "stop", "rungs": (10,), "strict": strict})
        story.draw(*range(4))
        # Values at the rung 5, 4, 6, 7; the best before it 5, 4, 4.5, 5.5.
        bests = {0: 5.0, 1: 4.0, 2: 4.5, 3: 5.5}
        story.reach({0: 5.0, 1: 4.0, 2: 6.0, 3: 7.0}, bests=bests)
        decisions[strict] = [story.state.trials[number].state == "ready" for number in range(4)]
    # [5]: 5. [4 5]: 4. [4 5 6]: 5, and 4.5 is not behind. [4 5 6 7]: 5, and 5.5 is.
    assert decisions == {True: [True, True, False, False], False: [True, True, True, False]}


def test_stop_never_lets_on_what_is_no_number() -> None:
    story = Story("w", **{**SHA, "scheduler": "stop", "rungs": (10,)})
    story.draw(0, 1)
    story.reach({0: NAN, 1: 1.0})
    assert [story.state.trials[number].state for number in (0, 1)] == ["paused", "ready"]


def test_stop_never_lets_on_what_is_no_number_any_more() -> None:
    story = Story("w", **{**SHA, "scheduler": "stop", "rungs": (10,), "strict": False})
    story.draw(0)
    story.reach({0: NAN}, bests={0: 1.0})
    assert story.state.trials[0].state == "paused"


# -- Hyperband -------------------------------------------------------------------------------------------------------


def test_hyperband_shares_the_trials_as_one_round_of_the_paper() -> None:
    story = Story("w", **{**SHA, "scheduler": "hyperband", "run_cap": 17})
    rule = story.controller.halving(story.state)
    # Three rungs, eta 3: 9, 4.5 and 3 trials, whose brackets begin at 10, 30 and 90 steps.
    assert list(rule.sizes) == [9, 5, 3]  # type: ignore[attr-defined]
    assert list(rule.firsts) == [0, 1, 2]  # type: ignore[attr-defined]


def test_hyperband_gives_a_trial_the_same_bracket_however_many_there_will_be() -> None:
    few = Story(**{**SHA, "scheduler": "hyperband", "run_cap": 10})
    many = Story(**{**SHA, "scheduler": "hyperband", "run_cap": 50})
    brackets = [
        [story.controller.halving(story.state).bracket_of(number) for number in range(10)] for story in (few, many)
    ]
    assert brackets[0] == brackets[1]


def test_brackets_do_not_compete() -> None:
    story = Story("w", **{**SHA, "scheduler": "hyperband", "run_cap": 17})
    story.draw(*range(9), bracket=0)
    story.draw(*range(9, 14), bracket=1, rung=1)
    story.reach({number: 1.0 + number for number in range(9)})
    story.reach({number: 100.0 + number for number in range(9, 14)})
    assert sorted(story.promote_all()) == [0, 1, 2, 9]


def test_every_trial_is_trained_to_its_end_without_rungs() -> None:
    story = Story("w", run_cap=2)
    story.draw(0, 1)
    story.reach({0: 1.0, 1: 2.0})
    assert [trial.state for trial in story.state.trials.values()] == ["finished", "finished"]
