"""Distributions: values at quantiles, the corners of W&B's meaning, and the way back from values."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.sweeps.space.beta import beta_cdf, beta_quantile
from runner.sweeps.space.distributions import KEYS, Distribution

_U = st.floats(0, 1)


def made(name: str, **settings: Any) -> Distribution:
    """A distribution with W&B's defaults."""
    return Distribution(name, {**KEYS[name][1], **settings})


EXAMPLES = [
    made("categorical", values=[1, "a", {"x": 1}]),
    made("categorical_w_probabilities", values=[1, 2, 3], probabilities=[0.2, 0, 0.8]),
    made("int_uniform", min=-3, max=4),
    made("uniform", min=-1.5, max=2),
    made("q_uniform", min=0, max=4, q=0.5),
    made("log_uniform_values", min=1e-6, max=1e-2),
    made("inv_log_uniform_values", min=1e-6, max=1e-2),
    made("q_log_uniform_values", min=1, max=64, q=8),
    made("normal", mu=1, sigma=2),
    made("q_normal", q=2),
    made("log_normal"),
    made("q_log_normal"),
    made("beta", a=2, b=0.5),
    made("q_beta", a=2, b=5, q=0.1),
]
by_name = pytest.mark.parametrize("distribution", EXAMPLES, ids=lambda one: one.name)


@by_name
@given(u=_U, v=_U)
def test_a_larger_quantile_never_gives_a_smaller_number(distribution: Distribution, u: float, v: float) -> None:
    if distribution.name.startswith("categorical"):
        return
    low, high = distribution.at(min(u, v)), distribution.at(max(u, v))
    assert low <= high or math.isclose(low, high, rel_tol=1e-12)


@by_name
@given(u=st.floats(1e-9, 1 - 1e-9))
def test_each_value_is_finite_and_found_again(distribution: Distribution, u: float) -> None:
    value = distribution.at(u)
    assert not isinstance(value, float) or math.isfinite(value)
    quantile = distribution.quantile_of(value)
    assert quantile is not None
    again = distribution.at(quantile)
    assert again == value or math.isclose(again, value, rel_tol=1e-6, abs_tol=1e-9)
    assert all(math.isfinite(end) for end in (distribution.at(0), distribution.at(1)) if isinstance(end, float))


@by_name
@given(u=_U)
def test_each_value_of_a_finite_distribution_is_listed(distribution: Distribution, u: float) -> None:
    listed = distribution.values()
    assert listed is None or distribution.at(u) in listed


def test_two_whole_numbers_are_both_drawn() -> None:
    drawn = [made("int_uniform", min=0, max=1).at(u / 100) for u in range(101)]
    assert drawn.count(0) == 51
    assert drawn.count(1) == 50
    assert made("int_uniform", min=0, max=1).at(0.0) == 0  # scipy's own is -1


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        ({"min": 1, "max": 10, "q": 2}, [2, 4, 6, 8, 10]),  # not 1, 3, 5, …
        ({"min": 2, "max": 10, "q": 3}, [3, 6, 9]),  # not 2 + 3k
        ({"min": 1, "max": 11, "q": 4}, [0, 4, 8, 12]),  # leaves [1, 11]
    ],
)
def test_q_uniform_gives_multiples_of_q_and_may_leave_its_range(settings: dict[str, int], values: list[int]) -> None:
    distribution = made("q_uniform", **settings)
    drawn = sorted({distribution.at(u / 1000) for u in range(1001)})
    assert drawn == values
    assert distribution.values() == values


def test_a_float_q_gives_floats_and_a_whole_q_whole_numbers() -> None:
    assert repr(made("q_uniform", min=0, max=4).at(0.5)) == "2.0"
    assert repr(made("q_uniform", min=0, max=4, q=1).at(0.5)) == "2"


def test_q_log_uniform_gives_zero() -> None:
    distribution = made("q_log_uniform_values", min=1, max=64, q=8)
    drawn = [distribution.at(u / 1000) for u in range(1001)]
    assert drawn.count(0) == pytest.approx(333, abs=2)
    assert distribution.values() == [0, 8, 16, 24, 32, 40, 48, 56, 64]


