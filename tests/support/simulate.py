"""Runs the simulation for any seeds: `bash ops/simulate --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256

import msgspec
import structlog
from support.everything import Everything
from support.promises.folded import Broken

from warrener.domain.events import Event

DESCRIPTION = """
Runs random jobs that use everything a definition can say, with random work, random commands and
faults, each seed in a world of its own on a virtual clock. After every commit and every turn the
promises G1 to G9 are checked, and that what is in memory is what the log says (Replay). The same
seed gives the same log, byte for byte. Ends with 1 if a promise is broken, after a line for each
such seed: it belongs among the pinned ones of tests/simulation/test_everything.py then.
"""
EVENT_CHARACTERS_MAX = 240


class Outcome(msgspec.Struct, frozen=True):
    """What became of a seed: `broken` is the promise, or the error, with what was found."""

    seed: int
    digest: str
    broken: str = ""
    trace: tuple[str, ...] = ()


def try_seed(seed: int, trace: int = 0) -> Outcome:
    """Run one seed; keep the last `trace` events of its log if it breaks a promise."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    world = Everything(seed)
    broken = ""
    try:
        world.run_all()
    except Broken as error:
        broken = str(error)
    except Exception as error:
        broken = f"{type(error).__name__}: {error}"
    head = world.log.head()
    events = world.log.read(max(0, head - trace), trace) if broken else ()
    told = tuple(f"{each.position} {_told(each.recorded.event)}" for each in events)
    return Outcome(seed, sha256(world.log.dump()).hexdigest(), broken, told)


def _told(event: Event) -> str:
    return f"{type(event).__name__} {msgspec.json.encode(event).decode()}"[:EVENT_CHARACTERS_MAX]


def try_all(first: int, count: int, processes: int, trace: int) -> Iterator[Outcome]:
    """Run many seeds, in their order."""
    seeds = range(first, first + count)
    if processes == 1:
        yield from (try_seed(seed, trace) for seed in seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(try_seed, seeds, [trace] * count, chunksize=10)


def main() -> int:
    """Read the command line, run the seeds and tell what broke."""
    parser = argparse.ArgumentParser(prog="ops/simulate", description=DESCRIPTION)
    parser.add_argument("--seeds", type=int, default=1000, metavar="N", help="how many; 1000")
    parser.add_argument("--from", type=int, default=0, metavar="S", dest="first", help="first; 0")
    parser.add_argument("--processes", type=int, default=1, metavar="P", help="at once; 1")
    parser.add_argument(
        "--trace", type=int, default=0, metavar="N", help="show the last N events of broken seeds"
    )
    parser.add_argument("--digests", action="store_true", help="show the digest of every log")
    asked = parser.parse_args()
    if asked.seeds < 1 or asked.processes < 1 or asked.trace < 0:
        parser.error("--seeds and --processes are 1 or more, --trace 0 or more")
    broken = 0
    for outcome in try_all(asked.first, asked.seeds, asked.processes, asked.trace):
        if asked.digests:
            print(f"seed {outcome.seed}: log {outcome.digest}", flush=True)
        if outcome.broken:
            broken += 1
            print(f"seed {outcome.seed}: {outcome.broken}", *outcome.trace, sep="\n  ", flush=True)
    last = asked.first + asked.seeds - 1
    print(f"seeds {asked.first} to {last}: {broken} of {asked.seeds} broke a promise")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
