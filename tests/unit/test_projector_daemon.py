"""Projector daemons, over logs and read models in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.histories import REPORT, History, half_done_report
from support.log_checks import eventually

from warrener.adapters.clock import SystemClock
from warrener.adapters.memory_leases import MemoryLeases
from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.errors import StoredDataError, StoreUnavailable
from warrener.domain.ports import Positioned
from warrener.projections.apply import READ_MODELS
from warrener.projections.ports import Documents
from warrener.projections.views import JOBS
from warrener.services.logs import LogSet
from warrener.services.projector import catch_up
from warrener.services.projector_daemon import ProjectorDaemon
from warrener.services.shares import Identity


class Site:
    """Logs of several partitions, and projectors that follow them."""

    def __init__(self, partitions: int = 4, views: MemoryViewStore | None = None) -> None:
        self.histories = [History(partition) for partition in range(partitions)]
        self.logs = LogSet([history.store for history in self.histories])  # type: ignore[misc]
        self.views = views or MemoryViewStore()
        self.leases = MemoryLeases()

    def daemon(self, name: str = "a") -> ProjectorDaemon:
        clock = SystemClock()
        return ProjectorDaemon(Identity(name), self.logs, self.views, self.leases, clock=clock)

    def write(self, key: str) -> None:
        for partition, history in enumerate(self.histories):
            history.submit(REPORT, key=f"{key}/{partition}")

    def is_up_to_date(self) -> bool:
        heads = [history.store.head() for history in self.histories]
        found = [min(self.views.positions(n).values(), default=0) for n in range(len(heads))]
        return found == heads

    def expected(self) -> MemoryViewStore:
        plain = MemoryViewStore()
        for history in self.histories:
            catch_up(history.store, plain)
        return plain


@contextmanager
def running(daemon: ProjectorDaemon) -> Iterator[None]:
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        yield
    finally:
        daemon.stop()
        thread.join(10)
        assert not thread.is_alive()


def test_it_follows_the_logs_of_all_partitions() -> None:
    site = Site()
    site.write("first")

    with running(site.daemon()):
        eventually(site.is_up_to_date)
        site.write("second")
        eventually(site.is_up_to_date)

    assert site.views.tables() == site.expected().tables()
    assert len(site.views.tables()[JOBS]) == 8


def test_two_share_the_partitions_and_one_goes_on_alone_when_the_other_stops() -> None:
    site = Site()
    first, second = site.daemon("a"), site.daemon("b")

    with running(first):
        with running(second):
            eventually(lambda: len(first.share.held) == 2 and len(second.share.held) == 2)
            site.write("shared")
            eventually(site.is_up_to_date)
        eventually(lambda: len(first.share.held) == 4)
        site.write("alone")
        eventually(site.is_up_to_date)

    assert site.leases.all() == {}
    assert site.leases.members(SystemClock().now()) == []
    assert site.views.tables() == site.expected().tables()


class Troubled(MemoryViewStore):
    """Cannot be used for a while."""

    failures_left = 3

    def save(
        self,
        model: str,
        after: int,
        position: int,
        changes: Documents,
        partition: int = 0,
        *,
        loaded: Documents | None = None,
    ) -> None:
        if self.failures_left:
            self.failures_left -= 1
            raise StoreUnavailable("gone for a moment")
        super().save(model, after, position, changes, partition, loaded=loaded)


def test_it_goes_on_after_trouble_with_the_store() -> None:
    site = Site(views=Troubled())
    site.write("first")

    with capture_logs() as logs, running(site.daemon()):
        eventually(site.is_up_to_date)

    trouble = [entry for entry in logs if entry["event"] == "projector.trouble"]
    assert [entry["again_in_seconds"] for entry in trouble] == [0.25, 0.5, 1.0]


def test_once_brings_everything_up_whoever_holds_the_leases() -> None:
    site = Site()
    site.write("first")
    for partition in range(4):
        site.leases.take(partition, "another", SystemClock().now(), 60)

    assert site.daemon().catch_up()

    assert site.is_up_to_date()
    assert {lease.holder for lease in site.leases.all().values()} == {"another"}


def test_once_says_when_something_could_not_be_brought_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site(partitions=1)
    site.histories = [half_done_report()[0]]
    log = site.histories[0].store
    read = log.read

    def broken(after_position: int, limit: int) -> Sequence[Positioned]:
        if after_position < 7 <= after_position + limit:
            raise StoredDataError("event 7 is broken", event="StepReleased")
        return read(after_position, limit)

    monkeypatch.setattr(log, "read", broken)
    site.logs = LogSet([log])  # type: ignore[list-item]

    assert not site.daemon().catch_up()

    assert site.views.positions()["control"] == log.head()
    assert site.views.positions()["jobs"] == 6


def test_how_far_it_is_behind_is_logged_by_partition_and_model() -> None:
    site = Site(partitions=2)

    with capture_logs() as logs, running(site.daemon()):
        eventually(lambda: told(logs) != [])

    assert len(told(logs)) == 2 * len(READ_MODELS)
    assert {entry["events_behind"] for entry in told(logs)} == {0}


def told(logs: list[Any]) -> list[Any]:
    return [entry for entry in logs if entry["event"] == "projector.status"]
