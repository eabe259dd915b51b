"""Orders of release: which of the ready steps of a queue goes out next.

An order is put together from up to three rules. The tier is strict: a higher one goes first. Within
a tier those with different keys share the workers' time by weight. Within a key the smallest rank
goes first, and of the same rank what became ready first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec

from warrener.domain.flow.ready import Standing

AGEING_SECONDS: Final = 300.0  # who has waited longer may be let pass others
AGEING_TURNS: Final = 8  # that often: every so manieth release goes to the one who waits longest
NO_DEADLINE_SECONDS: Final = 3_600.0  # after its submission a job without a deadline counts as due
TIER_BITS_MAX: Final = 16

Weights = Mapping[str, float]


class Order(msgspec.Struct, frozen=True):
    """An order of release. All rules are pure functions of what stands for a step.

    With `ages` every `AGEING_TURNS`th release goes to the step that waits longest, once that is
    longer than `AGEING_SECONDS`, whatever the rules say: nobody waits for ever.
    """

    name: str
    summary: str
    rank: Callable[[Standing], tuple[Any, ...]]
    tier: Callable[[Standing], int] | None = None
    key: Callable[[Standing], str] | None = None
    weight: Callable[[Standing, Weights], float] | None = None
    ages: bool = True


def by_arrival(_: Standing) -> tuple[Any, ...]:
    """Rank all alike, so that what became ready first goes first."""
    return ()


def by_finish(standing: Standing) -> tuple[Any, ...]:
    """Rank the oldest tree of jobs first; in it the deepest job, and what is nearest to its end."""
    return standing.submitted_at, standing.root.int, -standing.depth, standing.remaining


def by_deadline(standing: Standing) -> tuple[Any, ...]:
    """Rank the earliest deadline first, then as `by_finish`."""
    due = standing.deadline
    if due is None:
        due = standing.submitted_at + timedelta(seconds=NO_DEADLINE_SECONDS)
    return due, *by_finish(standing)


def priority(standing: Standing) -> int:
    """Return the priority of the job."""
    return standing.priority


def fairness_key(standing: Standing) -> str:
    """Return the fairness key of the job."""
    return standing.fair


def tenant(standing: Standing) -> str:
    """Return the fairness key of the job; a tree of jobs without one is a key of its own."""
    return standing.fair or str(standing.root)


def key_weight(standing: Standing, weights: Weights) -> float:
    """Return the weight that people gave to the fairness key, 1 if none."""
    return weights.get(standing.fair, 1.0)


def priority_weight(standing: Standing, weights: Weights) -> float:
    """Return the weight of the key, doubled with each step of priority and halved below 0."""
    bits = max(-TIER_BITS_MAX, min(TIER_BITS_MAX, standing.priority))
    return key_weight(standing, weights) * 2.0**bits


def _weighted_key(standing: Standing) -> str:
    return f"{standing.priority}/{standing.fair}"


FINISH_FIRST: Final = Order(
    name="finish-first",
    summary="by priority, shares for fairness keys, then the oldest job, its last steps first",
    rank=by_finish,
    tier=priority,
    key=fairness_key,
    weight=key_weight,
)
ORDERS: Final[Mapping[str, Order]] = {
    order.name: order
    for order in (
        Order(name="fifo", summary="what became ready first", rank=by_arrival, ages=False),
        FINISH_FIRST,
        Order(
            name="fair",
            summary="by priority, shares for fairness keys and for each job without one",
            rank=by_finish,
            tier=priority,
            key=tenant,
            weight=key_weight,
        ),
        Order(
            name="deadline",
            summary="by priority, then the earliest deadline",
            rank=by_deadline,
            tier=priority,
        ),
        Order(
            name="weighted",
            summary="shares by weight: the fairness key's, doubled with each step of priority",
            rank=by_finish,
            key=_weighted_key,
            weight=priority_weight,
        ),
    )
}
DEFAULT_ORDER: Final = FINISH_FIRST.name
