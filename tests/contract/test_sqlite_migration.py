"""Stores of version 1 keep real people's jobs: they are brought up to date when they are opened."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.events import recorded, run_of, stream_id

from warrener.adapters import sqlite_layout
from warrener.adapters.codec import EventMapper
from warrener.adapters.sqlite_events import open_sqlite
from warrener.domain.errors import StoreUnavailable
from warrener.domain.stored import NO_LINK, link
from warrener.services.event_log import EventLog
from warrener.services.logs import LogSet
from warrener.services.upkeep.commits import each_commit, part_of

# As version 1 made them.
TABLES = """
CREATE TABLE log_schema (version INTEGER NOT NULL);
CREATE TABLE log_events (
    position INTEGER PRIMARY KEY AUTOINCREMENT, originator_id BLOB NOT NULL,
    originator_version INTEGER NOT NULL, topic TEXT NOT NULL, state BLOB NOT NULL,
    UNIQUE (originator_id, originator_version)
);
CREATE TRIGGER log_events_are_dense BEFORE INSERT ON log_events
WHEN NEW.originator_version > 1 AND NOT EXISTS (
    SELECT 1 FROM log_events WHERE originator_id = NEW.originator_id
    AND originator_version = NEW.originator_version - 1
) BEGIN SELECT RAISE(ABORT, 'the version before is missing'); END;
CREATE TABLE log_open_roots (job BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE log_blobs (name TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE log_tracking (
    application_name TEXT PRIMARY KEY, notification_id INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO log_schema VALUES (1);
INSERT INTO log_tracking VALUES ('outbox', 4);
INSERT INTO log_blobs VALUES ('b', 'blob');
"""


def old_store(path: str, count: int) -> None:
    encode = EventMapper().to_stored_event
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(TABLES)
        for event in map(encode, run_of(1, 1, count, "old")):
            stream = event.originator_id.bytes  # type: ignore[union-attr]
            row = (stream, event.originator_version, event.topic, event.state)
            db.execute("INSERT INTO log_events VALUES (NULL, ?, ?, ?, ?)", row)
        db.execute("INSERT INTO log_open_roots VALUES (?, 1)", (stream_id(1).bytes,))


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "log.db")


def test_the_events_of_an_old_store_get_their_links_when_it_is_opened(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_layout, "MIGRATED_EVENTS", 4)
    old_store(path, 10)

    part = part_of(LogSet([EventLog(open_sqlite(path))]), 0)

    before, firsts = NO_LINK, []
    for commit in each_commit(part.commits, 0, 10):
        before = link(before, commit.first, commit.rows)
        assert commit.link == before
        firsts.append(commit.first)
    assert firsts == [1, 5, 9]
    assert list(part.log.stream(stream_id(1))) == run_of(1, 1, 10, "old")
    assert (part.log.published(), part.log.blob("b")) == (4, b"blob")
    assert list(part.log.open_roots()) == [stream_id(1)]
    part.log.close()


def test_an_old_store_goes_on_from_its_last_event(path: str) -> None:
    old_store(path, 3)
    first = EventLog(open_sqlite(path))
    assert first.commit([recorded(1, 4, "new")], {}) == 4
    first.close()

    part = part_of(LogSet([EventLog(open_sqlite(path))]), 0)

    old, new = part.commits.select_commits(0, 10)
    assert (old.first, old.last, new.first) == (1, 3, 4)
    assert new.link == link(old.link, 4, new.rows)
    part.log.close()


def test_an_empty_old_store_is_brought_up_to_date(path: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(TABLES)

    log = EventLog(open_sqlite(path))

    assert log.commit(run_of(1, 1, 1), {}) == 1
    assert log.epoch() == 0
    log.close()


def test_a_store_stays_old_and_whole_when_bringing_it_up_to_date_fails(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_store(path, 10)
    monkeypatch.setattr(sqlite_layout, "MIGRATED_EVENTS", 4)
    calls = []

    def fail_late(before: bytes, first: int, rows: object) -> bytes:
        calls.append(first)
        if len(calls) == 3:
            raise sqlite3.OperationalError("disk I/O error")
        return bytes(32)

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_layout, "link", fail_late)
        with pytest.raises(StoreUnavailable, match="disk I/O error"):
            open_sqlite(path)
    with closing(sqlite3.connect(path)) as db:
        names = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
        assert "log_commits" not in names
        assert db.execute("SELECT version FROM log_schema").fetchall() == [(1,)]

    part = part_of(LogSet([EventLog(open_sqlite(path))]), 0)

    assert [commit.first for commit in part.commits.select_commits(0, 9)] == [1, 5, 9]
    part.log.close()
