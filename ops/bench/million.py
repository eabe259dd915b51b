"""Simulates 1,000 workers and 1,000,000 steps: run time, memory, steps in a second.

    python ops/bench/million.py [--workers N] [--steps N] [--policy NAME] [--seed N]

Jobs of three stages, five fairness keys, at 99 % of the capacity; a step takes half a second to one
and a half. Prints one JSON line.
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
from typing import Any

from warrener.domain.flow.orders import DEFAULT_ORDER, ORDERS
from warrener.domain.flow.settings import FlowSettings
from warrener.domain.simulation.crews import Crew
from warrener.domain.simulation.engine import Simulation
from warrener.domain.simulation.summary import distribution
from warrener.domain.simulation.trace import Attempt, Shape, TraceJob, TraceStep

LOAD = 0.99
KEYS = 5


def load(steps: int, workers: int, seed: int) -> Iterator[TraceJob]:
    chance = random.Random(seed)
    one = (Attempt(1.0),)
    stages = [
        TraceStep(name=name, after=(place - 1,) if place else (), attempts=one)
        for place, name in enumerate("abc")
    ]
    shape = Shape("job", stages)
    now = 0.0
    for _ in range(steps // 3):
        now += chance.expovariate(LOAD * workers / 3)
        seconds = array("d", (chance.uniform(0.5, 1.5) for _ in range(3)))
        yield TraceJob(now, shape, fair=str(chance.randrange(KEYS)), seconds=seconds)


def measure(steps: int, workers: int, policy: str, seed: int) -> dict[str, Any]:
    began, cpu = time.perf_counter(), time.process_time()
    crews = [Crew(workers=workers)]
    record = Simulation(load(steps, workers, seed), crews, FlowSettings(policy=policy)).run()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {
        "policy": policy,
        "workers": workers,
        "steps": record.attempts,
        "run_seconds": round(took, 1),
        "cpu_seconds": round(cpu, 1),
        "steps_per_second": round(record.attempts / took),
        "times_faster_than_life": round(record.seconds / took, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "open_jobs_max": record.open_max,
        "completion_p50": round(distribution(record.completion).p50, 2),
        "utilisation": round(record.utilisation, 4),
        "fairness": round(record.shares.index(), 4),
    }


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--policy", choices=list(ORDERS), default=DEFAULT_ORDER)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    print(json.dumps(measure(options.steps, options.workers, options.policy, options.seed)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
