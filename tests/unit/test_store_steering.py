"""Steering the jobs of a store without a broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from support.driving import Driver
from support.ready import START, queued, standing

from warrener.adapters.clock import SystemClock
from warrener.adapters.memory_events import MemoryEventStore
from warrener.domain import ids
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import Conflict, UnknownJob, UsageError
from warrener.domain.events import JobCancelled, JobCancelling, Recorded
from warrener.domain.flow.lanes import Flow
from warrener.domain.ports import EventStore
from warrener.domain.step_events import StepReleased
from warrener.services.logs import LogSet
from warrener.services.settings import Settings
from warrener.services.steering import CONFLICTS_MAX, StoreSteering
from warrener.services.turn import Chance
from warrener.services.wiring import open_leases, open_store
from warrener.services.wiring_runs import open_steering

CHAIN: dict[str, Any] = {
    "job": "chain",
    "steps": {"a": {"call": "t.a"}, "b": {"call": "t.b", "after": ["a"]}},
}
PARENT: dict[str, Any] = {"job": "parent", "steps": {"sub": {"job": "chain"}}}


class RivalStore(MemoryEventStore):
    """A log to which somebody else writes just before each of the next `rivals` commits."""

    def __init__(self) -> None:
        super().__init__()
        self.rivals = 0
        self.rival: Callable[[], object] = lambda: None

    def commit(
        self,
        events: Sequence[Recorded],
        blobs: Mapping[str, bytes],
        published: int = 0,
        after: int | None = None,
    ) -> int:
        if self.rivals:
            self.rivals -= 1
            rivals, self.rivals = self.rivals, 0
            try:
                self.rival()
            finally:
                self.rivals = rivals
        return super().commit(events, blobs, published, after)


def definition(document: dict[str, Any] = CHAIN) -> JobDefinition:
    return msgspec.convert(document, JobDefinition)


def steering(store: EventStore) -> StoreSteering:
    return StoreSteering(LogSet([store]), SystemClock(), Chance(lambda: "0" * 32, lambda: 0.5))


def kinds(store: EventStore, job: UUID) -> list[type]:
    return [type(recorded.event) for recorded in store.stream(job)]


def test_a_window_of_none_lets_nothing_out() -> None:
    flow = Flow(lambda _: 100, window_max=0)
    for _ in range(3):
        flow.add(queued(uuid4()))
    flow.add_items(uuid4(), "b", standing("b"), START, items=range(10))

    assert flow.take(START) is None
    assert flow.waiting() == {"default": 13}


def test_a_job_of_the_store_is_cancelled_with_who_and_why() -> None:
    driver = Driver()
    job = driver.submit(definition(), {})

    assert steering(driver.store).cancel(job, "no need", by="ada") is True

    assert kinds(driver.store, job)[-1] is JobCancelled
    (asked,) = [r.event for r in driver.store.stream(job) if isinstance(r.event, JobCancelling)]
    assert (asked.reason, asked.cause.partition("/")[0]) == ("no need", "command:cancel")
    assert list(driver.store.open_roots()) == []


def test_a_command_that_is_refused_changes_nothing() -> None:
    driver = Driver()
    job = driver.submit(definition(), {})
    steering(driver.store).cancel(job)
    head = driver.store.head()

    with pytest.raises(UsageError, match=f"cannot pause {job}: it was cancelled already"):
        steering(driver.store).pause(job)

    assert driver.store.head() == head


def test_a_job_that_is_not_in_the_store_is_unknown() -> None:
    driver = Driver()
    driver.submit(definition(), {})

    with pytest.raises(UnknownJob, match=f"no job {UUID(int=7)} in the store"):
        steering(driver.store).cancel(UUID(int=7))
    with pytest.raises(UnknownJob):  # the stream of a step
        steering(driver.store).pause(ids.step_id(ids.job_id("key"), "a"))


def test_the_tree_around_a_child_job_is_loaded() -> None:
    driver = Driver()
    root = driver.submit(definition(PARENT), {}, {"chain": definition()})
    child = ids.child_job_id(ids.step_id(root, "sub"))

    with pytest.raises(UsageError, match=f"cancel its root {root}"):
        steering(driver.store).cancel(child)


def test_whoever_is_overtaken_loads_again_and_decides_anew() -> None:
    store = RivalStore()
    driver = Driver(store)
    job = driver.submit(definition(), {})
    store.rival = lambda: driver.succeed(driver.order("a"))
    store.rivals = 1

    steering(store).cancel(job)

    # The step that the rival released meanwhile is cancelled, too.
    assert kinds(store, ids.step_id(job, "b"))[0] is StepReleased
    assert kinds(store, job)[-1] is JobCancelled


def test_what_is_decided_already_when_it_is_looked_at_again_changes_nothing() -> None:
    store = RivalStore()
    job = Driver(store).submit(definition(), {})
    store.rival = lambda: steering(store).cancel(job)
    store.rivals = 1

    assert steering(store).cancel(job)

    assert kinds(store, job).count(JobCancelled) == 1


def test_it_gives_up_after_so_many_conflicts() -> None:
    store = RivalStore()
    job = Driver(store).submit(definition(), {})
    tries = 0

    def refuse() -> None:
        nonlocal tries
        tries += 1
        raise Conflict("somebody was faster")

    store.rival, store.rivals = refuse, 1_000

    with pytest.raises(Conflict, match="try again"):
        steering(store).cancel(job)

    assert tries == CONFLICTS_MAX


def test_others_are_kept_waiting_from_loading_to_committing() -> None:
    driver = Driver()
    job = driver.submit(definition(), {})
    heads: list[int] = []

    @contextmanager
    def alone(_log: EventStore) -> Iterator[None]:
        heads.append(driver.store.head())
        yield
        heads.append(driver.store.head())

    StoreSteering(LogSet([driver.store]), SystemClock(), Chance(str, lambda: 0.5), alone).cancel(
        job
    )

    assert len(heads) == 2
    assert heads[0] < heads[1] == driver.store.head()


def test_a_store_that_a_reactor_works_on_is_not_written_beside_it(tmp_path: Path) -> None:
    settings = Settings(store_url=f"sqlite:///{tmp_path}/jobs.db", views_url="")
    store = open_store(settings.store_url)
    job = Driver(store).submit(definition(), {})
    leases = open_leases(settings.store_url)
    now = SystemClock().now()
    assert leases.take(0, "r1", now, 60)

    with pytest.raises(UsageError, match=r"the reactor r1 works on this store: .*BROKER_URL"):
        open_steering(settings, LogSet([store]))

    leases.give_up(0, "r1")
    assert leases.take(0, "r2", now - timedelta(seconds=60), 1)  # has run out
    assert open_steering(settings, LogSet([store])).cancel(job)
    assert kinds(store, job)[-1] is JobCancelled
    leases.close()
    store.close()
