"""Keeps the rules of policies of others from stopping a reactor: what they raise, or make no sense.

Where a rule fails, that of the default policy is taken for the step, and the log tells it once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog

from warrener.domain.flow.orders import (
    Order,
    Weights,
    by_finish,
    fairness_key,
    key_weight,
    priority,
)
from warrener.domain.flow.ready import Standing

NESTING_MAX = 10  # of what a rank consists of
WEIGHT_MIN: Final = 1e-6
WEIGHT_MAX: Final = 1e12

T = TypeVar("T")

log = structlog.get_logger()


class UselessRule(Exception):
    """What a rule of a policy gives is of no use."""


def guarded(order: Order) -> Order:
    """Return an order whose rules never raise, and give nothing that cannot be compared."""
    guard = _Guard(order)
    return Order(
        name=order.name,
        summary=order.summary,
        rank=guard.rank,
        tier=None if order.tier is None else guard.tier,
        key=None if order.key is None else guard.key,
        weight=None if order.weight is None else guard.weight,
        ages=order.ages,
    )


class _Guard:
    def __init__(self, order: Order) -> None:
        self._order = order
        self._told: set[str] = set()

    def rank(self, standing: Standing) -> tuple[Any, ...]:
        def own() -> Any:
            return _comparable(_tuple(self._order.rank(standing)))

        return (self._or("rank", own, lambda: _comparable(by_finish(standing))),)

    def tier(self, standing: Standing) -> int:
        rule = self._order.tier
        assert rule is not None
        return self._or("tier", lambda: _whole(rule(standing)), lambda: priority(standing))

    def key(self, standing: Standing) -> str:
        rule = self._order.key
        assert rule is not None
        return self._or("key", lambda: _text(rule(standing)), lambda: fairness_key(standing))

    def weight(self, standing: Standing, weights: Weights) -> float:
        rule = self._order.weight
        assert rule is not None
        return self._or(
            "weight",
            lambda: _weight(rule(standing, weights)),
            lambda: key_weight(standing, weights),
        )

    def _or(self, name: str, own: Callable[[], T], default: Callable[[], T]) -> T:
        """Return what a rule gives, or what the default policy does if that is of no use."""
        try:
            return own()
        except Exception as error:  # whatever code of others raises
            if name not in self._told:
                self._told.add(name)
                reason = f"{type(error).__name__}: {error}"
                log.error("policy.failed", policy=self._order.name, rule=name, reason=reason)
            return default()


def _tuple(rank: Any) -> Any:
    if not isinstance(rank, tuple):
        raise UselessRule(f"it is a {type(rank).__name__}, not a tuple")
    return rank


def _comparable(value: Any, nesting: int = 0) -> tuple[Any, ...]:
    """Return a value with its kind before it: those of different kinds compare by that."""
    if value is None:
        return (9,)
    if isinstance(value, bool | int | float) and value == value:  # noqa: PLR0124 - NaN is not
        return 0, value
    if isinstance(value, str):
        return 1, value
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return 2, value
    if isinstance(value, timedelta):
        return 3, value
    if isinstance(value, UUID):
        return 4, value.int
    if isinstance(value, Sequence) and not isinstance(value, bytes) and nesting < NESTING_MAX:
        return 5, tuple(_comparable(each, nesting + 1) for each in value)
    raise UselessRule(f"what is compared is a {type(value).__name__}: {value!r}")


def _whole(tier: Any) -> int:
    if not isinstance(tier, int):
        raise UselessRule(f"it is a {type(tier).__name__}, not a whole number")
    return tier


def _text(key: Any) -> str:
    if not isinstance(key, str):
        raise UselessRule(f"it is a {type(key).__name__}, not text")
    return key


def _weight(weight: Any) -> float:
    if not WEIGHT_MIN <= weight <= WEIGHT_MAX:  # nor is it NaN
        raise UselessRule(f"it is {weight!r}, not from {WEIGHT_MIN} to {WEIGHT_MAX}")
    return float(weight)
