"""Measures detection: overloads with a known cause, and hours in which all is well, simulated.

    python ops/bench/starvation.py [--hours 1000] [--seeds 3] [--first 0]

One JSON line for every overload that was not named right and every hour with an alarm though nobody
waited beyond the bound, then one with the counts of each part. Hours that were meant to be healthy,
but in which somebody did wait beyond the bound, are counted apart.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from support.healthy import healthy_hour
from support.overloads import MAKERS, overload

PROGRESS_HOURS = 50  # after so many it says how far it is


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=int, default=1_000)
    parser.add_argument("--seeds", type=int, default=3, help="overloads of each kind")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    overloads(range(options.first, options.first + options.seeds))
    hours(options.first, options.hours)


def overloads(seeds: range) -> None:
    """Say how many overloads are named right, and how long after the bound that takes."""
    begin, right, delays = time.perf_counter(), 0, []
    for make in MAKERS:
        for seed in seeds:
            made = overload(make, seed)
            made.watched.run()
            found = {name: at for (_, name), (at, _) in made.watched.found.items()}
            if set(found) == {made.cause}:
                right += 1
                delays.append(found[made.cause] - made.watched.starved_at)
            else:
                tell(overload=make.__name__, seed=seed, cause=made.cause, found=found)
    count = len(MAKERS) * len(seeds)
    delays.sort()
    tell(
        overloads=count,
        named_right=right,
        delay_p50=delays[len(delays) // 2] if delays else None,
        delay_max=max(delays, default=None),
        seconds=round(time.perf_counter() - begin, 1),
    )


def hours(first: int, count: int) -> None:
    """Say how many healthy hours raised an alarm."""
    begin, healthy, alarms, seed = time.perf_counter(), 0, 0, first
    looks = 0
    while healthy < count:
        hour = healthy_hour(seed)
        hour.run()
        looks += hour.looks
        if hour.longest_wait <= hour.settings.bound_seconds:
            healthy += 1
            if hour.found:
                alarms += 1
                tell(hour=seed, found=[name for _, name in hour.found])
        seed += 1
        if healthy == count or seed % PROGRESS_HOURS == 0:
            tell(
                healthy_hours=healthy,
                false_alarms=alarms,
                hours_beyond_the_bound=seed - first - healthy,
                looks=looks,
                seconds=round(time.perf_counter() - begin, 1),
            )


def tell(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
