"""What all are measured with: sizes, and how a driver reports. Needs only the standard library."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

PAYLOAD = "x" * 100
SIZES = {"diamonds": 500, "fan": 1_000, "chain": 200}  # A -> B, C -> D; 1 -> 1,000 -> 1
STEPS = {"diamonds": 4 * 500, "fan": 1 + 1_000 + 1, "chain": 200}
WARM_UP_SIZE = 5
WAIT_SECONDS = 120.0

BROKER_URL = os.environ.get("BENCH_BROKER_URL", "amqp://guest:guest@127.0.0.1/")
REDIS_URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1/0")
QUEUE_TYPE = os.environ.get("BENCH_QUEUE_TYPE", "classic")
QUEUE = os.environ.get("BENCH_QUEUE", "bench")


def report(**workloads: Callable[[int], None]) -> None:
    """Run the workload that the command line names, and print its seconds.

    A small one goes first, for connections and imports. One process runs one workload once: what
    some clients keep of earlier jobs slows down the later ones.
    """
    name = sys.argv[1]
    work = workloads[name]
    work(WARM_UP_SIZE)
    begun = time.perf_counter()
    work(SIZES[name])
    print(time.perf_counter() - begun)
