"""Quantiles of the beta distribution, with the standard library alone.

The incomplete beta function is a continued fraction (Numerical Recipes, section 6.4; DLMF 8.17.22), summed by Lentz's
method. Its inverse is found by bisection, in the logarithm of x where x is small, so that small values are as exact as
others.
"""

import math

_TINY = 1e-300
_TERMS = 10_000
_SMALLEST = math.log(5e-324)


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the probability that a beta variable with the shapes `a` and `b`, above 0, is at most `x`."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    return _cdf(math.log(x), math.log1p(-x), x, a, b)


def beta_quantile(u: float, a: float, b: float) -> float:
    """Return the x with ``beta_cdf(x, a, b) == u``.

    Args:
        u: from 0 to 1.
        a, b: the shapes, above 0.
    """
    if u <= 0:
        return 0.0
    if u >= 1:
        return 1.0
    if a == 1 and b == 1:
        return u
    # Searched in log(x) below a half, and in log(1 - x) above it.
    if beta_cdf(0.5, a, b) >= u:
        return math.exp(_search(lambda t: _cdf(t, math.log1p(-math.exp(t)), math.exp(t), a, b) >= u))
    above = 1 - u
    return -math.expm1(_search(lambda t: _cdf(t, math.log1p(-math.exp(t)), math.exp(t), b, a) >= above))


def _search(reached: "object") -> float:
    """Return the least t, the logarithm of a number up to a half, for which `reached` holds."""
    assert callable(reached)
    low, high = _SMALLEST, math.log(0.5)
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return high
        if reached(middle):
            high = middle
        else:
            low = middle


def _cdf(log_x: float, log_rest: float, x: float, a: float, b: float) -> float:
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * log_x + b * log_rest)
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function."""
    c, d = 1.0, _nonzero(1 - (a + b) * x / (a + 1))
    d = 1 / d
    result = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1 / _nonzero(1 + step * d)
            c = _nonzero(1 + step / c)
            result *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return result


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
