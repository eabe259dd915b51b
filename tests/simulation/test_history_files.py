"""What a history file tells of a tree of jobs is what the store that it is from tells, always."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.asking import places, why_at
from support.driving import Driver
from support.everything import run
from support.histories import definition
from support.history_files import exported, imported, queries_of
from support.mongo import fresh_mongo_url
from support.scale import scaled

from warrener.adapters.mongo_events import MongoRecorder
from warrener.adapters.sqlite_events import open_sqlite
from warrener.domain.errors import UnknownJob
from warrener.domain.events import JobSubmitted
from warrener.domain.ports import EventStore
from warrener.domain.references import blobs_of
from warrener.services.event_log import EventLog
from warrener.services.histories.rules import Rules
from warrener.services.log_at import LogAt
from warrener.services.queries import Queries
from warrener.services.why import Moment

SEEDS = 12
MOMENTS = 4
EVENTS_MAX = 1_000_000
STORES: dict[str, Callable[[Path], EventStore]] = {
    "sqlite": lambda folder: EventLog(open_sqlite(str(folder / "log.db"))),
    "mongo": lambda _: EventLog(MongoRecorder(fresh_mongo_url())),
}


def jobs_of(log: EventStore, root: UUID) -> list[UUID]:
    found = [each.recorded for each in log.read(0, EVENTS_MAX)]
    submitted = [each for each in found if isinstance(each.event, JobSubmitted)]
    return [each.originator_id for each in submitted if each.event.root == root]


def told(queries: Queries, root: UUID, jobs: list[UUID]) -> Iterator[Any]:
    """Yield everything that can be asked about a tree, but about jobs that were not there."""
    for job in jobs:
        try:
            yield queries.show(job)
        except UnknownJob:
            yield f"no job {job}"
    yield queries.tree(root)
    yield queries.slowest(root)
    yield list(queries.timeline(root, tree=True))
    yield from queries.history(root, tree=True)


def without_tokens(lines: list[Any]) -> list[Any]:
    plain = msgspec.to_builtins(lines)
    for line in plain:
        if isinstance(line, dict) and line.get("type") == "StepReleased":
            del line["data"]["token"]
    return plain


def moments(log: EventStore, root: UUID, seed: int) -> list[Moment]:
    """Return moments by chance at which something of the tree has just happened, and its end."""
    own = [each.position for each in log.read((log.position(root, 1) or 0) - 1, EVENTS_MAX)]
    chosen = [*Random(seed).choices(own, k=MOMENTS), own[-1]]
    return [Moment(each, log.read(each - 1, 1)[0].recorded.event.at) for each in chosen]


@pytest.mark.parametrize("seed", range(scaled(SEEDS)))
def test_a_history_that_went_through_a_file_is_the_one_in_the_store(
    seed: int, tmp_path: Path
) -> None:
    world = run(seed)
    whole = queries_of(world.log)
    for root in world.roots:
        jobs = jobs_of(world.log, root)
        history = imported(tmp_path / "file", exported(world.log, root, queries=whole))
        clean = imported(tmp_path / "clean", exported(world.log, root, Rules(), queries=whole))

        live = list(told(whole, root, jobs))
        assert list(told(queries_of(history.log), root, jobs)) == live
        assert without_tokens(list(told(queries_of(clean.log), root, jobs))) == without_tokens(live)
        assert history.header.state == whole.show(root).state
        assert set(clean.header.redaction.counts) <= {"tokens of attempts"}

        for moment in moments(history.log, root, seed):
            then = list(told(queries_of(LogAt(world.log, moment.position)), root, jobs))
            again = queries_of(LogAt(history.log, moment.position))
            assert list(told(again, root, jobs)) == then


def test_why_says_of_a_history_what_it_says_of_a_store_with_one_tree(tmp_path: Path) -> None:
    compared = 0
    for world in map(run, range(scaled(SEEDS) * 3)):
        if len(world.roots) > 1:  # what others hold of a limit is not in a history
            continue
        root = world.roots[0]
        history = imported(tmp_path / "file", exported(world.log, root, Rules()))
        for moment in moments(history.log, root, world.seed):
            for place in places(history.log, moment.position):
                answer = why_at(history.log, place, moment)
                assert answer == why_at(world.log, place, moment), f"seed {world.seed}"
                compared += 1

    assert compared > SEEDS * 10


@pytest.mark.parametrize("kind", sorted(STORES))
def test_every_store_gives_the_same_file(kind: str, tmp_path: Path) -> None:
    log, roots = with_blobs()
    store = STORES[kind](tmp_path)
    try:
        copy(log, store)
        for root in roots:
            data = exported(log, root, Rules())
            assert exported(store, root, Rules()) == data
            history = imported(tmp_path / "file", data)
            assert history.header.blobs == 1
            assert queries_of(history.log).show(root) == queries_of(store).show(root)
    finally:
        store.close()


def test_a_file_that_was_read_is_written_again_as_it_is(tmp_path: Path) -> None:
    for seed in range(SEEDS):
        world = run(seed)
        for root in world.roots:
            data = exported(world.log, root)
            history = imported(tmp_path / "file", data)

            assert exported(history.log, root) == data
            packed = exported(world.log, root, compressed=True)
            assert len(packed) < len(data)
            assert list(imported(tmp_path / "file", packed).log.read(0, EVENTS_MAX)) == list(
                history.log.read(0, EVENTS_MAX)
            )


def with_blobs() -> tuple[EventStore, list[UUID]]:
    """Return a log of two jobs with large values, and the jobs."""
    driver = Driver()
    work = definition("report", first={"call": "a.b"}, second={"call": "a.b", "after": ["first"]})
    roots = [driver.submit(work, {"n": key}, key=key) for key in ("1", "2")]
    for order in list(driver.orders):
        driver.succeed(order, "x" * 100_000)
    return driver.store, roots


def blobs(log: EventStore) -> dict[str, bytes]:
    found = [each.recorded.event for each in log.read(0, EVENTS_MAX)]
    return {name: log.blob(name) for event in found for name in blobs_of(event)}


def copy(log: EventStore, store: EventStore) -> None:
    """Write a whole log into another store, at the same positions."""
    events = [each.recorded for each in log.read(0, EVENTS_MAX)]
    store.commit(events, blobs(log))
