"""Records the golden corpus of this version: histories that all later versions must replay.

python ops/histories/record.py            into tests/histories/VERSION, once at each release
python ops/histories/record.py --into DIR  somewhere else, to see what would be recorded

A version that is recorded already is refused: what was released does not change any more.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from uuid import UUID

import msgspec
import structlog

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support import corpus  # noqa: E402
from support.everything import run as run_world  # noqa: E402
from support.history_files import queries_of  # noqa: E402

from warrener.adapters.codec import TOPICS, EventMapper  # noqa: E402
from warrener.domain.control_events import FlowSampled, LogTaken, StarvationEvent  # noqa: E402
from warrener.domain.definition.model import JobDefinition  # noqa: E402
from warrener.domain.events import Event, EventPruned  # noqa: E402
from warrener.domain.ports import EventStore, Positioned  # noqa: E402
from warrener.services.histories.export import Exporter, Source  # noqa: E402
from warrener.services.histories.read import read_history  # noqa: E402
from warrener.services.histories.rules import Rules  # noqa: E402
from warrener.services.partial_log import PartialLog  # noqa: E402
from warrener.services.sources import load  # noqa: E402
from warrener.testing import LocalRun  # noqa: E402

EXAMPLES = ROOT / "ops" / "examples"
WORLDS = 150
EVENTS_MAX = 200
JOBS_MAX = 6
PACKED = ("large-values",)
LARGE = {
    "job": "large-values",
    "steps": {
        "repeat": {"call": "text.repeat", "with": {"text": "${{ params.text }}"}},
        "count": {"set": {"characters": "${{ size(steps.repeat.result) }}"}},
    },
    "result": "${{ steps.count.result }}",
}
OF_NO_TREE = (FlowSampled, StarvationEvent, LogTaken, EventPruned)

Tree = tuple[EventStore, UUID]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, help="instead of tests/histories/VERSION")
    into = parser.parse_args().into or corpus.CORPUS / release()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if into.exists():
        print(f"{into} is recorded already: what was released does not change", file=sys.stderr)
        return 2
    into.mkdir(parents=True)
    seen: set[str] = set()
    for name, (log, root) in [*examples(), *worlds()]:
        seen |= record(into, name, log, root)
    missing = wanted() - seen
    print(f"{into}: {len(list(into.iterdir()))} files; event types left out: {missing or 'none'}")
    return 1 if missing else 0


def release() -> str:
    """Return the folder of this version: its release without what comes after."""
    return ".".join(version("warrener").split(".")[:2])


def wanted() -> set[str]:
    """Return the topics of all events that a tree can have."""
    return {topic for topic, kind in TOPICS.items() if not issubclass(kind, OF_NO_TREE)}


def record(into: Path, name: str, log: EventStore, root: UUID) -> set[str]:
    """Write a history and what is said of it; return the topics of its events."""
    mapper = EventMapper()
    events = list(queries_of(log).tree_events(root))
    events = [msgspec.structs.replace(each, recorded=anywhere(each)) for each in events]
    packed = name in PACKED
    file = into / f"{name}{corpus.SUFFIX}{'.zst' if packed else ''}"
    last = max(each.recorded.event.at for each in events)
    with file.open("wb") as opened:
        source = Source(root, events, log.blob, mapper)
        by = f"warrener {version('warrener')}"
        Exporter(source, Rules()).write(opened, last, by, compressed=packed)
    corpus.keep(file, corpus.told(read_history(file, mapper).log, root))
    return {mapper.to_stored_event(each.recorded).topic for each in events}


def anywhere(each: Positioned) -> object:
    """Return an event without the places of files of this machine."""
    event: Event = each.recorded.event
    error = getattr(event, "error", None)
    if error is not None and error.traceback:
        error = msgspec.structs.replace(error, traceback=error.traceback.replace(str(ROOT), ""))
        event = msgspec.structs.replace(event, error=error)
    return msgspec.structs.replace(each.recorded, event=event)


# --- what is recorded ----------------------------------------------------------------------------


def examples() -> Iterator[tuple[str, Tree]]:
    """Yield runs of the examples."""
    yield "hello", tree(started("hello.yaml"))
    yield "social-report", tree(started("social-report.yaml", account="ada", twitter="@ada"))
    yield "social-report-fails", tree(started("social-report.yaml", account="grace"))
    order = {"item": "tent", "price": 3.5}
    approved = started("approval.yaml", **order, account="expired")
    approved.answer({"approved": True})
    yield "approval-waits-for-a-card", tree(approved)
    late = started("approval.yaml", **order, account="ada")
    late.advance(timedelta(days=4))
    yield "approval-comes-too-late", tree(late)
    large = LocalRun(msgspec.convert(LARGE, JobDefinition), {"text.repeat": lambda text: text * 9})
    large.start({"text": "What is large stands in a blob. " * 3_000, "password": "s3cr3t-Value"})
    yield "large-values", tree(large)


def started(name: str, **params: object) -> LocalRun:
    load(str(EXAMPLES / name), ())  # with it the endpoints
    run = LocalRun(str(EXAMPLES / name))
    run.start(params)
    return run


def tree(run: LocalRun) -> Tree:
    assert run.job is not None
    return run._parts.store, run.job


def worlds() -> Iterator[tuple[str, Tree]]:
    """Yield trees of worlds in which everything happens, until every type of event has come."""
    found = dict(small_trees())
    left = wanted()
    while left:
        name = max(found, key=lambda name: len(topics(found[name]) & left))
        if not topics(found[name]) & left:
            return
        left -= topics(found[name])
        yield name, found[name]


def small_trees() -> Iterator[tuple[str, Tree]]:
    for seed in range(WORLDS):
        world = run_world(seed)
        queries = queries_of(world.log)
        for number, root in enumerate(world.roots):
            events = list(queries.tree_events(root))
            made = PartialLog(events, world.log.blob)
            jobs = sum(type(each.recorded.event).__name__ == "JobSubmitted" for each in events)
            if len(events) <= EVENTS_MAX and jobs <= JOBS_MAX:
                yield f"world-{seed}-{number}", (made, root)


def topics(made: Tree) -> set[str]:
    mapper = EventMapper()
    events = made[0].read(0, EVENTS_MAX)
    return {mapper.to_stored_event(each.recorded).topic for each in events}


if __name__ == "__main__":
    sys.exit(main())
