"""Which failures are tried again, how often, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from warrener.domain.definition.model import DEFAULT_RETRY, RetryRule
from warrener.domain.events import Error

DEFAULT = DEFAULT_RETRY
WAIT_SECONDS_MAX = 30 * 24 * 3600.0


def match(rules: Sequence[RetryRule], error: Error) -> int | None:
    """Return the number of the first rule that answers this error, by code, class name or `*`."""
    names = {"*", error.code, error.type}
    return next((number for number, rule in enumerate(rules) if rule.on in names), None)


def allowed(rule: RetryRule, failures: int) -> bool:
    """Say whether another attempt is due after so many failures that this rule answered."""
    return rule.max is None or failures < rule.max


def wait_seconds(
    rule: RetryRule, failures: int, jitter: float, retry_after: float | None = None
) -> float:
    """Return how long to wait after failure number `failures` (from 1) that this rule answered.

    `jitter` is a random number from [0, 1). What the endpoint itself asked for goes first.
    """
    if retry_after is not None:
        return min(max(retry_after, 0.0), WAIT_SECONDS_MAX)
    try:
        grown = rule.first * rule.factor ** (failures - 1)
    except OverflowError:
        grown = WAIT_SECONDS_MAX
    backoff = max(0.0, min(rule.cap, grown, WAIT_SECONDS_MAX))
    return backoff * jitter if rule.jitter == "full" else backoff


def counted(failures: Mapping[int, int], rule: int) -> dict[int, int]:
    """Return the counters with one more failure for a rule."""
    return {**failures, rule: failures.get(rule, 0) + 1}
