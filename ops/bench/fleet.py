"""Measures a fleet: one reactor, one worker process, a private RabbitMQ, SQLite FULL.

    python ops/bench/fleet.py [--queue-type quorum|classic] [--peers] [--quick] [--broker URL]

Prints one JSON line per figure, each with its ratio to the raw ceiling of bare pika in the same
run, and with `--peers` to Celery and Dramatiq on the same machine at the same time.
"""

from __future__ import annotations

import argparse
import json
import os
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

import msgspec  # noqa: E402
from raw import ceiling  # noqa: E402
from support.daemons import Daemons  # noqa: E402
from support.rabbit import PrivateRabbit  # noqa: E402

from warrener.domain.definition.model import JobDefinition  # noqa: E402
from warrener.services.client import Client  # noqa: E402
from warrener.services.outcomes import Outcome  # noqa: E402
from warrener.services.submission import Source, submission  # noqa: E402

PAYLOAD = "x" * 100
WAIT_SECONDS = 300.0


def step(reads: str = "${{ params.x }}", **more: Any) -> dict[str, Any]:
    return {"call": "bench.text", "with": {"x": reads}, **more}


DIAMOND = {
    "job": "diamond",
    "steps": {
        "a": step(),
        "b": step("${{ steps.a.result }}"),
        "c": step("${{ steps.a.result }}"),
        "d": {
            "call": "bench.join",
            "with": {"x": "${{ steps.b.result }}", "y": "${{ steps.c.result }}"},
        },
    },
}
FAN = {
    "job": "fan",
    "steps": {
        "first": step(),
        "items": step("${{ item }}", for_each="${{ params.xs }}", after=["first"]),
        "last": {"call": "bench.length", "with": {"xs": "${{ steps.items.results }}"}},
    },
}


def chain(length: int) -> dict[str, Any]:
    steps = {"s0000": step()}
    for number in range(1, length):
        steps[f"s{number:04}"] = step(f"${{{{ steps.s{number - 1:04}.result }}}}")
    return {"job": "chain", "steps": steps}


class Bench:
    """A running fleet and what is asked of it."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def run(self, definition: dict[str, Any], params: list[dict[str, Any]]) -> tuple[float, int]:
        """Run one job for each of the parameters; return seconds and steps."""
        source = Source(msgspec.convert(definition, JobDefinition))
        messages = [submission(source, each, key=secrets.token_hex(8)) for each in params]
        began = time.perf_counter()
        outcomes = self.client.wait_all(self.client.send_all(messages), WAIT_SECONDS)
        seconds = time.perf_counter() - began
        return seconds, sum(map(_steps, outcomes.values()))


def _steps(outcome: Outcome) -> int:
    if outcome.state != "succeeded":
        raise SystemExit(f"a job did not succeed: {outcome.error}")
    return sum(outcome.steps.values())


@contextmanager
def fleet(url: str, runner: str) -> Iterator[Bench]:
    """Start a reactor and a worker on this broker."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        variables = {
            "WARRENER_BROKER_URL": url,
            "WARRENER_STORE_URL": f"sqlite:///{folder}/jobs.db",
            "PYTHONPATH": str(HERE),
        }
        daemons = stack.enter_context(Daemons(folder, variables))
        daemons.reactor()
        daemons.worker("--endpoints", "endpoints", "--slots", 8, f"--{runner}")
        client = Client(url)
        stack.callback(client.close)
        bench = Bench(client)
        bench.run(DIAMOND, [{"x": PAYLOAD}] * 20)  # everything is imported and declared
        yield bench


def say(figure: str, value: float, unit: str, **more: Any) -> None:
    rounded = {name: round(v, 3) if isinstance(v, float) else v for name, v in more.items()}
    line = {"figure": figure, "value": round(value, 3), "unit": unit, **rounded}
    print(json.dumps(line), flush=True)


def median_of(repeats: int, measure: Callable[[], float]) -> tuple[float, float, float]:
    found = sorted(measure() for _ in range(repeats))
    return statistics.median(found), found[0], found[-1]


def throughput(
    name: str, repeats: int, work: Callable[[], tuple[float, int]], compare: dict[str, float]
) -> None:
    """Print steps per second, and the ratios to other figures of the same run."""

    def once() -> float:
        seconds, steps = work()
        return steps / seconds

    rate, low, high = median_of(repeats, once)
    ratios = {f"ratio_to_{other}": rate / value for other, value in compare.items()}
    say(name, rate, "steps/s", low=round(low), high=round(high), **ratios)


def latency(
    name: str, repeats: int, work: Callable[[], tuple[float, int]], compare: dict[str, float]
) -> None:
    """Print milliseconds per step, and the ratios to others."""

    def once() -> float:
        seconds, steps = work()
        return 1000 * seconds / steps

    value, low, high = median_of(repeats, once)
    ratios = {f"ratio_to_{other}": value / theirs for other, theirs in compare.items()}
    say(name, value, "ms/step", low=low, high=high, **ratios)


def measure(url: str, queue_type: str, options: argparse.Namespace) -> None:
    repeats = 1 if options.quick else 5
    raw = ceiling(url, queue_type, 2_000 if options.quick else 10_000)
    windowed = raw["throughput_steps_per_second"]
    say(f"raw ceiling, {queue_type}", windowed, "steps/s")
    one = 1000 / raw["one_at_a_time_steps_per_second"]
    say(f"raw round trip, one at a time, {queue_type}", one, "ms/step")
    peers = peer_figures(options, url)
    own = f"{url}?queue_type={queue_type}"
    with fleet(own, options.runner) as bench:
        xs = [PAYLOAD] * 1_000
        diamonds = [{"x": PAYLOAD}] * 500
        throughput(
            f"500 diamonds, {queue_type}",
            repeats,
            lambda: bench.run(DIAMOND, diamonds),
            {"raw": windowed} | peers["diamonds"],
        )
        throughput(
            f"1 -> 1,000 -> 1, {queue_type}",
            repeats,
            lambda: bench.run(FAN, [{"x": PAYLOAD, "xs": xs}]),
            {"raw": windowed} | peers["fan"],
        )
        latency(
            f"chain of 200, {queue_type}",
            repeats,
            lambda: bench.run(chain(200), [{"x": PAYLOAD}]),
            {"raw_round_trip": one} | peers["chain"],
        )


def peer_figures(options: argparse.Namespace, url: str) -> dict[str, dict[str, float]]:
    """Return the figures of Celery and Dramatiq by workload, empty without `--peers`."""
    if not options.peers:
        return {"diamonds": {}, "fan": {}, "chain": {}}
    sys.path.insert(0, str(HERE / "peers"))
    from run import by_workload  # type: ignore[import-not-found]

    found: dict[str, dict[str, float]] = by_workload(url)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--queue-type", choices=["quorum", "classic"], action="append")
    parser.add_argument("--runner", choices=["threads", "processes", "asyncio"], default="threads")
    parser.add_argument("--peers", action="store_true", help="Celery and Dramatiq, too")
    parser.add_argument("--quick", action="store_true", help="one run of each")
    parser.add_argument("--broker", help="a RabbitMQ to use; default: a private one")
    options = parser.parse_args()
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    for queue_type in options.queue_type or ["quorum", "classic"]:
        if options.broker:
            measure(options.broker, queue_type, options)
            continue
        with PrivateRabbit() as rabbit:
            measure(rabbit.url(), queue_type, options)


if __name__ == "__main__":
    main()
