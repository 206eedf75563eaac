"""Who is asked before money is spent."""

import pytest

from runner.control.launching.cost import ask_above, has_to_ask
from runner.errors import UserError


def test_only_a_cost_above_the_limit_is_asked_about() -> None:
    assert has_to_ask((2.0, 12.0), limit=10.0)
    assert not has_to_ask((2.0, 9.0), limit=10.0)
    assert not has_to_ask(None, limit=0.0)


def test_the_limit_can_be_set() -> None:
    assert ask_above({}) == 10.0
    assert ask_above({"RUNNER_ASK_ABOVE": "$2.50"}) == 2.5
    assert ask_above({"RUNNER_ASK_ABOVE": "inf"}) == float("inf")


@pytest.mark.parametrize("text", ["much", "-1", "nan"])
def test_a_limit_that_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="RUNNER_ASK_ABOVE"):
        ask_above({"RUNNER_ASK_ABOVE": text})
