"""A fleet under fire: whatever dies, every job ends, nothing is lost and nothing counts twice."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from uuid import UUID

import pytest
from support.daemons import Daemon, Daemons
from support.ledger import Ledger
from support.log_checks import check_log, eventually
from support.rabbit import PrivateCluster, PrivateRabbit, RabbitNode
from support.scale import scaled

from warrener.adapters.sqlite_leases import SqliteLeases
from warrener.domain.ports import EventStore
from warrener.services.client import Client
from warrener.services.wiring import open_store

SEED = 20_260_202
LEASE_SECONDS = 2.0
RECOVERY_SECONDS = 180.0  # the bound of every wait, on a machine that may be busy
JOBS_PER_FAULT = 2
VHOST = "chaos"
# One round of faults, 20 in all; WARRENER_TEST_SCALE=5 makes 100 of them.
ROUND = (
    *("worker",) * 9,
    *("reactor",) * 5,
    *("frozen reactor",) * 2,
    *("broker restart",) * 2,
    "broker killed",
    "broker wiped",
)
JOB = """
job: walk
endpoints: [support.endpoints_chaos]
params:
  type: object
  required: [depth, base]
  properties: {depth: {type: integer}, base: {type: integer}}
steps:
  squares:
    for_each: "${{ [1, 2, 3, 4, 5] }}"
    call: chaos.square
    queue: work
    with: {number: "${{ item + params.base }}"}
  below:
    for_each: "${{ params.depth == 0 ? [] : [1, 2] }}"
    job: walk
    with: {depth: "${{ params.depth - 1 }}", base: "${{ params.base * 10 + item }}"}
  sum:
    call: chaos.sum
    queue: work
    with: {numbers: "${{ steps.squares.results + steps.below.results }}"}
