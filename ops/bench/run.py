"""Measures Warrener in one process: one JSON line per figure.

    python ops/bench/run.py [--quick] [--items N]

Shared machines are noisy: each figure is the median of several runs and comes with a ratio to a
baseline measured in the same run, bare SQLite commits with the same durability.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parent))
import endpoints  # noqa: F401  (registers the endpoints)

from warrener.domain.definition.model import JobDefinition
from warrener.domain.flow.lanes import Flow
from warrener.services.controller import Controller
from warrener.services.submission import Source, submission
from warrener.services.turn import Chance
from warrener.services.wiring import open_clock, open_store
from warrener.services.wiring_runs import open_embedded

BUDGET = {"steps": 10_000_000}


def fan(count: int) -> tuple[JobDefinition, dict[str, Any]]:
    """1 -> count -> 1."""
    steps = {
        "first": {"call": "bench.echo", "with": {"x": "${{ params.n }}"}},
        "items": {
            "for_each": "${{ params.xs }}",
            "call": "bench.echo",
            "with": {"x": "${{ item }}"},
            "after": ["first"],
        },
        "last": {"call": "bench.count", "with": {"xs": "${{ steps.items.results }}"}},
    }
    definition = {
        "job": "fan",
        "budget": BUDGET,
        "steps": steps,
        "result": "${{ steps.last.result }}",
    }
    return convert(definition), {"n": count, "xs": list(range(count))}


def chain(length: int) -> tuple[JobDefinition, dict[str, Any]]:
    """Each step reads the one before."""
    steps: dict[str, Any] = {"s0000": {"call": "bench.echo", "with": {"x": 0}}}
    for number in range(1, length):
        read = f"${{{{ steps.s{number - 1:04}.result }}}}"
        steps[f"s{number:04}"] = {"call": "bench.echo", "with": {"x": read}}
    return convert({"job": "chain", "steps": steps}), {}


def convert(definition: dict[str, Any]) -> JobDefinition:
    return msgspec.convert(definition, JobDefinition)


def run(
    job: tuple[JobDefinition, dict[str, Any]], folder: Path
) -> tuple[float, dict[str, int], int]:
    """Run a job once; return seconds, steps by state, and events written."""
    definition, params = job
    path = folder / f"{secrets.token_hex(6)}.db"
    store = open_store(f"sqlite:///{path}")
    embedded = open_embedded(
        store,
        queues=["default"],
        workers=1,
        modules=[],
        mode="inline",
    )
    message = submission(Source(definition), params, key=secrets.token_hex(8))
    begun = time.perf_counter()
    outcome = embedded.run(embedded.submit(message))
    seconds = time.perf_counter() - begun
    events = store.head()
    embedded.close()
    store.close()
    if outcome.state != "succeeded":
        raise SystemExit(f"the job did not succeed: {outcome.error}")
    return seconds, outcome.steps, events


def commits_per_second(folder: Path, seconds: float = 1.0) -> float:
    """The baseline: one small row a commit, WAL, synchronous FULL."""
    connection = sqlite3.connect(folder / "baseline.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE t (p INTEGER PRIMARY KEY AUTOINCREMENT, x BLOB)")
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        connection.execute("INSERT INTO t (x) VALUES (?)", (b"x" * 300,))
        count += 1
    connection.close()
    return count / (time.perf_counter() - begun)


def say(figure: str, value: float, unit: str, **more: Any) -> None:
    print(
        json.dumps({"figure": figure, "value": round(value, 3), "unit": unit, **more}), flush=True
    )


def throughput(
    name: str, job: Callable[[], tuple[JobDefinition, dict[str, Any]]], repeats: int, folder: Path
) -> float:
    """Print steps and events per second of a job; return steps per second."""
    rates, event_rates, baselines = [], [], []
    for _ in range(repeats):
        baselines.append(commits_per_second(folder, 0.5))
        seconds, steps, events = run(job(), folder)
        rates.append(sum(steps.values()) / seconds)
        event_rates.append(events / seconds)
        (folder / "baseline.db").unlink()
    baseline = statistics.median(baselines)
    rate = statistics.median(rates)
    say(
        f"{name}, in-line, SQLite FULL",
        rate,
        "steps/s",
        low=round(min(rates)),
        high=round(max(rates)),
        events_per_second=round(statistics.median(event_rates)),
        bare_commits_per_second=round(baseline),
        ratio_to_bare_commits=round(rate / baseline, 2),
    )
    return rate


def memory_per_step(folder: Path, count: int) -> None:
    """What an active step costs: the growth of the working set with `count` orders unanswered."""
    store = open_store(f"sqlite:///{folder / 'memory.db'}")
    chance = Chance(lambda: secrets.token_hex(16), lambda: 0.5)
    controller = Controller(store, lambda: Flow(lambda _: count, window_max=count), chance, "inbox")
    definition = convert(
        {
            "job": "wide",
            "budget": BUDGET,
            "steps": {
                "items": {
                    "for_each": "${{ params.xs }}",
                    "call": "bench.echo",
                    "with": {"x": "${{ item }}"},
                }
            },
        }
    )
    message = submission(Source(definition), {"xs": list(range(count))}, key="memory")
    tracemalloc.start()
    controller.handle([("submit", message)], open_clock().now())
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    released = len(controller.memory.steps) - 1
    store.close()
    say("memory per active step", held / released, "bytes", active_steps=released)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run of each, small sizes")
    parser.add_argument("--items", type=int, default=100_000, help="size of the largest fan-out")
    options = parser.parse_args()
    repeats = 1 if options.quick else 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        throughput("1 -> 1,000 -> 1", lambda: fan(1_000), repeats, folder)
        throughput("chain of 200", lambda: chain(200), repeats, folder)
        small = throughput("1 -> 10,000 -> 1", lambda: fan(10_000), 1, folder)
        if not options.quick:
            large = throughput(
                f"1 -> {options.items:,} -> 1", lambda: fan(options.items), 1, folder
            )
            say("cost of a step, large against 10,000", small / large, "ratio")
        memory_per_step(folder, 1_000 if options.quick else 20_000)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        say("peak memory of all the above", peak, "MiB")


if __name__ == "__main__":
    main()
