"""`kill -9` of a whole run, again and again: every time it goes on where the log stands."""

from __future__ import annotations

import select
import time
from pathlib import Path
from random import Random

from support.cli import Cli
from support.log_checks import check_log
from support.scale import scaled

from warrener.domain import ids
from warrener.domain.ports import EventStore
from warrener.services.wiring import open_store

KILLS = 25
SEED = 20_260_101
WAIT_SECONDS = 60.0
STORE = ("--store", "sqlite:///jobs.db")
WORKERS = ("--workers", "2")

ENDPOINTS = """
import time

from warrener import endpoint


@endpoint("kill.square")
def square(number: int) -> int:
    time.sleep(0.002)
    return number * number


@endpoint("kill.sum")
def total(numbers: list[int]) -> int:
    return sum(numbers)
"""
JOB = """
job: walk
endpoints: [./endpoints.py]
budget: {depth: 8, steps: 100000}
params:
  type: object
  required: [depth, items]
  properties: {depth: {type: integer}, items: {type: integer}}
steps:
  numbers:
    set: {list: "${{ params.depth == 0 ? [1, 2, 3, 4, 5, 6, 7, 8, 9] : [1, 2, 3] }}"}
  squares:
    for_each: "${{ steps.numbers.result.list }}"
    call: kill.square
    with: {number: "${{ item + params.items }}"}
    window: 4
  below:
    for_each: "${{ params.depth == 0 ? [] : steps.numbers.result.list }}"
    job: walk
    with: {depth: "${{ params.depth - 1 }}", items: "${{ params.items * 10 + index }}"}
  sum:
    call: kill.sum
    with: {numbers: "${{ steps.squares.results + steps.below.results }}"}
result: "${{ steps.sum.result }}"
"""


def expected(depth: int, items: int) -> int:
    numbers = range(1, 10) if depth == 0 else range(1, 4)
    below = sum(expected(depth - 1, items * 10 + index) for index in range(3)) if depth else 0
    return sum((number + items) ** 2 for number in numbers) + below


def depth_for(kills: int) -> int:
    """Return how deep the tree must be for every kill to find work left."""
    depth = 1
    while 3**depth < kills:  # each leaf writes more events than one kill waits for
        depth += 1
    return depth


def kill_after(cli: Cli, command: tuple[str, ...], log: EventStore, events: int) -> bool:
    """Start the command and kill it once the log grew; say whether it was killed before its end."""
    goal = log.head() + events
    deadline = time.monotonic() + WAIT_SECONDS
    with cli.started(*command) as process:
        while log.head() < goal:
            if process.poll() is not None:
                return False
            assert time.monotonic() < deadline, "the run makes no progress"
            select.select([], [], [], 0.001)
        process.kill()
    return True


def test_a_run_that_is_killed_again_and_again_counts_every_result_once(tmp_path: Path) -> None:
    chance, kills = Random(SEED), scaled(KILLS)
    depth = depth_for(kills)
    cli = Cli(tmp_path)
    cli.write(walk_yaml=JOB, endpoints_py=ENDPOINTS)
    params = ("--param", f"depth={depth}", "--param", "items=0", "--key", "walk")
    first = ("run", "walk.yaml", *params, *WORKERS, *STORE)
    job = ids.job_id("walk")
    again = ("run", "--resume", str(job), *WORKERS, *STORE)
    log = open_store(f"sqlite:///{tmp_path}/jobs.db")

    killed = 0
    while killed < kills:
        command = again if log.last(job) is not None else first
        assert kill_after(cli, command, log, chance.randint(1, 25)), f"done after {killed} kills"
        killed += 1
    done = cli(*again, "--json")

    assert done.code == 0, done.err
    assert (done.json["state"], done.json["result"]) == ("succeeded", expected(depth, 0))
    assert set(check_log(log).values()) <= {1, 2, 3, 4}
    log.close()
