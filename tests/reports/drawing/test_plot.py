"""Curves in a terminal stay in their frame, and show what was measured."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.reports.drawing.plot import COLORS, Frame, Line, Series, as_text, plot

VALUES = st.none() | st.floats(min_value=-1e12, max_value=1e12)


def drawn(*series: Series, width: int = 40, height: int = 8, plain: bool = True, colors: bool = False) -> list[str]:
    """The lines of a plot as text."""
    return as_text(plot(series, Frame(title="loss"), width=width, height=height, plain=plain, colors=colors)).split(
        "\n"
    )


def curve(*values: float | None, **fields: object) -> Series:
    """Values at steps 1, 2, …"""
    return Series(**{"name": "loss", "points": list(enumerate(values, 1)), **fields})


def test_a_line_that_falls_goes_from_the_upper_left_to_the_lower_right() -> None:
    title, *rows, axis, labels = drawn(curve(4.0, 3.0, 2.0, 1.0))
    assert title == "loss"
    inside = [row.partition("|")[2] for row in rows]
    assert inside[0].startswith("a")
    assert inside[-1].rstrip().endswith("a")
    assert inside[-1].index("a") > len(inside[0].rstrip()) - 1
    assert rows[0].split()[0] == "4.0000"
    assert rows[-1].split()[0] == "1.0000"
    assert axis.strip().startswith("+--")
    assert labels.split() == ["1", "step", "4"]


def test_a_first_step_that_is_far_off_does_not_make_the_others_flat() -> None:
    title, *rows = drawn(curve(1000.0, *[3.0 - 0.1 * step for step in range(20)]))
    assert title == "loss (highest 1000.0)"
    assert float(rows[0].split()[0]) < 6


def test_what_is_not_finite_is_a_cross_at_its_step() -> None:
    rows = drawn(curve(2.0, 1.5, None, math.inf, 1.0, 1.0))
    assert rows[1].count("x") == 2


def test_a_value_that_does_not_change_is_a_line_in_the_middle() -> None:
    _, *rows = drawn(curve(2.0, 2.0, 2.0), height=7)
    inside = ["a" in row for row in rows[:7]]
    assert inside == [False, False, False, True, False, False, False]


def test_without_a_value_it_says_so() -> None:
    assert drawn() == ["loss: nothing to draw yet"]
    assert drawn(curve(None, math.nan)) == ["loss: nothing to draw yet"]


def test_several_curves_are_told_apart_by_letters_or_colors() -> None:
    two = curve(1.0, 2.0, name="one"), curve(2.0, 1.0, name="two", color=1)
    *_, legend = drawn(*two)
    assert legend.split() == ["a", "one", "b", "two"]
    lines: list[Line] = plot(two, Frame(title="loss"), width=40, height=8, plain=False, colors=True)
    assert {color for line in lines for _, color in line} == {None, COLORS[0], COLORS[1]}
    assert all("a" not in text and "b" not in text for line in lines[1:9] for text, _ in line)


def test_few_measurements_are_marks() -> None:
    rows = drawn(curve(3.0, 2.0, 1.0, marks=True))
    assert sum(row.partition("|")[2].count("A") + row.partition("|")[2].count("o") for row in rows[1:9]) == 3


@pytest.mark.parametrize("plain", [True, False])
@given(
    series=st.lists(st.lists(VALUES, max_size=30), max_size=3),
    width=st.integers(min_value=40, max_value=160),
    height=st.integers(min_value=1, max_value=30),
)
def test_no_line_is_longer_than_the_terminal(
    plain: bool, series: list[list[float | None]], width: int, height: int
) -> None:
    curves = [curve(*values, name=f"run {number}", color=number) for number, values in enumerate(series)]
    lines = drawn(*curves, width=width, height=height, plain=plain)
    assert max(map(len, lines)) <= width
    assert not plain or as_text([[(line, None)] for line in lines]).isascii()
