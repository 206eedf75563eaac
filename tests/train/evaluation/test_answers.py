"""Final answers are found where texts give them, and compared as numbers where they are numbers."""

import time
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
        ("\\boxed{\\boxed{3}}", "3"),
        ("\\boxed {\\{1, 2\\}}", "\\{1, 2\\}"),
        ("} \\boxed{4}", "4"),
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
        ("1e99999999", "2", False),
        ("1e99999999", "1e99999999", True),
        ("1e300", "1e300", True),
        ("\\text{Monday}", "Monday", True),
        ("(B)", "B", True),
        ("\\text{(B)}", "B", True),
        ("B", "b", False),
        ("no", "on", False),
        ("dear 5", "read 5", False),
        ("11_8", "11_9", False),
    ],
)
def test_numbers_are_numbers_and_words_are_words(one: str, other: str, same: bool) -> None:
    assert same_answer(one, other) is same
    assert same_answer(other, one) is same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\dfrac34", "0.75"),
        (r"3\frac{1}{2}", r"\frac{7}{2}"),
        (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"),
        (r"5\sqrt{3}", r"\sqrt{75}"),
        (r"12 \text{ cm}^2", "12"),
        (r"120^{\circ}", "120 degrees"),
        (r"\pi/4", r"\frac{\pi}{4}"),
        (r"10,\!080", "10080"),
        ("1{,}000", "1000"),
        (r"1.5 \times 10^3", "1500"),
        ("[0,1)", "[0, 1)"),
        (r"(-\infty, 3]", r"\left(-\infty,3\right]"),
        (r"(-\infty,-2)\cup(2,\infty)", r"(-\infty, -2) \cup (2, \infty)"),
        (r"x \in [-2,7]", "[-2,7]"),
        (r"\{1,2,3\}", r"\{3,2,1\}"),
        ("2,3", "3, 2"),
        (r"\left(\frac{1}{2}, 3\right)", "(0.5, 3)"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}"),
        ("x^2+2x+1", "(x+1)^2"),
        ("y=2x+1", "y - 2x = 1"),
        ("3+2i", "2i+3"),
        ("2^{10}", "1024"),
        (r"\$18.90", "18.9"),
        (r"50\%", r"\frac{1}{2}"),
        ("$x^2$", "x^2"),
    ],
)
def test_the_same_mathematics_is_the_same_answer(one: str, other: str) -> None:
    assert same_answer(one, other)
    assert same_answer(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("(1,2)", "(2,1)"),
        ("[0,1]", "(0,1)"),
        (r"\frac{1}{3}", "0.33"),
        (r"\sqrt{2}", r"\sqrt{3}"),
        ("x+1", "x-1"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"),
        ("5 apples", "5 pears"),
        ("2024-03-04", "2024-04-03"),
        ("2024-03-04", "2017"),
        ("04/03/2024", "8/6/2024"),
        ("2024-03-04 10:30", "2024-04-03 10:30"),
        ("10:30", "1:3"),
        ("3-1", "4-2"),
        ("1.2.3", "1.3.2"),
        ("}", r"\frac{"),
    ],
)
def test_other_mathematics_is_another_answer(one: str, other: str) -> None:
    assert not same_answer(one, other)
    assert not same_answer(other, one)


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{" * 20_000,
        "\\boxed{" * 20_000 + "}" * 20_000,
        "1," * 40_000 + "a",
        "answer" + " " * 80_000,
        "answer\n" * 20_000,
        "9" * 100_000 + "!",
        "-" * 80_000,
        "1/" * 40_000,
        "9^" * 40_000 + "9",
    ],
)
def test_an_answer_takes_a_time_that_grows_with_its_length_only(text: str) -> None:
    """Each of these took minutes where a search began again at each character."""
    began = time.monotonic()
    same_answer(final_answer(text) or text, "x^2")
    assert time.monotonic() - began < 60


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
