"""A fan-out of 100,000 items: no event and no memory grows with the size of the job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from warrener import endpoint
from warrener.domain.definition.model import JobDefinition
from warrener.domain.flow.window import WINDOW_MAX
from warrener.domain.payloads import INLINE_BYTES_MAX
from warrener.services.embedded import Embedded
from warrener.services.submission import Source, submission
from warrener.services.wiring import open_store
from warrener.services.wiring_runs import INLINE_ORDERS, open_embedded

ITEMS = 100_000
WIDE: dict[str, Any] = {
    "job": "wide",
    "budget": {"steps": 1_000_000},
    "steps": {
        "items": {
            "for_each": "${{ params.numbers }}",
            "call": "scale.twice",
            "with": {"number": "${{ item }}"},
        },
        "sum": {"call": "scale.sum", "with": {"numbers": "${{ steps.items.results }}"}},
    },
    "result": "${{ steps.sum.result }}",
}


@endpoint("scale.twice")
def twice(number: int) -> int:
    return 2 * number


@endpoint("scale.sum")
def total(numbers: list[int]) -> int:
    return sum(numbers)


def test_a_fan_out_of_100_000_items_grows_neither_events_nor_the_working_set(
    tmp_path: Path,
) -> None:
    store = open_store(f"sqlite:///{tmp_path}/jobs.db")
    embedded = open_embedded(store, queues=["default"], workers=1, modules=[], mode="inline")
    definition = msgspec.convert(WIDE, JobDefinition)
    numbers = list(range(ITEMS))
    job = embedded.submit(submission(Source(definition), {"numbers": numbers}, key="wide"))
    active_max = 0

    def watch(_: Any) -> None:
        nonlocal active_max
        active_max = max(active_max, working_set(embedded))

    outcome = embedded.run(job, watch)

    assert outcome.result == 2 * sum(numbers)
    assert outcome.steps == {"succeeded": ITEMS + 2}
    assert 0 < active_max <= WINDOW_MAX + 2 * INLINE_ORDERS
    largest = max(len(msgspec.json.encode(each.recorded.event)) for each in all_events(store))
    assert largest < INLINE_BYTES_MAX
    embedded.close()
    store.close()


def working_set(embedded: Embedded) -> int:
    return len(embedded.reactor.controller.memory.steps)


def all_events(store: Any) -> Any:
    position = 0
    while batch := store.read(position, 10_000):
        yield from batch
        position = batch[-1].position
