"""Reactors that share the partitions of a MongoDB: killed, frozen and handed over under load."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from support.daemons import Daemon, Daemons
from support.ledger import Ledger
from support.log_checks import check_log, eventually
from support.rabbit import PrivateRabbit
from support.scale import scaled

from warrener.services.client import Client
from warrener.services.logs import each_log
from warrener.services.settings import Settings
from warrener.services.sources import source_of
from warrener.services.submission import submission
from warrener.services.wiring import open_leases, open_logs

PARTITIONS = 16
JOBS = 2_000
JOBS_AT_ONCE = 100
LEASE_SECONDS = 6.0  # as it is by default
WAIT_SECONDS = 300.0  # the bound of every wait, on a machine that may be busy
HAND_OVER_SECONDS = 1.0  # what is aimed at, on a machine that does nothing else
KILL_SECONDS = 10.0
BUSY_FACTOR = 5.0  # how much longer a busy machine may take
VHOST = "partitions"
JOB = """
job: pair
endpoints: [support.endpoints_chaos]
params: {type: object, required: [n], properties: {n: {type: integer}}}
steps:
  a: {call: chaos.square, queue: work, with: {number: "${{ params.n }}"}}
  b: {call: chaos.square, queue: work, with: {number: "${{ steps.a.result }}"}}