result: "${{ steps.sum.result }}"
"""


def expected(depth: int, base: int) -> int:
    below = sum(expected(depth - 1, base * 10 + item) for item in (1, 2)) if depth else 0
    return sum((item + base) ** 2 for item in range(1, 6)) + below


class Battle:
    """A fleet of two reactors and three workers, its jobs, and how it recovers."""

    def __init__(self, folder: Path, daemons: Daemons, url: str, chance: Random) -> None:
        self.folder = folder
        self.daemons = daemons
        self.url = url
        self.chance = chance
        self.client = Client(url)
        self.store: EventStore = open_store(f"sqlite:///{folder}/jobs.db")
        self.leases = SqliteLeases(str(folder / "jobs.db"))
        self.jobs: dict[UUID, int] = {}
        self.recovery: dict[str, list[float]] = defaultdict(list)
        self.reactors = [self.new_reactor() for _ in range(2)]
        self.workers = [self.new_worker() for _ in range(3)]

    def new_reactor(self) -> Daemon:
        return self.daemons.reactor("--lease-seconds", LEASE_SECONDS)

    def new_worker(self) -> Daemon:
        mode = self.chance.choice(["--threads", "--processes"])
        return self.daemons.worker(
            "--endpoints", "support.endpoints_chaos", "--queues", "work", "--slots", 3, mode
        )

    def submit(self) -> None:
        base = len(self.jobs)
        job = self.client.submit(
            str(self.folder / "walk.yaml"), {"depth": 2, "base": base}, answer_seconds=30
        )
        self.jobs[job] = expected(2, base)

    def strike(self, fault: str, act: Callable[[], None]) -> None:
        """Have work under way, let a fault happen, and wait until results come in again."""
        for _ in range(JOBS_PER_FAULT):
            self.submit()
        began = time.monotonic()
        act()
        position = self.store.head()
        eventually(
            lambda: self.store.head() > position or self.idle(),
            f"recovery from {fault}",
            RECOVERY_SECONDS,
        )
        self.recovery[fault].append(time.monotonic() - began)

    def idle(self) -> bool:
        return not list(self.store.open_roots())

    def active(self) -> Daemon:
        """Return the reactor that holds the lease."""
        holder = eventually(lambda: self.leases.holder(0), "a lease is held", RECOVERY_SECONDS)[0]
        return next(r for r in self.reactors if holder.endswith(f"-{r.pid}"))

    def kill_worker(self) -> None:
        place = self.chance.randrange(len(self.workers))
        self.workers[place].kill()
        self.workers[place] = self.new_worker()

    def kill_reactor(self) -> None:
        victim = self.active()
        victim.kill()
        self.reactors[self.reactors.index(victim)] = self.new_reactor()

    def freeze_reactor(self) -> None:
        """Stop the reactor for longer than its lease, so that the other one takes over.

        Not in the middle of a commit: it would hold the lock of the SQLite file, and nobody can
        take over from a frozen process that does.
        """
        victim = self.active()
        victim.freeze()
        while self.locked():
            victim.thaw()
            victim.freeze()
        name = f"-{victim.pid}"
        eventually(
            lambda: not self.holder().endswith(name), "the other one takes over", RECOVERY_SECONDS
        )
        position = self.store.head()
        eventually(
            lambda: self.store.head() > position or self.idle(), "it works", RECOVERY_SECONDS
        )
        victim.thaw()

    def locked(self) -> bool:
        """Say whether somebody holds the lock of the store."""
        with closing(sqlite3.connect(self.folder / "jobs.db", timeout=0)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
        return False

    def holder(self) -> str:
        found = self.leases.holder(0)
        return "" if found is None else found[0]

    def finish(self) -> None:
        """Wait for every job, and compare its result."""
        for job, result in self.jobs.items():
            outcome = self.client.wait(job, timeout_seconds=RECOVERY_SECONDS)
            assert (outcome.state, outcome.result) == ("succeeded", result)

    def close(self) -> None:
        self.client.close()
        self.leases.close()
        self.store.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path) as running:
        yield running


def new_battle(folder: Path, daemons: Daemons, url: str) -> Battle:
    (folder / "walk.yaml").write_text(JOB)
    return Battle(folder, daemons, url, Random(SEED))


def variables(url: str, folder: Path, ledger: Ledger) -> dict[str, str]:
    return {
        "WARRENER_BROKER_URL": url,
        "WARRENER_STORE_URL": f"sqlite:///{folder}/jobs.db",
        "CHAOS_LEDGER": ledger.address,
    }


def check_effects(battle: Battle, ledger: Ledger) -> None:
    """Each step had its effect under one token: repeats are known by it."""
    attempts = check_log(battle.store)
    tokens: dict[str, set[str]] = defaultdict(set)
    for line in ledger.lines():
        tokens[line["step"]].add(line["token"])
        assert line["attempt"] == 1
    assert Counter(attempts.values()).keys() == {1}  # no endpoint failed: one attempt each
    assert set(tokens) <= {str(step) for step in attempts}  # 0 effects without a result
    assert {len(found) for found in tokens.values()} == {1}
    squares = sum(1 for step in attempts if str(step) in tokens)
    assert squares == len(battle.jobs) * 7 * 5  # 0 lost


def report(battle: Battle, ledger: Ledger) -> None:
    """Print how long the fleet took to recover from each kind of fault."""
    repeats = len(ledger.lines()) - len({line["token"] for line in ledger.lines()})
    for fault, seconds in sorted(battle.recovery.items()):
        figure = {"figure": f"recovery from: {fault}", "value": round(max(seconds), 2), "unit": "s"}
        print(json.dumps({**figure, "times": len(seconds), "median": sorted(seconds)[len(seconds) // 2]}))  # noqa: E501  # fmt: skip
    print(json.dumps({"figure": "effects repeated under the same token", "value": repeats}))


def test_twenty_faults_lose_nothing_and_apply_nothing_twice(tmp_path: Path, ledger: Ledger) -> None:
    with PrivateRabbit() as rabbit:
        rabbit.add_vhost(VHOST)
        url = rabbit.url(VHOST)
        with Daemons(tmp_path, variables(url, tmp_path, ledger)) as daemons:
            battle = new_battle(tmp_path, daemons, url)
            faults = list(ROUND) * scaled(1)
            battle.chance.shuffle(faults)
            for fault in faults:
                battle.strike(fault, lambda name=fault: act(battle, rabbit, name))  # type: ignore[misc]

            battle.finish()
            check_effects(battle, ledger)
            report(battle, ledger)
            battle.close()


def act(battle: Battle, rabbit: PrivateRabbit, fault: str) -> None:
    if fault == "worker":
        battle.kill_worker()
    elif fault == "reactor":
        battle.kill_reactor()
    elif fault == "frozen reactor":
        battle.freeze_reactor()
    elif fault == "broker restart":
        rabbit.restart()
    elif fault == "broker killed":
        rabbit.kill()
        rabbit.start()
    else:
        wipe(rabbit)


def wipe(rabbit: RabbitNode) -> None:
    """Delete everything that the broker holds."""
    rabbit.delete_vhost(VHOST)
    rabbit.add_vhost(VHOST)


def test_a_cluster_that_loses_a_node_loses_no_job(tmp_path: Path, ledger: Ledger) -> None:
    with PrivateCluster(3) as cluster:
        url = ",".join(cluster.urls)
        with Daemons(tmp_path, variables(url, tmp_path, ledger)) as daemons:
            battle = new_battle(tmp_path, daemons, url)
            for node in (0, 1):
                battle.strike("cluster node killed", lambda place=node: cluster.kill(place))  # type: ignore[misc]
                cluster.nodes[node].start()

            battle.finish()
            check_effects(battle, ledger)
            report(battle, ledger)
            battle.close()
