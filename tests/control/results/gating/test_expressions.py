"""The language of requirements."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.control.results.gating.expressions import DEEPEST, LONGEST, NoValueError, parse
from runner.errors import UserError

VALUES = {"loss": 1.5, "baseline.loss": 1.0, "state": "succeeded", "zero": 0.0}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("loss <= 1.5", True),
        ("loss < 1.5", False),
        ("loss <= 1.02 * baseline.loss", False),
        ("1 < loss < 2", True),
        ("1 < loss < 1.2", False),
        ("not loss < 1 and (loss < 2 or loss > 9)", True),
        ("state == 'succeeded'", True),
        ("min(loss, 9, 4) == 1.5 and max(1, 2) == 2 and abs(-loss) == 1.5", True),
        ("-loss + 2 * (3 - 1) / 4 == -.5", True),
        ("loss > 1 or loss > 2 and loss > 3", True),
    ],
)
def test_a_condition_means_what_it_means_in_mathematics(text: str, holds: bool) -> None:
    assert parse(text).verdict(VALUES).holds is holds


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("loss", 1, "not a condition"),
        ("loss = 2", 6, "`=`"),
        ("loss <", 7, "missing"),
        ("(loss < 2", 1, "not closed"),
        ("loss < 2)", 9, "`)`"),
        ("loss and 2", 1, "condition is missing"),
        ("exec('x') < 1", 1, "`exec` is no function"),
        ("loss.__class__[0] < 1", 15, "`[`"),
        ("abs(1, 2) < 1", 1, "one value"),
        ("'a' + 1 < 2", 1, "text"),
        ("2 ** 3 < 1", 4, "missing"),
        ("1 < 1e999", 5, "too large"),
        ("", 1, "missing"),
    ],
)
def test_a_mistake_is_said_with_its_place(text: str, place: int, words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text)
    assert f"at character {place} of" in str(caught.value)
    assert words in str(caught.value)


def test_length_and_depth_have_limits() -> None:
    with pytest.raises(UserError, match=str(LONGEST)):
        parse("loss < " + "1" * LONGEST)
    for text in ("(" * 400 + "1", "-" * 400 + "1 < 2", "not " * 200 + "1 < 2"):
        with pytest.raises(UserError, match=f"more than {DEEPEST}"):
            parse(text)


@pytest.mark.parametrize("text", ["1 / zero < 2", "1e300 * 1e300 > 1"])
def test_what_has_no_value_is_no_verdict(text: str) -> None:
    with pytest.raises(NoValueError):
        parse(text).verdict(VALUES)


def test_text_and_numbers_do_not_compare() -> None:
    for text in ("state < 1", "state == 1", "state < 'x'", "state + 1 < 2"):
        with pytest.raises(UserError, match="text"):
            parse(text).verdict(VALUES)


@given(st.one_of(st.text(max_size=80), st.text(alphabet="ab.()<>=!+-*/'\" 019eEnotrdmix,", max_size=80)))
def test_any_text_is_read_or_is_a_mistake(text: str) -> None:
    with contextlib.suppress(UserError):
        parse(text)


_NUMBERS = st.integers(0, 20).map(str) | st.floats(1e-3, 1e6).map(repr)
_ARITHMETIC = st.recursive(
    _NUMBERS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(" ".join),
        inner.map("({})".format),
        inner.map("-{}".format),
        st.tuples(inner, inner).map(lambda pair: f"min({pair[0]}, {pair[1]})"),
    ),
    max_leaves=8,
)


@given(_ARITHMETIC, _ARITHMETIC, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
def test_arithmetic_agrees_with_python(left: str, right: str, sign: str) -> None:
    text = f"{left} {sign} {right}"
    try:
        expected = eval(text)
    except (ZeroDivisionError, OverflowError):
        expected = None
    try:
        holds = parse(text).verdict({}).holds
    except NoValueError:
        holds = None
    assert holds is expected
