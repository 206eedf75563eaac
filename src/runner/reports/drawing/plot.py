"""Curves in a terminal, as lines of text: braille dots, or letters where there is neither color nor Unicode.

Own code, not plotext: that is 2.9 MB with a compiled library for each platform, holds its figure in the module, and its
sixth version has another interface than its fifth. What is needed here is a line in a frame.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from runner.reports.drawing.sparkline import Point
from runner.reports.tables import number

COLORS = ("cyan", "magenta", "yellow", "green", "blue", "red", "bright_cyan", "bright_magenta")
"""One for each series, then again from the first; Click and rich know these names."""

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of a braille character, by row and column."""
_BRAILLE = 0x2800
_MARK, _PLAIN_MARK, _NOT_FINITE = "●", "o", "x"
_LEAST_WIDTH, _LEAST_HEIGHT = 12, 3
_FEW = 10
"""Fewer values than these are all drawn where they are."""

Part = tuple[str, str | None]
"""A text, and the color that it has on a terminal."""
Line = list[Part]
"""A line of text in parts."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One curve."""

    name: str
    """What it is, for the legend."""
    points: Sequence[Point]
    """By ascending x; None: the value was not finite."""
    marks: bool = False
    """Whether it is drawn as marks, one for each point, and not as a line: for few points, such as evaluations."""
    color: int = 0
    """Its place in `COLORS`. Curves of one thing have one color."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What surrounds the curves."""

    title: str
    """What the values are."""
    x_title: str = "step"
    """What the curves go over."""
    lowest: float | None = None
    """The value at the lower edge; None: the smallest."""
    highest: float | None = None
    """The value at the upper edge, for what has a natural end; None: the largest."""
    show_x: Callable[[float], str] = lambda x: number(round(x, 6) if x % 1 else int(x))
    """Writes a place on the x axis."""


def plot(series: Sequence[Series], frame: Frame, *, width: int, height: int, plain: bool, colors: bool) -> list[Line]:
    """Draw curves in one frame, with a title above it and, for several, a legend.

    Of ten values or more, the upper edge is not above twice the range of the lower nine tenths, so that a first step
    that is far off does not make the others flat; what is above is drawn at the edge, and the title says how high.

    Args:
        series: the curves. Those without a point are left out.
        frame: what surrounds them.
        width: characters of a line, of which the numbers at the left take some.
        height: lines of the frame's inside.
        plain: whether only ASCII may be used.
        colors: whether curves can be told apart by their colors; otherwise each of several has a letter.

    Returns:
        The lines; one with a sentence if there is nothing to draw.
    """
    drawn = [one for one in series if one.points]
    values = [value for one in drawn for _, value in one.points if value is not None and math.isfinite(value)]
    if not values:
        return [[(f"{frame.title}: nothing to draw yet", None)]]
    low, high = _edges(values, frame)
    first = min(one.points[0][0] for one in drawn)
    last = max(one.points[-1][0] for one in drawn)
    labels = _y_labels(low, high, max(height, _LEAST_HEIGHT))
    margin = max(map(len, labels)) + 1
    columns, rows = max(_LEAST_WIDTH, width - margin - 1), max(height, _LEAST_HEIGHT)
    canvas = _Canvas(columns, rows, low=low, high=high, first=first, last=last)
    letters = plain or (not colors and len({one.color for one in drawn}) > 1)
    for one in drawn:
        canvas.draw(one, letter=_letter(one) if letters else None, mark=_PLAIN_MARK if plain else _MARK)
    bar, corner, dash = ("|", "+", "-") if plain else ("│", "└", "─")
    title = frame.title if max(values) <= high else f"{frame.title} (highest {number(max(values))})"
    lines: list[Line] = [[(title, None)]]
    for label, row in zip(labels, canvas.rows(), strict=True):
        lines.append([(f"{label:>{margin - 1}} {bar}", None), *row])
    lines.append([(" " * margin + corner + dash * columns, None)])
    lines.append([(" " * (margin + 1) + _x_labels(frame, first, last, columns), None)])
    if len(drawn) > 1:
        lines += _legend(drawn, width, letters=letters, plain=plain)
    return lines