result: "${{ steps.b.result }}"
"""


class Field:
    """A fleet on one MongoDB, and the jobs that it works on."""

    def __init__(self, folder: Path, daemons: Daemons, urls: tuple[str, str]) -> None:
        self.folder = folder
        self.daemons = daemons
        broker_url, store_url = urls
        (folder / "pair.yaml").write_text(JOB)
        self.settings = Settings(store_url=store_url, views_url=store_url, broker_url=broker_url)
        self.client = Client(broker_url)
        self.jobs: dict[UUID, int] = {}
        self.reactors: list[Daemon] = []
        self.taken_over: dict[str, list[float]] = defaultdict(list)
        self.reactor()
        self.logs = open_logs(store_url)
        self.leases = open_leases(store_url)
        for _ in range(2):
            daemons.worker(
                "--endpoints", "support.endpoints_chaos", "--queues", "work", "--slots", 8,
                "--threads",
            )  # fmt: skip

    def reactor(self) -> Daemon:
        self.reactors.append(self.daemons.reactor("--lease-seconds", LEASE_SECONDS))
        return self.reactors[-1]

    def submit(self, count: int) -> None:
        """Submit jobs and leave them to the fleet."""
        source = source_of(str(self.folder / "pair.yaml"))
        numbers = range(len(self.jobs), len(self.jobs) + count)
        messages = [submission(source, {"n": n}, key=f"job-{n}") for n in numbers]
        found = self.client.send_all(messages)
        self.jobs.update(zip(found, (n**4 for n in numbers), strict=True))

    def holders(self) -> dict[int, int]:
        """Return the process that holds each partition now."""
        now = datetime.now(UTC)
        held = {p: lease for p, lease in self.leases.all().items() if lease.until > now}
        return {
            partition: int(lease.holder.rpartition("-")[2]) for partition, lease in held.items()
        }

    def shared_by(self, *daemons: Daemon) -> bool:
        """Say whether these reactors, and no others, hold all partitions in fair shares."""
        counts = dict.fromkeys((daemon.pid for daemon in daemons), 0)
        for pid in self.holders().values():
            if pid not in counts:
                return False
            counts[pid] += 1
        fair = {PARTITIONS // len(daemons), -(-PARTITIONS // len(daemons))}
        return sum(counts.values()) == PARTITIONS and set(counts.values()) <= fair

    def until_shared_by(self, *daemons: Daemon) -> None:
        eventually(lambda: self.shared_by(*daemons), "a fair share each", WAIT_SECONDS)

    def take_over(self, what: str, victim: Daemon, act: Callable[[], object]) -> None:
        """Let something happen to a reactor under load; measure how soon others have its work."""
        self.submit(JOBS_AT_ONCE)
        positions = {
            p: self.logs.log(p).head() for p, pid in self.holders().items() if pid == victim.pid
        }
        assert positions, f"{what}: it holds nothing"
        began = time.monotonic()
        act()
        eventually(
            lambda: len(held := self.holders()) == PARTITIONS and victim.pid not in held.values(),
            f"others take over after {what}",
            WAIT_SECONDS,
        )
        self.taken_over[what].append(time.monotonic() - began)
        self.submit(JOBS_AT_ONCE)
        eventually(
            lambda: all(self.logs.log(p).head() > at for p, at in positions.items()),
            f"its partitions go on after {what}",
            WAIT_SECONDS,
        )

    def finish(self) -> None:
        """Submit what is left, wait for every job, and compare its result."""
        self.submit(JOBS - len(self.jobs))
        for job, outcome in self.client.wait_all(list(self.jobs), WAIT_SECONDS).items():
            assert (outcome.state, outcome.result) == ("succeeded", self.jobs[job])

    def check(self, ledger: Ledger) -> None:
        """Nothing is lost or applied twice: one token for each step, and one result."""
        tokens: dict[str, set[str]] = defaultdict(set)
        for line in ledger.lines():
            tokens[line["step"]].add(line["token"])
        attempts: dict[UUID, int] = {}
        for log in each_log(self.logs):
            attempts.update(check_log(log))
        assert len(attempts) == 2 * JOBS
        assert set(attempts.values()) == {1}
        assert {len(found) for found in tokens.values()} == {1}
        assert set(tokens) == {str(step) for step in attempts}

    def close(self) -> None:
        self.client.close()
        self.leases.close()
        self.logs.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path) as running:
        yield running


def test_two_three_and_one_reactors_lose_nothing_and_apply_nothing_twice(
    tmp_path: Path, ledger: Ledger, mongo_url: str
) -> None:
    with PrivateRabbit() as rabbit:
        rabbit.add_vhost(VHOST)
        variables = {
            "WARRENER_BROKER_URL": rabbit.url(VHOST),
            "WARRENER_STORE_URL": mongo_url,
            "CHAOS_LEDGER": ledger.address,
        }
        with Daemons(tmp_path, variables) as daemons:
            field = Field(tmp_path, daemons, (rabbit.url(VHOST), mongo_url))
            fight(field)
            field.finish()
            field.check(ledger)
            report(field)
            field.close()


def fight(field: Field) -> None:
    """Two reactors, then three, then one; each way of leaving, under load."""
    field.submit(JOBS_AT_ONCE)
    first, second = field.reactors[0], field.reactor()
    field.until_shared_by(first, second)
    for _ in range(scaled(1)):
        third = field.reactor()
        field.until_shared_by(first, second, third)
        field.take_over("kill -9", third, third.kill)
        field.take_over("frozen", second, second.freeze)
        field.until_shared_by(first)
        second.thaw()
        field.until_shared_by(first, second)
        field.take_over("SIGTERM", first, first.stop)
        field.until_shared_by(second)
        first, second = second, field.reactor()
        field.until_shared_by(first, second)
    field.take_over("SIGTERM", second, second.stop)
    field.until_shared_by(first)


def report(field: Field) -> None:
    """Print how long it took until others had the partitions, and hold it to a bound."""
    for what, seconds in sorted(field.taken_over.items()):
        figure = {
            "figure": f"take-over after: {what}",
            "value": round(max(seconds), 2),
            "unit": "s",
        }
        print(json.dumps({**figure, "times": len(seconds)}))
    assert max(field.taken_over["SIGTERM"]) < HAND_OVER_SECONDS * BUSY_FACTOR
    assert max(field.taken_over["kill -9"]) < KILL_SECONDS * BUSY_FACTOR
