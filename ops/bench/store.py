"""Measures the log of a store: one JSON line per figure.

    python ops/bench/store.py [--quick] [MONGODB-URL]

Events are committed one, ten and a hundred at a time, half as many streams as events, beside bare
inserts of the very same documents (or rows) in the same run, with the same durability: once into a
collection with the log's indexes and once into one without any. Shared machines are noisy: figures
are medians of several rounds, and the ratios are what counts. Without a URL it starts SecantusDB,
which has no journal of MongoDB's speed: judge shapes by it, not absolutes.
"""

from __future__ import annotations

import argparse
import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).parent))
from run import say
from support.mongo import forget_database, fresh_mongo_url

from warrener.adapters.mongo_client import MongoDatabase
from warrener.adapters.mongo_events import MongoRecorder
from warrener.adapters.mongo_layout import COMMITS, make_indexes
from warrener.adapters.sqlite_events import open_sqlite
from warrener.domain.events import Recorded
from warrener.domain.step_events import StepStarted
from warrener.services.event_log import EventLog

SIZES = (1, 10, 100)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EVENT = StepStarted(
    at=AT, cause=f"report {uuid4()}", job=uuid4(), path="items[1]", attempt=1, worker="host-4711-0"
)


def batches(size: int, count: int) -> list[list[Recorded]]:
    """Return commits of so many events, two of each stream where there is room."""
    made = []
    for _ in range(count):
        streams = [uuid4() for _ in range((size + 1) // 2)]
        events = [Recorded(stream, version, EVENT) for stream in streams for version in (1, 2)]
        made.append(events[:size])
    return made


def rate(write: Callable[[Any], object], items: Sequence[Any], events: int) -> float:
    """Return events per second."""
    begun = time.perf_counter()
    for item in items:
        write(item)
    return events / (time.perf_counter() - begun)


def mongo_round(urls: Iterator[str], size: int, count: int) -> tuple[float, float, float]:
    """Return events per second: the log, bare inserts with its indexes, and without any."""
    recorder = MongoRecorder(next(urls))
    log = EventLog(recorder)
    log.commit(batches(1, 1)[0], {})  # connections are open, collections there
    made = batches(size, count)
    own = rate(lambda events: log.commit(events, {}), made, size * count)
    with recorder.database.using() as db:
        documents = list(db[COMMITS].find({"k": 0}).sort("p"))
    log.close()
    events = size * count
    with_indexes = bare_rate(next(urls), documents, events, make=True)
    return own, with_indexes, bare_rate(next(urls), documents, events, make=False)


def bare_rate(url: str, documents: Sequence[dict[str, Any]], events: int, *, make: bool) -> float:
    """Insert documents that the log wrote, in their order, with nothing else done."""
    database = MongoDatabase(url)
    if make:
        make_indexes(database)
    with database.using() as db:
        db[COMMITS].insert_one(documents[0])
        found = rate(db[COMMITS].insert_one, documents[1:], events)
    database.close()
    return found


def sqlite_round(folder: Path, size: int, count: int) -> tuple[float, float]:
    """Return events per second: the log, and bare transactions of the same rows."""
    path = folder / f"{secrets.token_hex(6)}.db"
    log = EventLog(open_sqlite(str(path)))
    own = rate(lambda events: log.commit(events, {}), batches(size, count), size * count)
    log.close()
    with sqlite3.connect(path) as written:
        sql = "SELECT originator_id, originator_version, topic, state FROM log_events"
        rows = written.execute(f"{sql} ORDER BY position").fetchall()
    bare = sqlite3.connect(folder / f"{secrets.token_hex(6)}.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode=WAL")
    bare.execute("PRAGMA synchronous=FULL")
    bare.execute("CREATE TABLE t (p INTEGER PRIMARY KEY, o BLOB, v INTEGER, t TEXT, s BLOB)")
    bare.execute("CREATE UNIQUE INDEX u ON t (o, v)")

    def write(part: list[Any]) -> None:
        bare.execute("BEGIN IMMEDIATE")
        bare.executemany("INSERT INTO t (o, v, t, s) VALUES (?, ?, ?, ?)", part)
        bare.execute("COMMIT")

    parts = [rows[n : n + size] for n in range(0, len(rows), size)]
    found = rate(write, parts, size * count)
    bare.close()
    return own, found


def urls(given: str | None) -> Iterator[str]:
    """Yield a URL of a fresh database for each round."""
    while True:
        if given is None:
            url = fresh_mongo_url()
        else:
            before, mark, options = given.partition("?")
            url = f"{before.rstrip('/')}-{secrets.token_hex(4)}{mark}{options}"
        yield url
        forget_database(url)


def show(store: str, size: int, columns: Sequence[Sequence[float]], names: Sequence[str]) -> None:
    own, *bare = (statistics.median(column) for column in columns)
    ratios = {
        f"ratio_to_{name}": round(own / value, 2) for name, value in zip(names, bare, strict=True)
    }
    say(f"{store}, commits of {size}", own, "events/s", **ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("url", nargs="?", help="a MongoDB in which databases may be made")
    options = parser.parse_args()
    rounds, events = (1, 200) if options.quick else (5, 1_000)
    fresh = urls(options.url)
    with tempfile.TemporaryDirectory() as name:
        for size in SIZES:
            count = max(events // size, 50)
            mongo = [mongo_round(fresh, size, count) for _ in range(rounds)]
            show(
                "MongoDB",
                size,
                list(zip(*mongo, strict=True)),
                ("bare_inserts", "inserts_without_indexes"),
            )
            sqlite = [sqlite_round(Path(name), size, count) for _ in range(rounds)]
            show("SQLite FULL", size, list(zip(*sqlite, strict=True)), ("bare_transactions",))


if __name__ == "__main__":
    main()
