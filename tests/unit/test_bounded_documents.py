"""No document of a read model grows with the size of its job, or with how long it has lived."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from support.histories import REPORT, History

from warrener.adapters.memory_views import MemoryViewStore
from warrener.projections.attempt_views import ATTEMPTS
from warrener.projections.control_views import ACTIONS
from warrener.projections.views import (
    BIRTHS_MAX,
    DEFINITIONS,
    HISTORY,
    JOBS,
    SIGNALS_NAMED_MAX,
    STEPS,
)
from warrener.services.projector import catch_up

ITEMS = 10_000
LARGEST_BYTES = 2_500  # of a document, small payloads and all


def long_life(items: int, times: int) -> tuple[MemoryViewStore, UUID]:
    """Return the views of a job with so many items to which everything happened so many times."""
    history = History()
    job = history.submit(REPORT, params={"account": "a"}, labels={"team": "red"})
    history.start(job)
    history.open_items(job, "parts", count=items, begun=items)
    for index in range(items):
        path = f"parts[{index}]"
        history.release(job, path)
        if index % 3:
            history.retry(job, path)
            history.release(job, path, attempt=2)
        if index % 5:
            history.succeed(job, path, result=index, attempt=1 + bool(index % 3))
    for index in range(0, items, 100):
        history.open_child(job, f"parts[{index}]", REPORT)
    request = history.ask(job, "load")
    for number in range(times):
        history.signal(job, "go", f"key-{number}")
        history.pause(job)
        history.resume(job)
        history.adjust(job, "parts", window=number + 1)
        history.remind(request, number + 1)
    for generation in range(2, times + 2):
        history.rerun(job, ["merge"], generation)
        history.renew(job, "merge", generation)
    views = MemoryViewStore()
    catch_up(history.store, views)
    return views, job


def largest(tables: Mapping[str, Mapping[Any, Any]]) -> dict[str, int]:
    """Return the bytes of the largest document of each table."""
    return {
        table: max((len(msgspec.json.encode(view)) for view in found.values()), default=0)
        for table, found in tables.items()
    }


def test_no_document_grows_with_items_signals_reruns_or_pauses() -> None:
    few, _ = long_life(items=100, times=SIGNALS_NAMED_MAX)
    many, job = long_life(items=ITEMS, times=20 * SIGNALS_NAMED_MAX)

    small, large = largest(few.tables()), largest(many.tables())

    kept = many.load({JOBS: [job], STEPS: [(job, "parts"), (job, "merge")]})
    assert kept[JOBS][job].signals_kept == 20 * SIGNALS_NAMED_MAX
    assert sum(kept[STEPS][job, "parts"].items.values()) == ITEMS
    assert len(kept[STEPS][job, "merge"].births) == BIRTHS_MAX
    for table in (JOBS, STEPS, HISTORY, ATTEMPTS, ACTIONS):
        assert large[table] < small[table] + 100, table  # numbers have more digits
    assert max(bytes_ for table, bytes_ in large.items() if table != DEFINITIONS) < LARGEST_BYTES
