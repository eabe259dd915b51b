"""Durations, rates and instants as people write them: `1h30m`, `20/min`, `2026-03-01T08:00:00Z`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from warrener.domain.definition.model import Rate

UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
SECONDS_MAX = 100 * 366 * 86400.0
_PER_SECONDS = {
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("m", "min", "minute"), 60.0),
    **dict.fromkeys(("h", "hour"), 3600.0),
    **dict.fromkeys(("d", "day"), 86400.0),
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_WHOLE = re.compile(rf"(?:{_PART.pattern}\s*)+", re.ASCII)
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(\S.*)", re.ASCII)
_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?P<zone>[Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
_DATE = re.compile(r"\s*\d{4}-", re.ASCII)
_HOW = "write such as 250ms, 2s, 5m, 1h30m or 14d"


def seconds(value: str | float) -> float:
    """Return a duration in seconds; a bare number counts seconds already.

    Raises `ValueError` that says what a duration looks like.
    """
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        found = sum(float(number) * UNIT_SECONDS[unit] for number, unit in _PART.findall(value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = value
    else:
        raise ValueError(f"{value!r} is not a duration: {_HOW}")
    if not 0 <= found <= SECONDS_MAX:  # neither is NaN
        raise ValueError(f"{value!r} is no duration between 0 and 100 years")
    return float(found)


def duration_text(duration: float) -> str:
    """Return seconds as a person would write them, such as `1h30m`; rounded to milliseconds."""
    left = round(duration * 1000)
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, int(UNIT_SECONDS[unit] * 1000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def rate(value: str) -> Rate:
    """Return a rate such as `20/min`, `5/s` or `1/10s`; raises `ValueError` that says how."""
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a rate: write such as 20/min, 5/s or 1/10s")
    per = match.group(2).strip()
    try:
        return Rate(float(match.group(1)), _PER_SECONDS.get(per) or seconds(per))
    except ValueError:
        reason = "after / stands s, min, h, day or a duration such as 10s"
        raise ValueError(f"{value!r} is not a rate: {reason}") from None


def instant(value: str) -> datetime:
    """Return an RFC 3339 instant in UTC; raises `ValueError` that says how it is written."""
    match = _INSTANT.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is not an instant: write such as 2026-03-01T08:00:00Z")
    if match.group("zone") is None:
        raise ValueError(f"{value!r} has no time zone: add Z, or one such as +01:00")
    try:
        return datetime.fromisoformat(value.strip().upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{value!r} is not an instant: {error}") from None


def instant_text(at: datetime) -> str:
    """Return an instant in its normal form, in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def pause(value: Any) -> float | datetime:
    """Return what a `sleep:` says: a duration in seconds, or an instant in UTC.

    Raises `ValueError` on what is neither.
    """
    if isinstance(value, str) and _DATE.match(value):
        return instant(value)
    try:
        return seconds(value)
    except ValueError as error:
        also = ", or an instant such as 2026-03-01T08:00:00Z" if isinstance(value, str) else ""
        raise ValueError(f"{error}{also}") from None


def moment(value: Any, now: datetime) -> datetime:
    """Return when a `sleep:` of this value that begins now ends; raises `ValueError`."""
    found = pause(value)
    return found if isinstance(found, datetime) else now + timedelta(seconds=found)
