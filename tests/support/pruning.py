"""A store with jobs that ended, and some that did not, to be pruned."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from support.driving import START, Driver

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.definition.model import JobDefinition
from warrener.domain.ports import EventStore
from warrener.projections.ports import ViewStore
from warrener.services.logs import LogSet
from warrener.services.queries import Queries
from warrener.services.upkeep.prune import Pruned, Wish, prune

DAY = timedelta(days=1)
BIG = "x" * 70_000  # over what stands in an event


def definition(name: str, steps: dict[str, Any], **fields: Any) -> JobDefinition:
    """Return a job of these steps."""
    return msgspec.convert({"job": name, "steps": steps, **fields}, JobDefinition)


LEAF = definition("leaf", {"work": {"call": "work"}}, result="${{ steps.work.result }}")
TREE = definition(
    "tree",
    {
        "first": {"call": "first"},
        "below": {
            "for_each": "${{ steps.first.result }}",
            "job": "leaf",
            "with": {},
        },
    },
)


class Kept:
    """Jobs by hand on a store, with its read models, and the ways to prune and ask."""

    def __init__(self, store: EventStore | None = None, views: ViewStore | None = None) -> None:
        self.driver = Driver(store)
        self.views = views or MemoryViewStore()
        self.logs = LogSet([self.driver.store])

    def leaf(self, key: str, result: Any = "done", *, fails: bool = False) -> UUID:
        """Run a job of one step to its end."""
        job = self.driver.submit(LEAF, {}, key=key)
        order = self.driver.order("work")
        if fails:
            self.driver.fail(order)
        else:
            self.driver.succeed(order, result)
        return job

    def tree(self, key: str, results: tuple[Any, ...] = (1, 2), *, ends: bool = True) -> UUID:
        """Run a job with a child job for each result; unless it `ends`, the last stays open."""
        job = self.driver.submit(TREE, {}, {"leaf": LEAF}, key=key)
        self.driver.succeed(self.driver.order("first"), list(range(len(results))))
        orders = [order for order in self.driver.orders if order.path == "work"][-len(results) :]
        for place, (order, result) in enumerate(zip(orders, results, strict=True)):
            if ends or place < len(results) - 1:
                self.driver.succeed(order, result)
        return job

    def children(self, job: UUID) -> list[UUID]:
        """Return the child jobs of a tree."""
        return [node.job for node in self.queries().tree(job).children]

    def wait(self, days: float) -> None:
        """Let time pass."""
        self.driver.wait(days * DAY.total_seconds())

    def wish(self, folder: Path, days: float = 30, name: str = "one", **more: Any) -> Wish:
        """Return what asks for jobs that ended so many days ago."""
        before: datetime = self.driver.now - days * DAY
        return Wish(before, folder, name, self.driver.now, "test", **more)

    def prune(self, folder: Path, days: float = 30, name: str = "one", **more: Any) -> Pruned:
        """Prune the store."""
        return prune(self.logs, self.views, self.wish(folder, days, name, **more), work)

    def queries(self) -> Queries:
        """Return the queries over the store."""
        return Queries(self.logs, self.views)


def work(_unit: str, _note: str) -> AbstractContextManager[Any]:
    """Take progress, and show it to nobody."""
    return nullcontext(lambda _done, _total: None)


__all__ = ["BIG", "DAY", "LEAF", "START", "TREE", "Kept", "definition", "work"]
