"""Many processes on one MongoDB, and a MongoDB that is killed: nothing acknowledged is lost.

`WARRENER_TEST_SCALE` multiplies commits and kills.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import Queue

import pytest
from support import log_writer
from support.events import recorded, run_of, stream_id
from support.log_writer import EVENTS_PER_COMMIT
from support.mongo import PrivateMongo
from support.scale import scaled

from warrener.adapters.mongo_events import MongoRecorder
from warrener.adapters.mongo_logs import init_logs
from warrener.domain.errors import Conflict
from warrener.domain.ports import Positioned
from warrener.domain.stored import NO_LINK, link
from warrener.services.event_log import EventLog

WRITERS = 8
COMMITS = 8
CONTENDED = 5
PARTITIONS = 16
KILLS = 20
TIMEOUT_SECONDS = 60.0 * scaled(1)
UNTIL_ENDED = 1_000_000


class Reader:
    """Follows a log in a thread of its own: always behind the last event that it has seen."""

    def __init__(self, url: str, partition: int, total: int) -> None:
        self.seen: list[Positioned] = []
        self.heads: list[int] = []
        self.total = total
        self._log = EventLog(MongoRecorder(url, partition), partition)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def end(self) -> list[Positioned]:
        """Return all that was seen, once it is as much as is to come."""
        self._thread.join(TIMEOUT_SECONDS)
        assert len(self.seen) == self.total
        self._log.close()
        return self.seen

    def _follow(self) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while len(self.seen) < self.total and time.monotonic() < deadline:
            self.heads.append(self._log.head())
            # Five: most reads begin in the middle of a commit.
            self.seen += self._log.read(self.seen[-1].position if self.seen else 0, 5)


@contextmanager
def recorder(url: str, partition: int = 0) -> Iterator[MongoRecorder]:
    opened = MongoRecorder(url, partition)
    yield opened
    opened.close()


def start(
    url: str, stream: int, commits: int, name: str = "", partitions: Iterable[int] = (0,)
) -> subprocess.Popen[str]:
    """Start a writer; it begins when its stdin is closed."""
    rest = [str(stream), str(commits), name or str(stream), *map(str, partitions)]
    command = [sys.executable, log_writer.__file__, url, *rest]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)


def finish(writers: list[subprocess.Popen[str]]) -> list[tuple[int, int, int]]:
    """Let them all begin; return what each acknowledged: position, version and partition."""
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()
        writer.stdin = None
    acknowledged = []
    for writer in writers:
        lines = writer.communicate(timeout=TIMEOUT_SECONDS)[0].splitlines()
        assert writer.returncode == 0
        acknowledged += [_numbers(line) for line in lines]
    return acknowledged


def _numbers(line: str) -> tuple[int, int, int]:
    position, version, partition = map(int, line.split())
    return position, version, partition


def assert_sound(url: str, partition: int, seen: list[Positioned]) -> None:
    """The log is what the reader saw, commits are in one piece, and the chain of links holds."""
    with recorder(url, partition) as store:
        assert list(EventLog(store, partition).read(0, len(seen) + 1)) == seen
        commits = store.select_commits(0, len(seen))
    assert [each.position for each in seen] == list(range(1, len(seen) + 1))
    before, after = NO_LINK, 0
    for commit in commits:
        assert (commit.first, len(commit.rows)) == (after + 1, EVENTS_PER_COMMIT)
        assert commit.link == link(before, commit.first, commit.rows)
        before, after = commit.link, commit.last
    assert after == len(seen)


def test_a_reader_that_follows_eight_writers_of_a_partition_misses_nothing(mongo_url: str) -> None:
    commits = scaled(COMMITS)
    total = WRITERS * commits * EVENTS_PER_COMMIT
    readers = [Reader(mongo_url, 0, total) for _ in range(2)]

    writers = [start(mongo_url, n, commits) for n in range(1, WRITERS + 1)]
    acknowledged = finish(writers)

    seen = [reader.end() for reader in readers]
    assert seen[0] == seen[1]
    assert all(reader.heads == sorted(reader.heads) for reader in readers)
    assert_sound(mongo_url, 0, seen[0])
    assert sorted(each[0] for each in acknowledged) == list(range(4, total + 1, 4))
    with recorder(mongo_url) as store:
        for n in range(1, WRITERS + 1):
            stream = list(EventLog(store).stream(stream_id(n)))
            assert stream == run_of(n, 1, 3 * commits, f"{n}")


def test_writers_of_one_stream_lose_no_acknowledged_commit_to_each_other(mongo_url: str) -> None:
    commits = scaled(CONTENDED)
    writers = [start(mongo_url, 1, commits, name) for name in "abcdefgh"]

    acknowledged = finish(writers)

    total = 3 * commits * WRITERS
    assert sorted(version for _, version, _ in acknowledged) == list(range(3, total + 1, 3))
    with recorder(mongo_url) as store:
        log = EventLog(store)
        stream, seen = list(log.stream(stream_id(1))), list(log.read(0, 2 * total))
    assert [each.originator_version for each in stream] == list(range(1, total + 1))
    for position, version, _ in acknowledged:
        assert seen[position - 2].recorded == stream[version - 1]
    assert_sound(mongo_url, 0, seen)


def test_writers_of_sixteen_partitions_do_not_disturb_each_other(mongo_url: str) -> None:
    commits = scaled(2)
    init_logs(mongo_url, PARTITIONS)
    total = commits * EVENTS_PER_COMMIT * 2  # each partition has two writers
    readers = [Reader(mongo_url, partition, total) for partition in range(PARTITIONS)]

    parts = [[(2 * n + more) % PARTITIONS for more in range(4)] for n in range(WRITERS)]
    writers = [start(mongo_url, n + 1, commits, "", parts[n]) for n in range(WRITERS)]
    acknowledged = finish(writers)

    assert len(acknowledged) == WRITERS * 4 * commits
    for partition, reader in enumerate(readers):
        assert_sound(mongo_url, partition, reader.end())
        places = sorted(place for place, _, there in acknowledged if there == partition)
        assert places == list(range(4, total + 1, 4))


@pytest.fixture
def mortal() -> Iterator[PrivateMongo]:
    server = PrivateMongo().start()
    yield server
    server.stop()


def test_nothing_acknowledged_is_missing_after_the_store_was_killed(mortal: PrivateMongo) -> None:
    url = mortal.url()
    writers = [start(url, n, UNTIL_ENDED) for n in (1, 2)]
    lines: Queue[str] = Queue()
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()
        threading.Thread(target=_pass_on, args=(writer, lines), daemon=True).start()

    acknowledged: list[str] = []
    for kill in range(scaled(KILLS)):
        acknowledged += [lines.get(timeout=TIMEOUT_SECONDS) for _ in range(5 + 7 * kill % 30)]
        mortal.kill()
        mortal.start()
    acknowledged += [lines.get(timeout=TIMEOUT_SECONDS) for _ in range(10)]
    for writer in writers:
        writer.kill()
        writer.wait()
    while not lines.empty():
        acknowledged.append(lines.get())

    with recorder(url) as store:
        seen = list(EventLog(store).read(0, UNTIL_ENDED))
    assert_sound(url, 0, seen)
    for line in acknowledged:
        position, version, _ = _numbers(line)
        event = seen[position - 2].recorded  # the last position is that of its own stream
        number = event.originator_id.int
        assert number in (1, 2)
        assert event == recorded(number, version, f"{number}")


def _pass_on(writer: subprocess.Popen[str], lines: Queue[str]) -> None:
    assert writer.stdout is not None
    for line in writer.stdout:
        if line.endswith("\n"):
            lines.put(line)


def test_a_commit_for_a_place_that_another_process_took_is_refused(mongo_url: str) -> None:
    with recorder(mongo_url) as first, recorder(mongo_url) as second:
        logs = EventLog(first), EventLog(second)
        logs[0].commit([recorded(1, 1)], {}, after=0)
        logs[1].commit([recorded(2, 1)], {}, after=1)  # it never saw the first one

        with pytest.raises(Conflict):
            logs[0].commit([recorded(3, 1)], {}, after=1)

        assert logs[0].head() == 2
        assert logs[0].commit([recorded(3, 1)], {}, after=2) == 3
