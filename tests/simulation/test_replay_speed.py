"""A replay of a job of 10,000 steps costs a few times what reading its log does.

`ops/bench/replay.py` gives the seconds: well under one on a quiet machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from support.virtual_fleet import record

from warrener.domain.definition.model import JobDefinition
from warrener.domain.ids import job_id
from warrener.services.logs import LogSet
from warrener.services.past import replay
from warrener.services.places import Place
from warrener.services.projector import catch_up
from warrener.services.queries import Queries
from warrener.services.wiring import open_past_views, open_store, open_views

STEPS = 10_000
RATIO_MAX = 8.0  # measured: 2 to 4
ROUNDS = 3
ITEMS = {"for_each": "${{ params.xs }}", "call": "work", "with": {"seconds": "${{ item }}"}}
FAN = {"job": "fan", "budget": {"steps": 100_000}, "steps": {"items": ITEMS}}


def least_seconds(work: Callable[[], object]) -> float:
    """Return the least time of the processor that it takes: others disturb that little."""
    found = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


def test_ten_thousand_steps_are_replayed_in_a_few_times_what_it_takes_to_read_them(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    store, definition = open_store(url), msgspec.convert(FAN, JobDefinition)
    record([(0.0, definition, {"xs": [1] * STEPS}, {})], 500, "fifo", ["default"], store)
    views = open_views(url)
    catch_up(store, views)
    logs, place, head = LogSet([store]), Place(job_id("job0")), store.head()
    queries, last = Queries(logs, views), store.read(head - 1, 1)[0].recorded.event.at

    def past(position: int) -> dict[str, int]:
        found = replay(logs, queries, place, position, now=last, open_views=open_past_views)
        return found.show().counts

    reading = least_seconds(lambda: store.read(0, head))
    replaying = least_seconds(lambda: past(head))

    assert head >= 2 * STEPS
    assert past(head) == {"succeeded": STEPS + 1}
    assert sum(past(head // 2).values()) == STEPS + 1
    assert replaying < RATIO_MAX * reading, (replaying, reading)
    views.close()
    store.close()
