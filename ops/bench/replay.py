"""Measures `replay --at` on jobs of 10,000 steps: one JSON line per figure.

    python ops/bench/replay.py [--steps N] [--rounds N]

One job is a fan-out, the other a tree: a hundred jobs with a hundred steps each. A figure is the
median of some rounds, as a function and as a whole command line in a process of its own. Shared
machines are noisy: `ratio` is that to reading and decoding the same log, or to the start of a
command line that does nothing, in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests")]

from run import BUDGET, convert, say  # noqa: E402
from support.virtual_fleet import record  # noqa: E402

from warrener.domain.ids import job_id  # noqa: E402
from warrener.services.logs import LogSet  # noqa: E402
from warrener.services.past import At, replay  # noqa: E402
from warrener.services.places import Place  # noqa: E402
from warrener.services.projector import catch_up  # noqa: E402
from warrener.services.queries import Queries  # noqa: E402
from warrener.services.submission import Source  # noqa: E402
from warrener.services.wiring import open_past_views, open_store, open_views  # noqa: E402

ROOT = job_id("job0")
ITEMS = {"for_each": "${{ params.xs }}", "call": "work", "with": {"seconds": "${{ item }}"}}


def fan(steps: int) -> tuple[Source, dict[str, Any]]:
    """One job with so many items."""
    definition = convert({"job": "fan", "budget": BUDGET, "steps": {"items": ITEMS}})
    return Source(definition), {"xs": [1] * steps}


def tree(steps: int) -> tuple[Source, dict[str, Any]]:
    """A hundred jobs that share so many steps."""
    children = {
        "for_each": "${{ params.xs }}",
        "job": "leaf",
        "with": {"xs": "${{ item }}"},
    }
    top = convert({"job": "top", "budget": BUDGET, "steps": {"children": children}})
    leaf = convert({"job": "leaf", "steps": {"items": ITEMS}})
    return Source(top, {"top": top, "leaf": leaf}), {"xs": [[1] * (steps // 100)] * 100}


def median_seconds(rounds: int, work: Callable[[], object]) -> float:
    found = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def run_command(*arguments: str) -> None:
    program = "from warrener.services.cli import main; main()"
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True)


def measure(name: str, url: str, rounds: int) -> None:
    store, views = open_store(url), open_views(url)
    catch_up(store, views)
    logs = LogSet([store])
    queries = Queries(logs, views)
    head = store.head()
    reading = median_seconds(rounds, lambda: store.read(0, head))
    for what, at in (("in the middle", head // 2), ("at the end", head)):
        seconds = median_seconds(rounds, lambda at=at: ask(logs, queries, at))  # type: ignore[misc]
        ratio = round(seconds / reading, 2)
        say(f"replay of the {name} {what}", seconds, "s", events=head, ratio=ratio)
    views.close()
    store.close()
    nothing = median_seconds(rounds, lambda: run_command("--version"))
    options = (str(ROOT), "--at", str(head), "--store", url)
    whole = median_seconds(rounds, lambda: run_command("replay", *options))
    say(f"warrener replay of the {name}", whole, "s", ratio=round(whole / nothing, 2))


def ask(logs: LogSet, queries: Queries, at: At) -> UUID:
    place, now = Place(ROOT), datetime.now(UTC)
    past = replay(logs, queries, place, at, now=now, open_views=open_past_views)
    return past.show(whole=False).job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, made in (("fan", fan(options.steps)), ("tree", tree(options.steps))):
            url = f"sqlite:///{folder}/{name}.db"
            store = open_store(url)
            source, params = made
            record([(0.0, source, params, {})], 500, "fifo", ["default"], store)
            store.close()
            measure(name, url, options.rounds)


if __name__ == "__main__":
    main()
