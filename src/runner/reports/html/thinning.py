"""Curves of fewer points that look the same: the first, the last, and of each piece the least and the greatest."""

from collections.abc import Sequence

Points = Sequence[tuple[float, float | None]]
"""Place and value of each point; None: a value that is not finite."""

MOST = 600
"""Points that are kept of a curve of one run."""


def thin(points: Points, most: int = MOST) -> list[tuple[float, float | None]]:
    """Return at most so many points of a curve; all of them if they are not more. Peaks are kept, and their places.

    Args:
        points: in order.
        most: how many are kept; at least 4.
    """
    if len(points) <= most:
        return list(points)
    inner = points[1:-1]
    pieces = (most - 2) // 2
    kept = [points[0]]
    for number in range(pieces):
        start, end = number * len(inner) // pieces, (number + 1) * len(inner) // pieces
        known = [index for index in range(start, end) if inner[index][1] is not None]
        if not known:
            kept.append(inner[start])
            continue
        values = [inner[index][1] or 0.0 for index in known]
        chosen = {known[values.index(min(values))], known[values.index(max(values))]}
        kept += [inner[index] for index in sorted(chosen)]
    return [*kept, points[-1]]
