"""Durations as people write them, such as `250ms`, `2s`, `5m`, `1h30m`, `14d`."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta

UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
SECONDS_MAX = 100 * 366 * 86400.0
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_WHOLE = re.compile(rf"(?:{_PART.pattern}\s*)+", re.ASCII)


def seconds(value: str | float) -> float:
    """Return a duration in seconds; a bare number counts seconds already.

    Raises `ValueError` that says what a duration looks like.
    """
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        found = sum(float(number) * UNIT_SECONDS[unit] for number, unit in _PART.findall(value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value)
    else:
        raise ValueError(f"{value!r} is not a duration: write such as 250ms, 2s, 5m, 1h30m or 14d")
    if not math.isfinite(found) or not 0 <= found <= SECONDS_MAX:
        raise ValueError(f"{value!r} is no duration between 0 and 100 years")
    return found


def moment(value: object, now: datetime) -> datetime:
    """Return when a sleep ends: a duration from now, or an instant (RFC 3339, with time zone).

    Raises `ValueError` that says what either looks like.
    """
    if isinstance(value, str) and value[:4].isdigit() and value[4:5] == "-":
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone: write such as 2026-12-24T18:00:00Z")
        return instant
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        kind = "null" if value is None else type(value).__name__
        raise ValueError(f"{kind} is no duration and no instant: write such as 14d")
    return now + timedelta(seconds=seconds(value))
