"""The history of a job is read as it is shown: memory does not grow with the job."""

from __future__ import annotations

import gc
import tracemalloc
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.virtual_fleet import record

from warrener.domain.definition.model import JobDefinition
from warrener.domain.ids import job_id
from warrener.services.history_filter import HistoryFilter
from warrener.services.logs import LogSet
from warrener.services.projector import catch_up
from warrener.services.queries import Queries
from warrener.services.wiring import open_store, open_views

ITEMS = 250
TIMES = 10
FAN = {
    "job": "fan",
    "budget": {"steps": 100_000},
    "steps": {
        "items": {
            "for_each": "${{ params.xs }}",
            "call": "work",
            "with": {"seconds": "${{ item }}"},
        }
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the stores of a small job and of one that is ten times as large."""
    made = tmp_path_factory.mktemp("stores")
    for items in (ITEMS, TIMES * ITEMS):
        params: dict[str, Any] = {"xs": [1] * items}
        coming = [(0.0, msgspec.convert(FAN, JobDefinition), params, {})]
        store = open_store(url(made, items))
        record(coming, 50, "fifo", ["default"], store)
        views = open_views(url(made, items))
        catch_up(store, views)
        views.close()
        store.close()
    return made


def url(folder: Path, items: int) -> str:
    return f"sqlite:///{folder / f'{items}.db'}"


def peak_bytes(folder: Path, items: int, wanted: HistoryFilter) -> tuple[int, int]:
    """Return how many events there are, and the peak of memory while they are gone through."""
    store, views = open_store(url(folder, items)), open_views(url(folder, items))
    queries = Queries(LogSet([store]), views)
    count = store.head()
    gc.collect()
    tracemalloc.start()
    try:
        deque(wanted.take(queries.history(job_id("job0"), tree=True)), maxlen=0)
        return count, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        views.close()
        store.close()


@pytest.mark.parametrize("wanted", [HistoryFilter(), HistoryFilter(step="items[7]", last=5)])
def test_ten_times_the_events_take_no_more_memory(folder: Path, wanted: HistoryFilter) -> None:
    peak_bytes(folder, ITEMS, wanted)  # what is loaded once
    few, small = peak_bytes(folder, ITEMS, wanted)
    many, large = peak_bytes(folder, TIMES * ITEMS, wanted)

    assert many > 0.9 * TIMES * few
    assert few > 500  # more than a page
    # One event has all items: some of it follows the size of the parameters.
    assert large < 1.5 * small + 500_000, (small, large)
