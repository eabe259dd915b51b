"""`kill -9` of restores and prunes at any point: run again, they end what they began."""

from __future__ import annotations

import select
import time
from pathlib import Path
from random import Random

from support.cli import Cli
from support.scale import scaled
from support.stores import commits_of, fill, sqlite_part

KILLS = 6
SEED = 20_300_101
WAIT_SECONDS = 60.0
COMMITS = 4_000
JOB = """
job: many
endpoints: [./endpoints.py]
params: {type: object, properties: {count: {type: integer}}}
steps:
  list: {call: k.list, with: {count: "${{ params.count }}"}}
  each: {for_each: "${{ steps.list.result }}", call: k.big, with: {number: "${{ item }}"}}
"""
ENDPOINTS = """
from warrener import endpoint


@endpoint("k.list")
def listed(count: int) -> list[int]:
    return list(range(count))


@endpoint("k.big")
def big(number: int) -> str:
    return str(number) * 70_000
"""


def killed(cli: Cli, delay_seconds: float, *arguments: object) -> bool:
    """Start a command and kill it after a while; say whether it had not ended before."""
    with cli.started(*arguments) as process:
        assert process.stdout is not None
        end = time.monotonic() + delay_seconds
        while (left := end - time.monotonic()) > 0 and process.poll() is None:
            select.select([], [], [], min(left, 0.01))
        was_running = process.poll() is None
        process.kill()
    return was_running


def test_a_restore_that_is_killed_again_and_again_gives_the_whole_store(tmp_path: Path) -> None:
    cli, chance = Cli(tmp_path), Random(SEED)
    with sqlite_part(tmp_path / "jobs.db") as part:
        with part.alone():
            fill(part, [3] * scaled(COMMITS))
        wanted = commits_of(part)
    assert cli("store", "backup", "b.zst", "--store", "sqlite:///jobs.db").code == 0
    restore = ("store", "restore", "b.zst", "--json", "--store", "sqlite:///copy.db")
    began = time.monotonic()
    assert cli(*restore).code == 0
    whole_seconds = time.monotonic() - began
    (tmp_path / "copy.db").unlink()

    kills = sum(
        killed(cli, chance.uniform(0.3, 0.9) * whole_seconds, *restore) for _ in range(KILLS)
    )
    done = cli(*restore)

    assert kills > 0
    assert done.code == 0 or "the store is not empty" in done.err  # a kill came after the end
    with sqlite_part(tmp_path / "copy.db") as copy:
        assert commits_of(copy) == wanted
        assert copy.log.epoch() == 1
    assert cli("store", "verify", "--json", "--store", "sqlite:///copy.db").json["clean"]


def test_a_prune_that_is_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    cli, chance = Cli(tmp_path), Random(SEED)
    cli.write(many_yaml=JOB, endpoints_py=ENDPOINTS)
    store = ("--store", "sqlite:///jobs.db")
    jobs = [
        cli("run", "many.yaml", "--param", "count=40", "--json", *store).json["job"]
        for _ in range(3)
    ]
    before = {job: cli("history", job, "--json", *store).lines for job in jobs}
    prune = ("store", "prune", "--older-than", "0s", "--json", *store)

    began = time.monotonic()
    assert cli(*prune, "--dry-run").code == 0
    dry_seconds = time.monotonic() - began  # the other way takes a little longer

    kills = sum(killed(cli, chance.uniform(0.5, 1.2) * dry_seconds, *prune) for _ in range(KILLS))
    done = cli(*prune)

    assert kills > 0
    assert done.code == 0, done
    for job in jobs:
        assert cli("history", job, "--json", *store).lines == before[job] != []
    assert cli("jobs", "--json", *store).lines == []
    assert cli("store", "verify", "--json", *store).json["clean"]
    info = cli("store", "info", "--json", *store).json
    assert (info["blobs"], info["open_roots"]) == (0, 0)
