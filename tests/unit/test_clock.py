"""Clocks tell the time in UTC; the virtual one only as it is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from warrener.adapters.clock import SystemClock, VirtualClock

START = datetime(2030, 1, 1, tzinfo=UTC)


def test_the_clock_of_the_machine_tells_the_time_in_utc() -> None:
    before = datetime.now(UTC)

    now = SystemClock().now()

    assert before <= now <= datetime.now(UTC)
    assert now.utcoffset() == timedelta(0)


def test_a_virtual_clock_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock(START)

    assert clock.now() == clock.now() == START
    clock.advance(1.5)
    assert clock.now() == START + timedelta(seconds=1.5)
    clock.advance(-3600)
    assert clock.now() == START + timedelta(seconds=1.5 - 3600)
    clock.set(START)
    assert clock.now() == START
