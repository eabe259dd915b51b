"""Measures what flow control costs: plain `fifo` beside everything that there is, in turns.

    python ops/bench/flow.py [--quick] [--fleet]

Plain is the policy `fifo`, without limits and with nobody looking for starvation. Everything is the
policy `finish-first` with ten fairness keys, two limits with a key on every step (slots and a rate,
both with room), and starvation looked for and acted upon. In one process 1 -> 1,000 -> 1 runs
in-line; with `--fleet` diamonds run over a private RabbitMQ. One JSON line each, and the ratio.
"""

from __future__ import annotations

import argparse
import gc
import json
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests")]

import endpoints  # noqa: E402, F401  (registers the endpoints)
import msgspec  # noqa: E402
from fleet import DIAMOND, FAN, PAYLOAD, fleet  # noqa: E402
from support.rabbit import PrivateRabbit  # noqa: E402

from warrener.domain.definition.model import JobDefinition  # noqa: E402
from warrener.domain.messages import ChangeFlow, SubmitJob  # noqa: E402
from warrener.services.submission import Source, submission  # noqa: E402
from warrener.services.wiring import open_store  # noqa: E402
from warrener.services.wiring_runs import open_embedded  # noqa: E402

KEYS = 10
LIMITS = [
    {"name": "room", "key": "${{ params.key }}", "slots": 100_000},
    {"name": "pace", "key": "${{ params.key }}", "rate": [1_000_000, 1], "burst": 100_000},
]
PLAIN = ChangeFlow(policy="fifo", mode="off")
EVERYTHING = ChangeFlow(policy="finish-first", mode="act")

ITEMS = 1_000

Side = Callable[[int], float]  # so many jobs -> steps per second


def definition(document: dict[str, Any], limits: list[dict[str, Any]]) -> JobDefinition:
    steps = {name: {**step, "limits": limits} for name, step in document["steps"].items()}
    return msgspec.convert({**document, "steps": steps}, JobDefinition)


def submissions(document: dict[str, Any], jobs: int, *, everything: bool) -> list[SubmitJob]:
    source = Source(definition(document, LIMITS if everything else []))
    found = []
    for number in range(jobs):
        key = f"key{number % KEYS}"
        params = {"x": PAYLOAD, "xs": [PAYLOAD] * ITEMS if document is FAN else [], "key": key}
        message = submission(source, params, key=secrets.token_hex(8))
        if everything:
            message = msgspec.structs.replace(message, fair=key)
        found.append(message)
    return found


@contextmanager
def inline(*, everything: bool) -> Iterator[Side]:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/jobs.db")
        embedded = open_embedded(store, queues=["default"], workers=1, modules=[], mode="inline")
        embedded.steer(EVERYTHING if everything else PLAIN, "flow")

        def run(jobs: int) -> float:
            messages = submissions(FAN, jobs, everything=everything)
            gc.collect()
            began = time.perf_counter()
            for job in [embedded.submit(message) for message in messages]:
                embedded.run(job)
            return (ITEMS + 2) * jobs / (time.perf_counter() - began)

        yield run
        embedded.close()
        store.close()


@contextmanager
def over_rabbitmq(*, everything: bool) -> Iterator[Side]:
    with PrivateRabbit() as rabbit, fleet(rabbit.url(), "threads") as bench:
        bench.client.steer(EVERYTHING if everything else PLAIN, "flow")

        def run(jobs: int) -> float:
            messages = submissions(DIAMOND, jobs, everything=everything)
            began = time.perf_counter()
            bench.client.wait_all(bench.client.send_all(messages), 300.0)
            return 4 * jobs / (time.perf_counter() - began)

        yield run


def compare(name: str, way: Callable[..., Any], rounds: int, jobs: int) -> None:
    """Run both sides in turns, each first as often as the other, and print their medians."""
    with ExitStack() as stack:
        sides = [stack.enter_context(way(everything=each)) for each in (False, True)]
        for side in sides:
            side(jobs // 5)
        pairs = []
        for number in range(rounds):
            order = (0, 1) if number % 2 else (1, 0)
            rates = {place: sides[place](jobs) for place in order}
            pairs.append((rates[0], rates[1]))
    plain = statistics.median(first for first, _ in pairs)
    everything = statistics.median(second for _, second in pairs)
    ratio = statistics.median(second / first for first, second in pairs)
    line = {"figure": name, "plain_fifo": round(plain), "everything": round(everything)}
    print(json.dumps({**line, "unit": "steps/s", "ratio": round(ratio, 3)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--fleet", action="store_true", help="over RabbitMQ as well")
    options = parser.parse_args()
    rounds = 3 if options.quick else 11
    compare("1 -> 1,000 -> 1 in one process", inline, rounds, jobs=5)
    if options.fleet:
        compare("diamonds over RabbitMQ", over_rabbitmq, rounds, jobs=500)


if __name__ == "__main__":
    main()
