"""Retry rules: first match, own counters, capped exponential waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.domain import retry
from warrener.domain.definition.model import RetryRule
from warrener.domain.events import Error

RULES = (
    RetryRule(on="throttled", wait="retry-after"),
    RetryRule(on="ConnectionError", max=5),
    RetryRule(on="*", max=4, first=2.0, factor=2.0, cap=300.0),
)


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (Error(code="throttled", message=""), 0),
        (Error(code="error", message="", type="ConnectionError"), 1),
        (Error(code="error", message="", type="ValueError"), 2),
    ],
)
def test_the_first_rule_that_names_code_or_class_or_star_answers(error: Error, number: int) -> None:
    assert retry.match(RULES, error) == number


def test_no_rule_answers_when_none_names_the_error() -> None:
    assert retry.match(RULES[:1], Error(code="error", message="")) is None


def test_a_rule_allows_attempts_up_to_its_maximum_the_first_included() -> None:
    assert [retry.allowed(RULES[2], failures) for failures in (1, 3, 4, 5)] == [
        True,
        True,
        False,
        False,
    ]


def test_a_rule_without_maximum_never_gives_up() -> None:
    assert retry.allowed(RULES[0], 1_000_000)


def test_waits_grow_by_the_factor_up_to_the_cap() -> None:
    rule = RetryRule(first=2.0, factor=3.0, cap=50.0, jitter="none")

    waits = [retry.wait_seconds(rule, failures, 0.5) for failures in (1, 2, 3, 4, 100)]

    assert waits == [2.0, 6.0, 18.0, 50.0, 50.0]


def test_what_the_endpoint_asked_for_goes_before_the_backoff() -> None:
    assert retry.wait_seconds(RULES[2], 3, 0.9, retry_after=30.0) == 30.0


@given(
    failures=st.integers(1, 10**9),
    jitter=st.floats(0, 1, exclude_max=True),
    first=st.floats(0, 1e6),
    factor=st.floats(1, 1e6),
    cap=st.floats(0, 1e9),
)
def test_a_wait_is_never_negative_and_never_beyond_its_cap(
    failures: int, jitter: float, first: float, factor: float, cap: float
) -> None:
    rule = RetryRule(first=first, factor=factor, cap=cap)

    wait = retry.wait_seconds(rule, failures, jitter)

    assert 0 <= wait <= min(cap, retry.WAIT_SECONDS_MAX)


def test_each_rule_counts_for_itself() -> None:
    counters = retry.counted(retry.counted(retry.counted({}, 2), 0), 2)

    assert counters == {2: 2, 0: 1}


@pytest.mark.parametrize(
    "rule",
    [
        RetryRule(cap=-1e308, jitter="none"),
        RetryRule(first=-1e308, jitter="none"),
        RetryRule(first=1e308, factor=1e308, cap=1e308, jitter="none"),
        RetryRule(factor=-1e308, jitter="none"),
    ],
)
def test_a_wait_is_never_negative_nor_longer_than_time_can_be(rule: RetryRule) -> None:
    for failures in (1, 2, 3, 50):
        assert 0.0 <= retry.wait_seconds(rule, failures, 0.5) <= retry.WAIT_SECONDS_MAX
