"""Moments as people write them: a date, or how long ago."""

import re
from datetime import UTC, datetime, timedelta

from runner.errors import UserError

_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def seconds_written(text: str, where: str) -> float:
    """Return the seconds of a length of time such as ``90m``, ``12h``, ``7d``.

    Raises:
        UserError: it is none.
    """
    match = _AGE.fullmatch(text.strip().lower())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else None
    if seconds is None or seconds > 1000 * 365 * 86400:
        raise UserError(f"{text!r} is not a length of time", where=where, remedy="write 90m, 12h, 7d or 4w")
    return seconds


def moment_written(text: str, where: str, *, now: datetime | None = None) -> datetime:
    """Return the moment that is meant: so long ago, or a date or time (ISO 8601; UTC, unless it names its zone).

    Raises:
        UserError: it is none.
    """
    now = now or datetime.now(UTC)
    if text.strip().lower() in ("today", "yesterday"):
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight - timedelta(days=text.strip().lower() == "yesterday")
    if _AGE.fullmatch(text.strip().lower()):
        return now - timedelta(seconds=min(seconds_written(text, where), 365 * 86400 * 1000))
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        remedy = "write how long ago (12h, 7d), or a date (2026-11-28)"
        raise UserError(f"{text!r} is not a moment", where=where, remedy=remedy) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
