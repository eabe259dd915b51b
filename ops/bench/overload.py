"""Measures an overload: jobs of three stages come faster than the workers can do them.

    python ops/bench/overload.py [--seconds 60] [--slots 20] [--step-seconds 0.2] [--load 1.5]

All stages run on the same workers, behind a private RabbitMQ of each. The same load is put on plain
RabbitMQ (one queue; who ends a stage publishes the next), on Warrener with `fifo` and as it is.
One JSON line each: how many jobs were complete at the end of the submissions, the median time from
submission to completion of these, that from the first order of a job to its completion as a
multiple of its bare service time, and the steps per second. Beside them the ideal: a fleet that
finishes one job after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests")]

import msgspec  # noqa: E402
import pika  # noqa: E402
from support.daemons import Daemons  # noqa: E402
from support.rabbit import PrivateRabbit  # noqa: E402

from warrener.domain.definition.model import JobDefinition  # noqa: E402
from warrener.domain.events import JobSubmitted, JobSucceeded  # noqa: E402
from warrener.domain.step_events import StepReleased, StepSucceeded  # noqa: E402
from warrener.services.client import Client  # noqa: E402
from warrener.services.submission import Source, submission  # noqa: E402
from warrener.services.wiring import open_store  # noqa: E402

STAGES = 3
TICK_SECONDS = 0.02
PLAIN_QUEUE = "plain"


class Load(msgspec.Struct, frozen=True):
    """What is submitted, and the fleet that it comes to."""

    seconds: float
    slots: int
    step_seconds: float
    load: float

    @property
    def capacity(self) -> float:
        """Return the jobs that the fleet can do in a second."""
        return self.slots / self.step_seconds / STAGES

    @property
    def service_seconds(self) -> float:
        """Return how long the steps of a job run."""
        return STAGES * self.step_seconds

    def submit(self, send: Callable[[int, int], None]) -> None:
        """Submit at an even pace: `send` gets the numbers of the jobs that are due, from and to."""
        began, sent = time.monotonic(), 0
        total = int(self.seconds * self.load * self.capacity)
        while sent < total:
            due = min(total, int((time.monotonic() - began) * self.load * self.capacity))
            if due > sent:
                send(sent, due)
                sent = due
            time.sleep(TICK_SECONDS)


class Times(msgspec.Struct):
    """When a job was submitted, when its first order went out, and when it was complete."""

    submitted: float
    begun: float | None = None
    ended: float | None = None


def figures(name: str, load: Load, jobs: Sequence[Times], steps: Sequence[float]) -> dict[str, Any]:
    """Return what came of a load by the end of its submissions."""
    began = min(job.submitted for job in jobs)
    until = began + load.seconds
    done = [job for job in jobs if job.ended is not None and job.ended <= until]
    spent = sorted(job.ended - job.submitted for job in done if job.ended is not None)
    begun = sorted(job.ended - job.begun for job in done if job.ended and job.begun)
    ideal = load.capacity * load.seconds
    return {
        "figure": name,
        "complete": len(done),
        "complete_of_ideal": round(len(done) / ideal, 3),
        "submitted": len(jobs),
        "median_seconds": round(statistics.median(spent), 3) if spent else None,
        "median_admitted_of_bare": round(statistics.median(begun) / load.service_seconds, 2)
        if begun
        else None,
        "steps_per_second": round(sum(began <= at <= until for at in steps) / load.seconds, 1),
    }


# --- Warrener ------------------------------------------------------------------------------------


def definition(seconds: float) -> JobDefinition:
    call = {"call": "bench.sleep", "with": {"seconds": seconds}}
    steps = {f"stage{n}": {**call, "after": [f"stage{n - 1}"] if n else []} for n in range(STAGES)}
    return msgspec.convert({"job": "staged", "steps": steps}, JobDefinition)


@contextmanager
def fleet(url: str, load: Load) -> Iterator[tuple[Client, str]]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        store = f"sqlite:///{name}/jobs.db"
        variables = {
            "WARRENER_BROKER_URL": url,
            "WARRENER_STORE_URL": store,
            "PYTHONPATH": str(HERE),
        }
        daemons = stack.enter_context(Daemons(Path(name), variables))
        daemons.reactor()
        daemons.worker("--endpoints", "endpoints", "--slots", load.slots, "--threads")
        client = Client(url)
        stack.callback(client.close)
        warm = submission(Source(definition(0.01)), {}, key="warm")
        client.wait_all(client.send_all([warm]), 60.0)
        yield client, store


def warrener(url: str, load: Load, policy: str) -> dict[str, Any]:
    with fleet(url, load) as (client, store):
        client.change_flow(policy=policy)
        source = Source(definition(load.step_seconds))

        def send(start: int, stop: int) -> None:
            keys = [f"job-{number}" for number in range(start, stop)]
            client.send_all([submission(source, {}, key=key) for key in keys])

        load.submit(send)
        time.sleep(1.0)  # what was answered in time may be written a little later
        return figures(f"warrener, {policy}", load, *recorded(store))


def recorded(store_url: str) -> tuple[list[Times], list[float]]:
    """Return the times of all jobs but the first, and those at which steps succeeded."""
    store = open_store(store_url)
    jobs: dict[UUID, Times] = {}
    steps: list[float] = []
    position = 0
    while events := store.read(position, 10_000):
        position = events[-1].position
        for each in events:
            event, at = each.recorded.event, each.recorded.event.at.timestamp()
            if isinstance(event, JobSubmitted):
                jobs[each.recorded.originator_id] = Times(at)
            elif isinstance(event, StepReleased) and event.job in jobs:
                job = jobs[event.job]
                job.begun = job.begun or at
            elif isinstance(event, StepSucceeded):
                steps.append(at)
            elif isinstance(event, JobSucceeded):
                jobs[each.recorded.originator_id].ended = at
    store.close()
    return list(jobs.values())[1:], steps[STAGES:]


# --- plain RabbitMQ ------------------------------------------------------------------------------


def plain(url: str, load: Load) -> dict[str, Any]:
    """Put the load on one queue: workers take from it and publish the next stage to it."""
    times: dict[int, Times] = {}
    steps: list[float] = []
    stop = threading.Event()
    workers = [
        threading.Thread(target=_work, args=(url, load, times, steps, stop), daemon=True)
        for _ in range(load.slots)
    ]
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(PLAIN_QUEUE, durable=True)
    for worker in workers:
        worker.start()
    time.sleep(1.0)

    def send(start: int, stop_at: int) -> None:
        for number in range(start, stop_at):
            times[number] = Times(time.time())
            channel.basic_publish("", PLAIN_QUEUE, json.dumps([number, 0]).encode())
        connection.process_data_events(0)

    load.submit(send)
    time.sleep(load.step_seconds)
    stop.set()
    for worker in workers:
        worker.join(10.0)
    channel.queue_delete(PLAIN_QUEUE)
    connection.close()
    return figures("plain RabbitMQ", load, list(times.values()), steps)


def _work(
    url: str, load: Load, times: dict[int, Times], steps: list[float], stop: threading.Event
) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1)
    for method, _, body in channel.consume(PLAIN_QUEUE, inactivity_timeout=0.2):
        if stop.is_set():
            break
        if method is None:
            continue
        number, stage = json.loads(body)
        job = times[number]
        job.begun = job.begun or time.time()
        time.sleep(load.step_seconds)
        steps.append(time.time())
        if stage + 1 < STAGES:
            channel.basic_publish("", PLAIN_QUEUE, json.dumps([number, stage + 1]).encode())
        else:
            job.ended = steps[-1]
        channel.basic_ack(method.delivery_tag)
    connection.close()


def ideal(load: Load) -> dict[str, Any]:
    """Return the figures of a fleet that loses no time and finishes the jobs as they came."""
    done = int(load.capacity * load.seconds)
    spent = [
        number / load.capacity - number / (load.load * load.capacity) for number in range(done)
    ]
    return {
        "figure": "ideal",
        "complete": done,
        "median_seconds": round(statistics.median(spent) + load.service_seconds, 3),
        "steps_per_second": round(load.slots / load.step_seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of submissions")
    parser.add_argument("--slots", type=int, default=20, help="of all workers together")
    parser.add_argument("--step-seconds", type=float, default=0.2)
    parser.add_argument("--load", type=float, default=1.5, help="times the capacity")
    options = parser.parse_args()
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    load = Load(options.seconds, options.slots, options.step_seconds, options.load)
    print(json.dumps(ideal(load)), flush=True)
    for measure in (
        plain,
        partial(warrener, policy="fifo"),
        partial(warrener, policy="finish-first"),
    ):
        with PrivateRabbit() as rabbit:
            print(json.dumps(measure(rabbit.url(), load)), flush=True)


if __name__ == "__main__":
    main()
