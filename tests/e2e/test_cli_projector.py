"""`warrener projector` as processes of their own, on a store that is written meanwhile."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.cli import Cli
from support.daemons import Daemon, Daemons
from support.histories import REPORT, History, finish_report
from support.history_flow import queue, stage
from support.log_checks import eventually

from warrener.adapters.memory_views import MemoryViewStore
from warrener.adapters.sqlite_leases import SqliteLeases
from warrener.adapters.sqlite_views import SqliteViewStore
from warrener.services.projector import catch_up
from warrener.services.wiring import open_store

VARIABLES = {
    "PYTHONPATH": str(Path(__file__).parents[2]),
    "WARRENER_STORE_URL": "sqlite:///jobs.db",
}


class Site:
    """A folder with a store, a history that is written into it bit by bit, and its views."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.history = History()
        self.path = str(folder / "jobs.db")
        self.store = open_store(f"sqlite:///{self.path}")
        self.views = SqliteViewStore(self.path)
        self.leases = SqliteLeases(self.path, "projector")
        self._written = 0
        self._jobs = 0

    def close(self) -> None:
        for each in (self.views, self.leases, self.store):
            each.close()

    def write(self, jobs: int = 1) -> None:
        """Write jobs from their submission to their end, with a commit for each event."""
        for _ in range(jobs):
            self._jobs += 1
            job = self.history.submit(REPORT, key=f"job-{self._jobs}", labels={"team": "red"})
            self.history.start(job)
            child = self.history.open_child(job, "sub", REPORT)
            self.history.open_items(job, "parts", count=5, begun=3, window=3)
            self.history.release(job, "parts[0]")
            self.history.release(job, "parts[1]")
            self.history.retry(job, "parts[1]")
            finish_report(self.history, job, child)
        for each in self.history.store.log[self._written :]:
            self.store.commit([each.recorded], self.history.store.blobs)
        self._written = len(self.history.store.log)

    def holder(self) -> str:
        found = self.leases.holder(0)
        return found[0] if found else ""

    def is_up_to_date(self) -> bool:
        positions = self.views.positions()
        return len(positions) == 5 and min(positions.values()) == self.store.head()

    def check(self) -> None:
        """The read models are what the log folds to."""
        plain = MemoryViewStore()
        catch_up(self.store, plain)
        for table, documents in plain.tables().items():
            assert self.views.load({table: list(documents)})[table] == documents, table
        assert self.views.positions() == plain.positions()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    opened = Site(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def daemons(site: Site) -> Iterator[Daemons]:
    with Daemons(site.folder, VARIABLES) as started:
        yield started


def start(daemons: Daemons, name: str, lease_seconds: float) -> Daemon:
    more = ("--name", name, "--lease-seconds", lease_seconds)
    daemon = daemons.start("projector", "--log", "json,info", *more)
    daemon.logged("projector.started")
    return daemon


def test_when_one_of_two_is_killed_the_other_goes_on_and_nothing_is_missing_or_counted_twice(
    site: Site, daemons: Daemons
) -> None:
    two = {name: start(daemons, name, 2) for name in ("a", "b")}
    site.write(3)
    eventually(site.is_up_to_date)
    killed = site.holder()
    writer = threading.Thread(target=site.write, args=(12,))
    writer.start()

    two[killed].kill()
    writer.join()

    (other,) = {"a", "b"} - {killed}
    eventually(lambda: site.holder() == other)
    site.write(3)
    eventually(site.is_up_to_date)
    site.check()
    assert two[other].stop() == 0
    assert site.holder() == ""


def test_one_that_is_asked_to_stop_hands_over_long_before_its_lease_ends(
    site: Site, daemons: Daemons
) -> None:
    two = {name: start(daemons, name, 600) for name in ("a", "b")}
    first = eventually(site.holder)
    (other,) = {"a", "b"} - {first}

    code = two[first].stop()
    eventually(lambda: site.holder() == other)
    site.write()
    eventually(site.is_up_to_date)

    assert code == 0
    assert "projector.stopped" in two[first].log
    site.check()


def test_one_that_was_frozen_finds_its_work_taken_over_and_disturbs_nobody(
    site: Site, daemons: Daemons
) -> None:
    two = {name: start(daemons, name, 1) for name in ("a", "b")}
    frozen = eventually(site.holder)
    (other,) = {"a", "b"} - {frozen}

    two[frozen].freeze()
    eventually(lambda: site.holder() == other)
    site.write(3)
    two[frozen].thaw()
    two[frozen].logged("lease.lost")
    site.write(3)

    eventually(site.is_up_to_date)
    site.check()
    assert site.holder() == other


def test_once_brings_the_read_models_up_and_ends(site: Site) -> None:
    site.write(2)

    done = Cli(site.folder, VARIABLES)("projector", "--once")

    assert done.code == 0
    site.check()
    assert site.leases.members(site.history.now) == []


def test_an_event_in_the_way_is_told_by_once_and_by_doctor(site: Site) -> None:
    site.write()
    with sqlite3.connect(site.path) as db:
        db.execute("UPDATE log_events SET topic = 'NewlyInvented:1' WHERE position = 7")
    cli = Cli(site.folder, VARIABLES)

    once = cli("projector", "--once", "--log", "json")
    doctor = cli("doctor", "--json")

    assert once.code == 4
    alarms = [json.loads(line) for line in once.err.splitlines() if "read_model.stopped" in line]
    assert {alarm["model"] for alarm in alarms} == {
        "jobs",
        "history",
        "control",
        "flow",
        "attempts",
    }
    checks = {each["check"]: each for each in json.loads(doctor.out)["checks"]}
    assert checks["views"]["state"] == "failed"
    assert "NewlyInvented" in checks["views"]["detail"]
    assert "position 7" in checks["views"]["detail"]


def test_metrics_of_the_flow_are_served_beside_the_work(site: Site, daemons: Daemons) -> None:
    site.history.sample(queue(stage("load", ready=7)))
    site.write()
    arguments = ("--log", "json,info", "--name", "a", "--metrics-port", 0)
    daemon = daemons.start("projector", *arguments)
    daemon.logged("metrics.served")
    (told,) = [json.loads(line) for line in daemon.log.splitlines() if "metrics.served" in line]
    address = f"http://{told['host']}:{told['port']}/metrics"

    eventually(lambda: 'step="load"} 7.0' in httpx.get(address).text)

    assert told["host"] == "127.0.0.1"
    text = httpx.get(address).text
    assert re.search(r'warrener_projector_batch_events_count\{model="jobs"\} [1-9]', text)
    assert 'warrener_projector_lag_events{model="jobs"} 0.0' in text
    assert 'warrener_projector_stopped{model="flow"} 0.0' in text
    other = Cli(site.folder, VARIABLES)("projector", "--metrics-port", told["port"])
    assert other.code == 2
    assert f"metrics cannot be served at 127.0.0.1, port {told['port']}" in other.err
    assert daemon.stop() == 0


def test_a_store_that_keeps_nothing_is_refused(tmp_path: Path) -> None:
    done = Cli(tmp_path, VARIABLES)("projector", "--store", "sqlite:///:memory:")

    assert done.code == 2
    assert "a projector needs a store" in done.err


def test_the_help_has_an_example(tmp_path: Path) -> None:
    done = Cli(tmp_path, VARIABLES)("projector", "--help")

    assert done.code == 0
    assert "warrener projector --once" in done.out
