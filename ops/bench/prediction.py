"""Records a load on real workers, simulates it from its store, and compares the two.

    python ops/bench/prediction.py [--seconds 40] [--workers 8] [--load 1.1] [--seed N]

Jobs of three stages with a fan-out come for some seconds, at random times and at more than the
capacity; their steps sleep for 20 to 200 ms. They are run under `fifo`, and once more under
`finish-first`. One JSON line for each of the three predictions: what became of each run, foretold
from its own record, and the run under `finish-first`, foretold from the record of that under
`fifo`. `error` is that of the median completion.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import endpoints  # noqa: E402, F401  (registers the endpoints)
import msgspec  # noqa: E402

from warrener.domain.control_events import FlowChanged  # noqa: E402
from warrener.domain.definition.model import JobDefinition  # noqa: E402
from warrener.domain.events import Recorded  # noqa: E402
from warrener.domain.flow.settings import FlowSettings  # noqa: E402
from warrener.domain.ids import FLOW_ID  # noqa: E402
from warrener.services.logs import LogSet  # noqa: E402
from warrener.services.simulate.facts import read_store  # noqa: E402
from warrener.services.simulate.what_if import (  # noqa: E402
    Load,
    Question,
    Rules,
    gather,
    simulate,
)
from warrener.services.submission import Source, submission  # noqa: E402
from warrener.services.wiring import open_store  # noqa: E402
from warrener.services.wiring_runs import open_embedded  # noqa: E402

STEP_SECONDS = (0.02, 0.2)
ITEMS = (1, 6)
JOB_SECONDS = 0.11 * (2 + 3.5)  # of workers, at the mean
TOLD = (("fifo", "fifo"), ("finish-first", "finish-first"), ("fifo", "finish-first"))


def sleep(reads: str, **more: Any) -> dict[str, Any]:
    return {"call": "bench.sleep", "with": {"seconds": reads}, **more}


JOB = {
    "job": "three-stages",
    "steps": {
        "split": sleep("${{ params.first }}"),
        "work": sleep("${{ item }}", for_each="${{ params.each }}", after=["split"]),
        "merge": sleep("${{ params.last }}", after=["work"]),
    },
}


def arrivals(seconds: float, workers: int, load: float, seed: int) -> list[tuple[float, Any]]:
    """Return when jobs come, and their parameters."""
    chance, now, found = random.Random(seed), 0.0, []
    while True:
        now += chance.expovariate(load * workers / JOB_SECONDS)
        if now > seconds:
            return found
        first, last = chance.uniform(*STEP_SECONDS), chance.uniform(*STEP_SECONDS)
        each = [chance.uniform(*STEP_SECONDS) for _ in range(chance.randint(*ITEMS))]
        found.append((now, {"first": first, "each": each, "last": last}))


def record(url: str, coming: Sequence[tuple[float, Any]], workers: int, policy: str) -> None:
    """Run jobs for real, in this process with threads."""
    definition = msgspec.convert(JOB, JobDefinition)
    store = open_store(url)
    settings = FlowChanged(
        at=datetime.now(UTC), cause="bench", settings=FlowSettings(policy=policy)
    )
    store.commit([Recorded(FLOW_ID, 1, settings)], {})
    parts = open_embedded(store, queues=("default",), workers=workers, modules=(), mode="threads")
    try:
        waiting = [
            (at, submission(Source(definition), params, key=f"job{number}"))
            for number, (at, params) in enumerate(coming)
        ][::-1]
        began = time.monotonic()
        while waiting or parts.reactor.controller.memory.jobs:
            while waiting and waiting[-1][0] <= time.monotonic() - began:
                parts.submit(waiting.pop()[1])
            if not parts.turn():
                time.sleep(0.0005)
    finally:
        parts.close()
        store.close()


def load_of(url: str, workers: int) -> Load:
    """Return what a store has recorded."""
    logs = LogSet([open_store(url, create=False)])
    try:
        rules = Rules()
        question = Question(workers=(str(workers),))
        return gather(read_store(logs, rules.take, lambda *_: None), rules, question, infer=False)
    finally:
        logs.close()


def measure(seconds: float, workers: int, load: float, seed: int) -> list[dict[str, Any]]:
    """Run and foretell; return the figures."""
    coming = arrivals(seconds, workers, load, seed)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        loads = {}
        for policy in ("fifo", "finish-first"):
            url = f"sqlite:///{folder}/{policy}.db"
            record(url, coming, workers, policy)
            loads[policy] = load_of(url, workers)
        for source, policy in TOLD:
            summary, _ = simulate(loads[source], policy, lambda *_: None)
            real, told = loads[policy].recorded, summary.all
            found.append(
                {
                    "recorded": source,
                    "foretold": policy,
                    "jobs": real.jobs,
                    "steps": loads[source].steps,
                    "real_completion_p50": round(real.completion.p50, 3),
                    "told_completion_p50": round(told.completion.p50, 3),
                    "error": round(abs(told.completion.p50 / real.completion.p50 - 1), 4),
                    "real_completion_p95": round(real.completion.p95, 3),
                    "told_completion_p95": round(told.completion.p95, 3),
                    "round_trip_ms": round(1000 * loads[source].round_trip, 2),
                    "hand_over_ms": round(1000 * loads[source].hand_over, 2),
                }
            )
    return found


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--load", type=float, default=1.1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    for line in measure(options.seconds, options.workers, options.load, options.seed):
        print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