@given(u=_U)
def test_inv_log_uniform_is_log_uniform(u: float) -> None:
    one, other = (made(name, min=1e-5, max=1e-1) for name in ("log_uniform_values", "inv_log_uniform_values"))
    assert one.at(u) == pytest.approx(other.at(u), rel=1e-12)


def test_q_beta_with_the_default_q_is_a_coin() -> None:
    assert made("q_beta").values() == [0.0, 1.0]


def test_a_value_without_probability_is_never_drawn() -> None:
    distribution = made("categorical_w_probabilities", values=["a", "b", "c"], probabilities=[0.5, 0.5, 0])
    assert {distribution.at(u / 100) for u in range(101)} == {"a", "b"}
    assert distribution.values() == ["a", "b"]
    assert distribution.quantile_of("c") is None


@pytest.mark.parametrize("u", [-0.001, 1.001, math.nan])
def test_what_is_no_quantile_is_refused(u: float) -> None:
    with pytest.raises(ValueError, match="not a quantile"):
        made("uniform", min=0, max=1).at(u)


@pytest.mark.parametrize(
    ("distribution", "value"),
    [
        (made("int_uniform", min=1, max=4), 5),
        (made("int_uniform", min=1, max=4), 2.5),
        (made("int_uniform", min=1, max=4), True),
        (made("uniform", min=1, max=4), 4.001),
        (made("log_uniform_values", min=1, max=4), 0),
        (made("q_uniform", min=1, max=10, q=2), 3),
        (made("categorical", values=[1, 2]), 3),
        (made("categorical", values=[1, 2]), "1"),
        (made("constant", value=1), 2),
        (made("uniform", min=1, max=4), "2"),
    ],
)
def test_a_value_that_is_never_drawn_has_no_quantile(distribution: Distribution, value: Any) -> None:
    assert distribution.quantile_of(value) is None


@pytest.mark.parametrize(
    ("distribution", "grid"),
    [
        (made("categorical", values=[3.0, 1, 3, True, 1]), [3, 1, True]),  # 3.0 is 3, written as the later one
        (made("int_uniform", min=-1, max=2), [-1, 0, 1, 2]),
        (made("q_uniform", min=0, max=4, q=1), [0, 1, 2, 3]),  # without its maximum
        (made("q_uniform", min=0, max=4), [0.0, 1.0, 2.0, 3.0]),
        (made("q_uniform", min=0.05, max=0.3, q=0.1), [0.05, 0.15000000000000002, 0.25000000000000006]),
        (made("constant", value="x"), ["x"]),
        (made("uniform", min=0, max=1), None),
        (made("categorical_w_probabilities", values=[1], probabilities=[1]), None),
        (made("int_uniform", min=0, max=10**9), None),
        (made("q_uniform", min=0, max=1.0, q=1e-9), None),
    ],
    ids=str,
)
def test_a_grid_has_these_values(distribution: Distribution, grid: list[Any] | None) -> None:
    values = distribution.grid()
    assert (values if values is None else repr(list(values))) == (grid if grid is None else repr(grid))


@pytest.mark.parametrize(
    ("a", "b", "u", "x"),
    [
        (1, 1, 0.3, 0.3),
        (1, 3, 0.5, 1 - 0.5 ** (1 / 3)),
        (4, 1, 0.2, 0.2**0.25),
        (0.5, 0.5, 0.25, math.sin(math.pi * 0.25 / 2) ** 2),
        (0.5, 2, 1e-9, 4.4444444444e-19),  # 1.5 sqrt(x) for small x
    ],
)
def test_beta_is_what_its_closed_forms_say(a: float, b: float, u: float, x: float) -> None:
    assert beta_quantile(u, a, b) == pytest.approx(x, rel=1e-9)


@given(u=st.floats(1e-9, 1 - 1e-9), a=st.floats(0.2, 50), b=st.floats(0.2, 50))
def test_beta_quantiles_and_probabilities_are_inverse(u: float, a: float, b: float) -> None:
    x = beta_quantile(u, a, b)
    if 1e-290 < x < 1 - 1e-12:
        assert beta_cdf(x, a, b) == pytest.approx(u, rel=1e-7, abs=1e-12)
