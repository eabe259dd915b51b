"""Projectors that share the partitions of a MongoDB store, written to all the while."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.cli import Cli
from support.daemons import Daemon, Daemons
from support.histories import REPORT, History, finish_report
from support.log_checks import eventually

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain import ids
from warrener.domain.partitions import partition_of
from warrener.services.projector import catch_up_all
from warrener.services.wiring import open_leases, open_logs, open_views

LEASE_SECONDS = 2


class Site:
    """A store whose partitions are written by turns, each with a history of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.logs = open_logs(url)
        self.views = open_views(url)
        self.leases = open_leases(url, "projector")
        self.histories = [History(partition) for partition in range(self.logs.count)]
        self._written = [0] * self.logs.count
        self._keys = 0

    def close(self) -> None:
        for each in (self.views, self.leases, self.logs):
            each.close()

    def write(self, jobs: int) -> None:
        """Write jobs to their end, each to the partition that it belongs to."""
        for _ in range(jobs):
            self._keys += 1
            key = f"job-{self._keys}"
            partition = partition_of(ids.job_id(key), self.logs.count)
            history = self.histories[partition]
            job = history.submit(REPORT, key=key, labels={"team": "red"})
            child = history.open_child(job, "sub", REPORT)
            history.open_items(job, "parts", count=5, begun=3, window=3)
            history.retry(job, "parts[1]")
            finish_report(history, job, child)
            fresh = history.store.log[self._written[partition] :]
            self._written[partition] = len(history.store.log)
            for at in range(0, len(fresh), 5):
                events = [each.recorded for each in fresh[at : at + 5]]
                self.logs.log(partition).commit(events, history.store.blobs)

    def shares(self) -> dict[str, int]:
        """Return how many partitions each projector holds."""
        holders = [lease.holder for lease in self.leases.all().values()]
        return {name: holders.count(name) for name in holders}

    def is_up_to_date(self) -> bool:
        for partition in range(self.logs.count):
            head, positions = self.logs.log(partition).head(), self.views.positions(partition)
            if head and (len(positions) < 4 or min(positions.values()) < head):
                return False
        return True

    def check(self) -> None:
        """The read models are what the logs fold to."""
        plain = MemoryViewStore()
        catch_up_all(self.logs, plain)
        assert len(plain.tables()["jobs"]) == 2 * self._keys
        for table, documents in plain.tables().items():
            assert self.views.load({table: list(documents)})[table] == documents, table


@pytest.fixture
def site(mongo_url: str) -> Iterator[Site]:
    opened = Site(mongo_url)
    yield opened
    opened.close()


@pytest.fixture
def start(site: Site, tmp_path: Path) -> Iterator[Callable[[str], Daemon]]:
    variables = {"PYTHONPATH": str(Path(__file__).parents[2]), "WARRENER_STORE_URL": site.url}
    with Daemons(tmp_path, variables) as daemons:

        def begin(name: str) -> Daemon:
            more = ("--name", name, "--lease-seconds", LEASE_SECONDS)
            daemon = daemons.start("projector", "--log", "json,info", *more)
            daemon.logged("projector.started")
            return daemon

        yield begin


def test_two_share_the_partitions_and_one_that_is_killed_is_made_good(
    site: Site, start: Callable[[str], Daemon]
) -> None:
    two = {name: start(name) for name in ("a", "b")}
    half = site.logs.count // 2
    eventually(lambda: site.shares() == {"a": half, "b": half})
    site.write(4)
    writer = threading.Thread(target=site.write, args=(12,))
    writer.start()

    two["a"].kill()
    eventually(lambda: site.shares() == {"b": site.logs.count})
    writer.join()
    third = start("c")
    eventually(lambda: site.shares() == {"b": half, "c": half})
    site.write(4)
    eventually(site.is_up_to_date)

    site.check()
    assert (two["b"].stop(), third.stop()) == (0, 0)
    assert site.shares() == {}


def test_doctor_tells_of_a_store_in_partitions(site: Site, tmp_path: Path) -> None:
    site.write(2)
    cli = Cli(tmp_path, {"WARRENER_STORE_URL": site.url})

    behind = checks(cli)
    assert cli("projector", "--once").code == 0
    after = checks(cli)

    assert "in 16 partitions" in behind["store"]["detail"]
    assert "events and " in behind["views"]["detail"]
    assert after["views"]["detail"] == "up to date"
    site.check()


def checks(cli: Cli) -> dict[str, dict[str, str]]:
    done = cli("doctor", "--json")
    return {each["check"]: each for each in json.loads(done.out)["checks"]}
