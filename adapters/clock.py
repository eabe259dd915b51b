"""Clocks: the machine's, and one that stands still until it is told to go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)


class VirtualClock:
    """A clock that only its owner moves, for tests and simulation."""

    def __init__(self, start: datetime) -> None:
        """Begin at a time with time zone."""
        self._now = start

    def now(self) -> datetime:
        """Return the time that was set last."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass; a negative number sets the clock back, as a clock that jumps does."""
        self._now += timedelta(seconds=seconds)

    def set(self, now: datetime) -> None:
        """Jump to a time."""
        self._now = now