def as_text(lines: Iterable[Line]) -> str:
    """Return lines without their colors."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


def _edges(values: Sequence[float], frame: Frame) -> tuple[float, float]:
    ordered = sorted(values)
    low = ordered[0] if frame.lowest is None else min(frame.lowest, ordered[0])
    high = ordered[-1] if frame.highest is None else max(frame.highest, ordered[-1])
    ninth = ordered[(len(ordered) - 1) * 9 // 10]
    if frame.highest is None and len(ordered) >= _FEW and ninth > ordered[0]:
        high = min(high, ordered[0] + 2 * (ninth - ordered[0]))
    if high <= low:
        spread = abs(low) * 0.05 or 1.0
        low, high = (low if frame.lowest is not None else low - spread), high + spread
    return low, high


def _y_labels(low: float, high: float, rows: int) -> list[str]:
    """Return what stands before each row: a number at both edges, and in the middle if there is room."""
    labels = [""] * rows
    labels[0], labels[-1] = number(high), number(low)
    if rows >= 7:
        labels[rows // 2] = number(high - (high - low) * (rows // 2) / (rows - 1))
    return labels


def _x_labels(frame: Frame, first: float, last: float, columns: int) -> str:
    begin, end = frame.show_x(first), f"{frame.x_title} {frame.show_x(last)}"
    middle = frame.show_x(round((first + last) / 2))
    line = begin.ljust(columns - len(end)) + end
    at = columns // 2 - len(middle) // 2
    if last - first >= 4 and at > len(begin) + 2 and at + len(middle) + 2 < columns - len(end):
        line = line[:at] + middle + line[at + len(middle) :]
    return line[-columns:] if len(line) > columns else line


def _legend(series: Sequence[Series], width: int, *, letters: bool, plain: bool) -> list[Line]:
    lines: list[Line] = [[]]
    used = 0
    for one in series:
        mark = _letter(one) if letters else (_PLAIN_MARK if plain else _MARK) if one.marks else "─"
        if letters and one.marks:
            mark = mark.upper()
        text = f" {mark} {one.name}  "
        if used and used + len(text) > width:
            lines.append([])
            used = 0
        lines[-1].append((text, COLORS[one.color % len(COLORS)]))
        used += len(text)
    return lines


def _letter(one: Series) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[one.color % 26]


class _Canvas:
    """Characters, each of two by four dots."""

    def __init__(self, columns: int, rows: int, *, low: float, high: float, first: float, last: float) -> None:
        self._columns, self._rows = columns, rows
        self._low, self._high, self._first, self._last = low, high, first, last
        self._dots = [[0] * columns for _ in range(rows)]
        self._letters: list[list[str | None]] = [[None] * columns for _ in range(rows)]
        self._colors: list[list[str | None]] = [[None] * columns for _ in range(rows)]

    def draw(self, one: Series, *, letter: str | None, mark: str) -> None:
        """Draw a curve: with braille dots, or with a letter."""
        color = COLORS[one.color % len(COLORS)]
        if one.marks:
            shown = mark if letter is None else letter.upper()
            for x, value in one.points:
                if value is not None and math.isfinite(value):
                    self._put(self._x(x) // 2, self._y(value) // 4, shown, color)
                else:
                    self._put(self._x(x) // 2, 0, _NOT_FINITE, color)
            return
        step = 1 if letter is None else 2
        cells: dict[int, list[float]] = {}
        for x, value in one.points:
            if value is not None and math.isfinite(value):
                cells.setdefault(self._x(x) // step * step, []).append(value)
        before: tuple[int, int] | None = None
        for x in sorted(cells):
            y = self._y(math.fsum(cells[x]) / len(cells[x]))
            for at_x, at_y in _between(before, (x, y)) if before else [(x, y)]:
                if letter is None:
                    self._dots[at_y // 4][at_x // 2] |= _DOTS[at_y % 4][at_x % 2]
                    self._colors[at_y // 4][at_x // 2] = color
                else:
                    self._put(at_x // 2, at_y // 4, letter, color)
            before = x, y
        for x, value in one.points:
            if value is None or not math.isfinite(value):
                self._put(self._x(x) // 2, 0, _NOT_FINITE, color)

    def rows(self) -> Iterable[Line]:
        """Return the rows from the top, each in parts of one color."""
        for dots, letters, colors in zip(self._dots, self._letters, self._colors, strict=True):
            line: Line = []
            for bits, letter, color in zip(dots, letters, colors, strict=True):
                shown = letter or (chr(_BRAILLE + bits) if bits else " ")
                if line and line[-1][1] == color:
                    line[-1] = line[-1][0] + shown, color
                else:
                    line.append((shown, color))
            yield line

    def _put(self, column: int, row: int, letter: str, color: str) -> None:
        self._letters[row][column], self._colors[row][column] = letter, color

    def _x(self, x: float) -> int:
        if self._last <= self._first:
            return self._columns  # one point: in the middle
        share = (x - self._first) / (self._last - self._first)
        return min(2 * self._columns - 1, max(0, round(share * (2 * self._columns - 1))))

    def _y(self, value: float) -> int:
        share = (min(max(value, self._low), self._high) - self._low) / (self._high - self._low)
        return 4 * self._rows - 1 - round(share * (4 * self._rows - 1))


def _between(before: tuple[int, int], after: tuple[int, int]) -> Iterable[tuple[int, int]]:
    """Return the dots of a straight line, without its first."""
    steps = max(abs(after[0] - before[0]), abs(after[1] - before[1]), 1)
    for step in range(1, steps + 1):
        yield (
            before[0] + round((after[0] - before[0]) * step / steps),
            before[1] + round((after[1] - before[1]) * step / steps),
        )
