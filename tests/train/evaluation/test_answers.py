"""Final answers are found where texts give them, and compared as numbers where they are numbers."""

from typing import Any

import pytest

from runner.recipe.recipe import ExactMatch
from runner.train.evaluation.answers import final_answer, same_answer
from runner.train.evaluation.exact_match import ANSWER, find_questions


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>The answer is 3? No: 4.</think>\nFinal Answer: 5", "5"),
        ("So $x = 2$, and the answer is $\\boxed{\\frac{1}{2}}$.", "1/2"),
        ("\\boxed{a_{1}} is what we wanted", "a_{1}"),
        ("\\boxed{7}\n\nThat is the answer.", "7"),
        ("She has 3 left.\n#### 1,234", "1,234"),
        ("#### 5\nWait. #### 6", "6"),
        ("First 12, then 30, so 42.", "42"),
        ("The answer is Paris.", "Paris"),
        ("nothing of the kind", None),
        ("\\boxed{unclosed", None),
        ("", None),
    ],
)
def test_the_last_answer_that_is_given_counts(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1,000", "1000.0", True),
        ("0.5", "1/2", True),
        ("\\frac{1}{2}", "0.5", True),
        ("\\(7\\)", "7", True),
        ("$72", "72 dollars", True),
        ("50%", "50", True),
        ("1.5e3", "1500", True),
        ("+3", "3", True),
        ("-3", "3", False),
        ("7 or 8", "7", False),
        ("June 5", "July 5", False),
        ("H2O", "2", False),
        ("Paris.", "Paris", True),
        ("1/0", "1/0", True),
        ("B", "C", False),
        ("", "0", False),
    ],
)
def test_numbers_are_numbers_and_words_are_words(one: str, other: str, same: bool) -> None:
    assert same_answer(one, other) is same
    assert same_answer(other, one) is same


def turns(*contents: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 2, contents, strict=False)]


def test_what_is_asked_of_a_row_is_all_before_its_last_answer() -> None:
    """Of conversations, pairs and preferences; rows without an answer are left out, and those beyond the limit."""
    rows = [
        {"messages": turns("2 + 2?", "4", "And 3 + 3?", "It is\n#### 6")},
        {"prompt": "1 + 1?", "completion": "Final Answer: 2"},
        {"prompt": turns("3 + 1?"), "chosen": turns("", "4.")[1:], "rejected": turns("", "5")[1:]},
        {"prompt": "Hello?", "completion": "Hello!"},
        {"prompt": "5?", "completion": "5"},
    ]
    found = find_questions(rows, ExactMatch(max_samples=3))
    assert [question.answer for question in found] == ["6", "2", "4"]
    assert found[0].prompt == turns("2 + 2?", "4", "And 3 + 3?")
    assert len(find_questions(rows, ExactMatch(max_samples=None))) == 4


def test_a_column_holds_the_answer_where_the_recipe_says_so() -> None:
    """As it stands, or what it gives as its answer."""
    rows = [{"prompt": "x", ANSWER: said} for said in ("B", "So it is.\n#### 7", "", None)]
    assert [question.answer for question in find_questions(rows, ExactMatch(answer="solution"))] == ["B", "7"]
