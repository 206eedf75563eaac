"""Learning curves in one line of text: block characters, or plain ASCII where the output holds no others."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO

Point = tuple[float, float | None]
"""A step and a value; None: it was not a finite number."""

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.:-=+*#"
"""The same eight levels, from the lowest to the highest."""

_NOT_FINITE = "x"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What the lowest and the highest level and the whole width stand for: curves with one scale can be compared."""

    low: float
    """The value of the lowest level."""
    high: float
    """The value of the highest level; what is above is drawn there too."""
    last: float
    """The step at the end of the width."""


def common_scale(curves: Iterable[Sequence[Point]]) -> Scale | None:
    """Return a scale for several curves; None if none has a value.

    The highest level is not above twice the range of the values' lower nine tenths, so that one training that has
    diverged does not make all others flat.
    """
    points = [point for curve in curves for point in curve]
    values = sorted(value for _, value in points if value is not None and math.isfinite(value))
    if not values:
        return None
    low, ninth = values[0], values[(len(values) - 1) * 9 // 10]
    high = min(values[-1], low + 2 * (ninth - low)) if ninth > low else values[-1]
    return Scale(low=low, high=high, last=max(step for step, _ in points))


def sparkline(curve: Sequence[Point], scale: Scale, width: int, *, plain: bool = False) -> str:
    """Draw a curve in at most `width` characters.

    A character is the mean of the values of its steps; where no value is of its steps, it repeats the one before it.
    It is ``x`` where a value is not finite, and blank before the first step. The line ends with the curve.

    Args:
        curve: points by ascending step.
        scale: where the levels are.
        width: characters for the steps from 0 to the scale's last; at least 1.
        plain: whether only ASCII may be used.
    """
    levels = ASCII if plain else BLOCKS
    cells: dict[int, list[float | None]] = {}
    for step, value in curve:
        place = min(width - 1, max(0, math.ceil(step / scale.last * width) - 1)) if scale.last > 0 else 0
        cells.setdefault(place, []).append(value)
    if not cells:
        return ""
    drawn, shown = [], " "
    for place in range(max(cells) + 1):
        if place in cells:
            shown = _level(cells[place], scale, levels)
        drawn.append(shown)
    return "".join(drawn)


def is_plain(stream: IO[str]) -> bool:
    """Whether a stream's encoding has no block characters."""
    try:
        BLOCKS.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def _level(values: Sequence[float | None], scale: Scale, levels: str) -> str:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if len(finite) < len(values):
        return _NOT_FINITE
    if scale.high <= scale.low:
        return levels[0]
    share = (math.fsum(finite) / len(finite) - scale.low) / (scale.high - scale.low)
    return levels[min(len(levels) - 1, max(0, int(share * len(levels))))]
