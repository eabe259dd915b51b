"""The policies that are known here: our own, and those of other packages by entry point.

A package names its `Order` under the entry point group `warrener.policies`, by the name of the
policy. One that cannot be used is told in the log and left out: nothing else stops for it. Nor does
anything for one that fails later, see `services.policy_guard`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from importlib.metadata import EntryPoint
from typing import Final
from uuid import UUID

import structlog

from warrener.domain.errors import UsageError
from warrener.domain.flow.orders import DEFAULT_ORDER, ORDERS, Order
from warrener.domain.flow.ready import Stage, Standing
from warrener.services.policy_guard import guarded

GROUP: Final = "warrener.policies"
_TRIED: Final = tuple(
    Standing(
        Stage("default", "job", "step"),
        UUID(int=1),
        datetime(2026, 1, 1, tzinfo=UTC),
        fair=fair,
        deadline=deadline,
    )
    for fair in ("", "a")
    for deadline in (None, datetime(2026, 1, 2, tzinfo=UTC))
)

log = structlog.get_logger()


class BrokenPolicy(Exception):
    """A policy of another package cannot be used."""


def orders() -> Mapping[str, Order]:
    """Return all policies that are known here, by name."""
    from importlib.metadata import entry_points

    found = dict(ORDERS)
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        try:
            if entry.name in found:
                raise BrokenPolicy("there is another one of this name")
            found[entry.name] = guarded(_loaded(entry))
        except Exception as error:  # whatever a module of others raises while it is loaded
            reason = str(error) if isinstance(error, BrokenPolicy) else _told(error)
            log.error("policy.broken", policy=entry.name, place=entry.value, reason=reason)
    return found


def check_known(name: str, known: Mapping[str, Order]) -> None:
    """Raise `UsageError` if there is no such policy, with those that there are."""
    if name in known:
        return
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed = "; ".join(f"{each.name}: {each.summary}" for each in known.values())
    raise UsageError(f"there is no policy {name!r}: {hint}Known are {listed}")


def tell_if_unknown(name: str, known: Mapping[str, Order]) -> None:
    """Tell in the log that a policy is not installed here, so that the default one holds."""
    if name not in known:
        log.warning("policy.unknown", policy=name, instead=DEFAULT_ORDER)


def _loaded(entry: EntryPoint) -> Order:
    order = entry.load()
    if not isinstance(order, Order):
        raise BrokenPolicy(f"it is a {type(order).__name__}, not an Order")
    if order.name != entry.name:
        raise BrokenPolicy(f"it calls itself {order.name!r}")
    _try(order)
    return order


def _try(order: Order) -> None:
    """Try the rules of a policy: who uses it is to hear of its faults before it is used."""
    ranks = []
    for standing in _TRIED:
        rank = order.rank(standing)
        ranks.append(rank)
        if not isinstance(rank, tuple):
            raise BrokenPolicy(f"its rank is a {type(rank).__name__}, not a tuple")
        if order.tier is not None and not isinstance(order.tier(standing), int):
            raise BrokenPolicy("its tier is not a whole number")
        if order.key is not None and not isinstance(order.key(standing), str):
            raise BrokenPolicy("its key is not text")
        if order.weight is not None and not order.weight(standing, {}) > 0:
            raise BrokenPolicy("its weight is not greater than 0")
    sorted(ranks)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
