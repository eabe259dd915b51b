"""A census by a fleet of workers in Python and in Node, with a real broker between them."""

from __future__ import annotations

from collections import Counter

import msgspec
from support.daemons import Daemons
from support.node import WORKER, NodeWorker, install
from support.trees import find, nasty_tree, unlock

from warrener.domain.step_events import StepSucceeded
from warrener.services import census
from warrener.services.client import Client
from warrener.services.wiring import open_store

MIXED = WORKER.parent / "census-mixed.yaml"
WAIT_SECONDS = 120.0


def counted_by(store_url: str) -> Counter[str]:
    """Return how many chunks each worker has counted, by the log."""
    store = open_store(store_url)
    events = [p.recorded.event for p in store.read(0, store.head())]
    store.close()
    ended = [e for e in events if isinstance(e, StepSucceeded) and e.path.startswith("counts[")]
    return Counter(e.worker for e in ended if e.worker)


def test_a_worker_in_node_takes_part_in_a_census_that_is_equal_to_find(broker_url, tmp_path):
    tree = nasty_tree(tmp_path / "tree", large_bytes=3_000_000)
    store_url = f"sqlite:///{tmp_path}/jobs.db"
    variables = {"WARRENER_BROKER_URL": broker_url, "WARRENER_STORE_URL": store_url}
    node_folder = install(WORKER, tmp_path / "node-worker")
    endpoints = ("--endpoints", "warrener.services.census")

    with Daemons(tmp_path, variables) as daemons, Client(broker_url) as client:
        assert (
            daemons.start("broker", "declare", "--queues", "default,count").program.guard.wait(60)
            == 0
        )
        daemons.reactor()
        for _ in range(3):
            daemons.worker(*endpoints, "--queues", "default", "--threads", "--slots", 2)
        node = NodeWorker(
            node_folder,
            tmp_path,
            broker_url,
            "node",
            "--endpoints",
            "census.mjs",
            "--queues",
            "count",
        )
        try:
            node.wait_for("worker.ready")
            job = client.submit(str(MIXED), census.params(str(tree)), answer_seconds=30)
            outcome = client.wait(job, WAIT_SECONDS)
            expected = find(tree)
            assert node.stop() == 0
        finally:
            node.kill()
            unlock(tree)

    assert outcome.state == "succeeded", outcome
    counted = msgspec.convert(outcome.result, census.Census)
    assert (counted.files, counted.bytes) == expected
    assert set(counted_by(store_url)) == {"node"}
