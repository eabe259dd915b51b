"""Simulates an outage: nobody works for 80 minutes while jobs come, and then all workers are back.

    python ops/bench/outage.py [--scale 0.1] [--policy NAME ...] [--plot FILE.svg] [--seed N]

Jobs of three stages, all on the same 800 workers, come at 70 % of their capacity: 720,000 steps of
backlog at the end of the outage, and more jobs all the time. One JSON line for each policy tells
how long it takes from then until the oldest job that has not ended is younger than a minute
(`clear_seconds`), and its ratio to the ideal: until workers who always have something to do have
done all that came. `plain` is `fifo` with everything released at once, as in the queues of a broker
without late release. `--plot` draws the queues of each stage over time. `--scale 0.1` has a tenth
of the workers and of the jobs, and the same times.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import time
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from warrener.domain.flow.orders import ORDERS
from warrener.domain.flow.settings import FlowSettings
from warrener.domain.simulation.crews import Crew
from warrener.domain.simulation.engine import Simulation
from warrener.domain.simulation.record import Record
from warrener.domain.simulation.summary import distribution
from warrener.domain.simulation.trace import Attempt, Shape, TraceJob, TraceStep

WORKERS = 800
LOAD = 0.7
OUTAGE_SECONDS = 80 * 60.0
BACKLOG_STEPS = 720_000
STAGES = ("split", "work", "merge")
YOUNG_SECONDS = 60.0
PLAIN = "plain"
SERVICE_SECONDS = WORKERS * LOAD * OUTAGE_SECONDS / BACKLOG_STEPS  # of a step, at the mean


def shape() -> Shape:
    steps = [
        TraceStep(
            name=name,
            after=(place - 1,) if place else (),
            attempts=(Attempt(SERVICE_SECONDS),),
        )
        for place, name in enumerate(STAGES)
    ]
    return Shape("job", steps)


def load(scale: float, seed: int) -> Iterator[TraceJob]:
    """Yield jobs without end; each step takes between half and one and a half times the mean."""
    chance, jobs = random.Random(seed), shape()
    rate = scale * BACKLOG_STEPS / len(STAGES) / OUTAGE_SECONDS
    now = 0.0
    while True:
        now += chance.expovariate(rate)
        spread = (chance.uniform(0.5, 1.5) * SERVICE_SECONDS for _ in STAGES)
        yield TraceJob(now, jobs, seconds=array("d", spread))


def ideal_seconds(scale: float, seed: int) -> float:
    """Return how long after the outage all work that came is done, if no worker is ever idle."""
    workers, work = max(1, round(WORKERS * scale)), 0.0
    for job in load(scale, seed):
        done_at = OUTAGE_SECONDS + work / workers
        if job.at > max(OUTAGE_SECONDS, done_at):
            break
        work += job.work_seconds
    return work / workers


def play(policy: str, scale: float = 1.0, seed: int = 1) -> tuple[dict[str, Any], Record]:
    """Simulate the outage under a policy, up to the time at which the oldest job is young."""

    def look(simulation: Simulation) -> None:
        oldest = next(iter(simulation.open.values())).trace.at
        if simulation.now > OUTAGE_SECONDS and simulation.now - oldest < YOUNG_SECONDS:
            simulation.stop()

    began = time.process_time()
    workers = max(1, round(WORKERS * scale))
    settings = FlowSettings(policy="fifo" if policy == PLAIN else policy)
    crew = Crew(workers=workers, since=OUTAGE_SECONDS)
    simulation = Simulation(
        load(scale, seed), [crew], settings, on_tick=look, eager=policy == PLAIN
    )
    record = simulation.run()
    clear = record.seconds - OUTAGE_SECONDS
    ideal = ideal_seconds(scale, seed)
    late = [
        seconds
        for at, seconds in zip(record.submitted_at, record.completion, strict=True)
        if at < OUTAGE_SECONDS
    ]
    half = OUTAGE_SECONDS + ideal / 2
    ended_by_half = sum(
        at + seconds <= half
        for at, seconds in zip(record.submitted_at, record.completion, strict=True)
    )
    figures = {
        "policy": policy,
        "workers": workers,
        "clear_seconds": round(clear, 1),
        "ideal_seconds": round(ideal, 1),
        "ratio": round(clear / ideal, 3),
        "ended_jobs": len(record.completion),
        "ended_jobs_at_half_time": ended_by_half,
        "completion_p50": round(distribution(record.completion).p50, 1),
        "backlog_completion_p50": round(distribution(late).p50, 1),
        "utilisation": round(record.utilisation, 4),
        "open_jobs_max": record.open_max,
        "attempts": record.attempts,
        "cpu_seconds": round(time.process_time() - began, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    return figures, record


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--policy", action="append", choices=[*ORDERS, PLAIN])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    records: dict[str, Record] = {}
    for policy in options.policy or [*ORDERS, PLAIN]:
        figures, records[policy] = play(policy, options.scale, options.seed)
        print(json.dumps(figures), flush=True)
    if options.plot is not None:
        from warrener.services.simulate.plot import draw

        title = f"80 minutes without workers, then {round(WORKERS * options.scale)} of them"
        draw(options.plot, records, title)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
