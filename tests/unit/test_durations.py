"""Durations, rates and instants as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.domain.definition.durations import (
    SECONDS_MAX,
    duration_text,
    instant,
    instant_text,
    moment,
    rate,
    seconds,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.integers(0, int(SECONDS_MAX) * 1000))
def test_a_duration_written_down_is_read_as_it_was(milliseconds):
    assert seconds(duration_text(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@pytest.mark.parametrize(
    ("duration", "text"),
    [(0, "0s"), (0.25, "250ms"), (90, "1m30s"), (1209600, "14d"), (5400.5, "1h30m500ms")],
)
def test_a_duration_is_written_in_the_largest_units(duration, text):
    assert duration_text(duration) == text


@pytest.mark.parametrize(
    "value", [10**400, float("nan"), float("inf"), -1, True, None, "", "9" * 99]
)
def test_what_is_no_duration_is_refused(value):
    with pytest.raises(ValueError, match="duration"):
        seconds(value)


@given(st.datetimes(timezones=st.timezones()).filter(lambda at: 1 < at.year < 9999))
def test_an_instant_keeps_its_moment_in_utc(at):
    text = instant_text(at)

    assert text.endswith("Z")
    assert instant(text) == at.astimezone(UTC)


@pytest.mark.parametrize(
    "text", ["2026-03-01T08:00:00z", "2026-03-01 09:00:00+01:00", " 2026-02-28T22:00:00.000-10:00 "]
)
def test_an_instant_may_be_in_any_zone(text):
    assert instant(text) == datetime(2026, 3, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026-03-01T08:00:00", "has no time zone: add Z"),
        ("2026-03-01", "is not an instant: write such as"),
        ("2026-02-30T08:00:00Z", "day is out of range"),
        ("0001-01-01T00:00:00+10:00", "is not an instant"),
        ("20260301T080000Z", "is not an instant"),
    ],
)
def test_what_is_no_instant_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        instant(text)


@pytest.mark.parametrize("text", ["20", "/s", "20/", "-1/s", "1/s/s", "x/s", "20/fortnight", None])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(ValueError, match="is not a rate"):
        rate(text)


def test_a_sleep_ends_after_a_duration_or_at_an_instant():
    assert moment("2h", NOW) == moment(7200, NOW) == NOW + timedelta(hours=2)
    assert moment("2026-03-01T09:00:00+01:00", NOW) == datetime(2026, 3, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize("value", [None, True, [], {}, "soon", "2026-03-01", -1])
def test_a_sleep_of_anything_else_is_refused(value):
    with pytest.raises(ValueError, match=r"duration|instant"):
        moment(value, NOW)
