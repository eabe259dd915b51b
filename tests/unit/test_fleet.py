"""What the fleet announces, and what the controller makes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from warrener.domain.fleet import Fleet
from warrener.domain.messages import WorkerBeat, WorkerBye, WorkerHello

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def state(kind: type[Any] = WorkerHello, worker: str = "w1", **fields: Any) -> Any:
    known = {"host": "h", "pid": 1, "endpoints": ("a.b",), "queues": ("fetch",), "slots": 4}
    return kind(worker=worker, **{**known, **fields})


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_the_slots_of_a_queue_are_those_of_all_workers_that_serve_it():
    fleet = Fleet()

    fleet.hear(state(worker="w1", queues=("fetch", "default")), NOW)
    fleet.hear(state(worker="w2", slots=3), NOW)

    assert (fleet.slots("fetch"), fleet.slots("default"), fleet.slots("other")) == (7, 4, 0)


def test_a_worker_that_says_goodbye_is_gone_at_once():
    fleet = Fleet()
    fleet.hear(state(), NOW)

    fleet.hear(state(WorkerBye), NOW)

    assert (fleet.slots("fetch"), fleet.members) == (0, {})


def test_a_worker_that_misses_three_beats_is_gone():
    fleet = Fleet()
    fleet.hear(state(worker="silent", beat_seconds=10), NOW)
    fleet.hear(state(worker="alive", beat_seconds=10), NOW)
    fleet.hear(state(WorkerBeat, worker="alive", beat_seconds=10), later(20))

    assert fleet.expire(later(29)) == []
    assert fleet.expire(later(30)) == ["silent"]

    assert fleet.slots("fetch") == 4
    assert list(fleet.members) == ["alive"]


def test_a_worker_may_change_what_it_serves():
    fleet = Fleet()
    fleet.hear(state(), NOW)

    fleet.hear(state(WorkerBeat, queues=("other",), slots=9), later(1))

    assert (fleet.slots("fetch"), fleet.slots("other")) == (0, 9)


def test_a_beat_of_a_worker_nobody_knew_makes_it_known():
    fleet = Fleet()

    fleet.hear(state(WorkerBeat), NOW)

    assert fleet.slots("fetch") == 4


def test_workers_that_could_serve_a_queue_and_do_not_can_be_moved_to_it():
    fleet = Fleet()
    fleet.hear(state(worker="w2", able=("parse", "load")), NOW)
    fleet.hear(state(worker="w1", able=("parse",)), NOW)
    fleet.hear(state(worker="there", queues=("parse",), able=("fetch",)), NOW)
    fleet.hear(state(worker="both", queues=("parse",), able=("parse",)), NOW)
    fleet.hear(state(worker="unable"), NOW)

    assert [each.worker for each in fleet.movable("parse")] == ["w1", "w2"]
    assert [each.worker for each in fleet.movable("load")] == ["w2"]
    assert fleet.movable("fetch") == [fleet.members["there"].state]


def test_a_worker_that_was_moved_can_be_moved_no_more_but_back():
    fleet = Fleet()
    fleet.hear(state(able=("parse",)), NOW)

    fleet.hear(state(WorkerBeat, queues=("parse",), able=("fetch",)), later(1))

    assert fleet.movable("parse") == []
    assert [each.worker for each in fleet.movable("fetch")] == ["w1"]
