"""Several processes on one log: nothing acknowledged is lost, and no reader misses anything."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

import pytest
from support import log_writer
from support.events import run_of, stream_id
from support.log_writer import EVENTS_PER_COMMIT
from support.scale import scaled

from warrener.adapters.sqlite_events import open_sqlite
from warrener.domain.ports import Positioned
from warrener.services.event_log import EventLog

WRITERS = 4
COMMITS = 300
CONTENDED = 100
KILLS = 5
TIMEOUT_SECONDS = 60.0
UNTIL_KILLED = 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "log.db")


@pytest.fixture
def log(path: str) -> Iterator[EventLog]:
    opened = EventLog(open_sqlite(path))
    yield opened
    opened.close()


def start(
    path: str, streams: Iterable[int], commits: int, names: str = ""
) -> list[subprocess.Popen[str]]:
    """Start a writer for each stream, named by a letter if given; they begin together."""
    pipe = subprocess.PIPE
    writers = []
    for stream, name in zip_longest(streams, names, fillvalue=""):
        command = [sys.executable, log_writer.__file__, path, str(stream), str(commits)]
        command += [name] if name else []
        writers.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
    for process in writers:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    return writers


def follow(log: EventLog, total: int) -> list[Positioned]:
    """Read what comes, always from behind the last event seen, until there are so many."""
    seen: list[Positioned] = []
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while len(seen) < total:
        assert time.monotonic() < deadline, f"{len(seen)} of {total} events came"
        seen += log.read(seen[-1].position if seen else 0, 50)
    return seen


def test_a_reader_that_follows_four_writing_processes_misses_nothing(
    path: str, log: EventLog
) -> None:
    total = WRITERS * COMMITS * EVENTS_PER_COMMIT
    writers = start(path, range(1, WRITERS + 1), COMMITS)

    seen = follow(log, total)

    for process in writers:
        lines = process.communicate(timeout=TIMEOUT_SECONDS)[0].splitlines()
        assert (process.returncode, len(lines)) == (0, COMMITS)
    assert [each.position for each in seen] == list(range(1, total + 1))
    assert seen == list(log.read(0, total + 1))
    for stream in range(1, WRITERS + 1):
        assert list(log.stream(stream_id(stream))) == run_of(stream, 1, 3 * COMMITS, f"{stream}")


def test_processes_that_make_a_store_at_once_write_commits_in_one_piece(path: str) -> None:
    for process in start(path, range(1, WRITERS + 1), COMMITS):
        process.communicate(timeout=TIMEOUT_SECONDS)

    log = EventLog(open_sqlite(path))
    texts = [each.recorded.event.reason for each in log.read(0, 10_000)]  # type: ignore[attr-defined]

    log.close()
    blocks = [texts[n : n + EVENTS_PER_COMMIT] for n in range(0, len(texts), EVENTS_PER_COMMIT)]
    assert all(len(set(block)) == 1 for block in blocks)
    assert Counter(block[0] for block in blocks) == {str(n + 1): COMMITS for n in range(WRITERS)}


def test_processes_that_write_one_stream_lose_no_acknowledged_commit_to_each_other(
    path: str, log: EventLog
) -> None:
    names = "abcd"
    acknowledged: dict[int, str] = {}
    for name, process in zip(names, start(path, [1] * WRITERS, CONTENDED, names), strict=True):
        for line in process.communicate(timeout=TIMEOUT_SECONDS)[0].splitlines():
            _, version = map(int, line.split())
            acknowledged[version] = name

    stream = list(log.stream(stream_id(1)))

    total = 3 * CONTENDED * WRITERS
    assert sorted(acknowledged) == list(range(3, total + 1, 3))
    assert len(stream) == total
    for last, name in acknowledged.items():
        assert stream[last - 3 : last] == run_of(1, last - 2, last, name)
    assert log.head() == EVENTS_PER_COMMIT * CONTENDED * WRITERS


def test_nothing_acknowledged_is_missing_after_a_writer_was_killed(path: str) -> None:
    acknowledged = 0
    for kill in range(scaled(KILLS)):
        (process,) = start(path, [1], UNTIL_KILLED)
        assert process.stdout is not None
        text = "".join(process.stdout.readline() for _ in range(1 + 7 * kill % 30))
        process.kill()
        text += process.communicate(timeout=TIMEOUT_SECONDS)[0]
        whole = text[: text.rindex("\n")]
        position, version = map(int, whole.splitlines()[-1].split())

        log = EventLog(open_sqlite(path))
        events = log.read(0, 1_000_000)
        stream = list(log.stream(stream_id(1)))
        log.close()

        assert version > acknowledged
        acknowledged = version
        assert [each.position for each in events] == list(range(1, len(events) + 1))
        assert len(events) >= position
        assert len(events) % EVENTS_PER_COMMIT == 0
        assert len(stream) >= version
        assert stream == run_of(1, 1, len(stream), "1")
