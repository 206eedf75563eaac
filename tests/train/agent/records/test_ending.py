"""The exit code and the record of an attempt follow from its outcome."""

from runner.train.agent.outcome import Outcome
from runner.train.agent.pausing import paused
from runner.train.agent.records.ending import ended_record, exit_code_of, interrupted


def test_a_pause_is_interrupted_whoever_counts_the_attempts() -> None:
    for counts in (True, False):
        assert exit_code_of(paused(30), mistake=False, counts_attempts=counts) == 75


def test_what_nobody_should_try_again_asks_for_no_other_attempt_where_attempts_are_counted() -> None:
    hopeless = interrupted("gave up", retry=False)
    assert exit_code_of(hopeless, mistake=False, counts_attempts=True) == 1
    assert exit_code_of(hopeless, mistake=False, counts_attempts=False) == 75


def test_a_mistake_that_training_finds_exits_as_one_that_check_finds() -> None:
    failed = Outcome(kind="failed", reason="no such column", retry=False)
    assert exit_code_of(failed, mistake=True, counts_attempts=False) == 2
    assert exit_code_of(failed, mistake=False, counts_attempts=False) == 1


def test_the_record_says_paused_and_only_then() -> None:
    record = ended_record(paused(30), state="interrupted", exit_code=75, hung=False, again=None)
    assert record["paused"] is True
    assert record["reason"] == "paused at step 30, as its sweep asked"
    other = ended_record(interrupted("stopped"), state="interrupted", exit_code=75, hung=True, again=True)
    assert "paused" not in other
    assert (other["hung"], other["again"]) == (True, True)


def test_an_outcome_tells_the_agent_that_it_is_a_pause() -> None:
    assert Outcome.from_record(paused(3).to_record()) == paused(3)
