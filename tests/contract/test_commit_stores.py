"""What every `CommitStore` owes. A new one is one more entry in `STORES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.events import run_of, stream_id
from support.mongo import fresh_mongo_url

from warrener.adapters.memory_events import MemoryEventStore
from warrener.adapters.mongo_events import MongoRecorder
from warrener.adapters.sqlite_events import open_sqlite
from warrener.domain.errors import Conflict
from warrener.domain.ports import EventStore
from warrener.domain.stored import NO_LINK, Archive, StoredCommit, StoredRow, link
from warrener.services.event_log import EventLog
from warrener.services.logs import LogSet
from warrener.services.upkeep.commits import Part, each_commit, part_of

AT = datetime(2030, 1, 1, tzinfo=UTC)
STORES: dict[str, Callable[[Path], EventStore]] = {
    "memory": lambda _folder: MemoryEventStore(),
    "mongo": lambda _folder: EventLog(MongoRecorder(fresh_mongo_url())),
    "sqlite": lambda folder: EventLog(open_sqlite(str(folder / "log.db"))),
    "sqlite-memory": lambda _folder: EventLog(open_sqlite("sqlite:///:memory:")),
}


@pytest.fixture(params=sorted(STORES))
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def part(name: str, tmp_path: Path) -> Iterator[Part]:
    opened = opened_part(name, tmp_path)
    yield opened
    opened.log.close()


@pytest.fixture
def other(name: str, tmp_path: Path) -> Iterator[Part]:
    folder = tmp_path / "other"
    folder.mkdir()
    opened = opened_part(name, folder)
    yield opened
    opened.log.close()


def opened_part(name: str, folder: Path) -> Part:
    return part_of(LogSet([STORES[name](folder)]), 0)


def all_of(part: Part) -> list[StoredCommit]:
    return list(part.commits.select_commits(0, 1_000))


def test_each_commit_is_kept_with_its_events_and_a_link_to_the_one_before(part: Part) -> None:
    part.log.commit([*run_of(1, 1, 2), *run_of(2, 1, 1)], {})
    part.log.commit(run_of(1, 3, 3), {})

    first, second = all_of(part)

    assert [(row.stream, row.version) for row in first.rows] == [
        (stream_id(1), 1),
        (stream_id(1), 2),
        (stream_id(2), 1),
    ]
    assert (first.first, first.last, second.first, second.last) == (1, 3, 4, 4)
    assert first.link == link(NO_LINK, 1, first.rows)
    assert second.link == link(first.link, 4, second.rows)


def test_an_empty_or_refused_commit_leaves_no_link(part: Part) -> None:
    part.log.commit(run_of(1, 1, 2), {})
    part.log.commit([], {}, published=1)
    with pytest.raises(Conflict):
        part.log.commit([*run_of(2, 1, 1), *run_of(1, 2, 2, "taken")], {})

    assert [commit.last for commit in all_of(part)] == [2]


def test_commits_are_read_from_those_that_begin_after_a_position(part: Part) -> None:
    for number in range(1, 5):
        part.log.commit(run_of(number, 1, 3), {})

    firsts = {
        after: [commit.first for commit in part.commits.select_commits(after, 2)]
        for after in (0, 1, 3, 8, 9, 10, 12, 99)
    }

    assert firsts == {
        0: [1, 4],
        1: [4, 7],
        3: [4, 7],
        8: [10],
        9: [10],
        10: [],
        12: [],
        99: [],
    }


def test_all_commits_are_read_in_pages(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 8):
        part.log.commit(run_of(number, 1, 2), {})
    monkeypatch.setattr("warrener.services.upkeep.commits.COMMITS_AT_ONCE", 2)

    found = [commit.first for commit in each_commit(part.commits, 0, 11)]

    assert found == [1, 3, 5, 7, 9, 11]


def test_commits_from_another_log_are_read_back_the_same_by_all_ways(
    part: Part, other: Part
) -> None:
    part.log.commit([*run_of(1, 1, 2, "a"), *run_of(2, 1, 1, "b")], {})
    part.log.commit(run_of(1, 3, 3, "c"), {})

    for commit in all_of(part):
        other.commits.insert_commit(commit)

    assert all_of(other) == all_of(part)
    assert other.log.read(0, 10) == part.log.read(0, 10)
    assert list(other.log.stream(stream_id(1))) == list(part.log.stream(stream_id(1)))
    assert other.log.commit(run_of(1, 4, 4), {}) == 5
    assert other.log.position(stream_id(2), 1) == 3


def test_a_commit_that_is_not_the_next_one_is_refused_and_nothing_written(
    part: Part, other: Part
) -> None:
    for number in (1, 2, 3):
        part.log.commit(run_of(number, 1, 2), {})
    first, second, third = all_of(part)
    other.commits.insert_commit(first)
    wrong = StoredCommit(second.first, second.rows, third.link)

    for refused in (first, third, wrong, StoredCommit(3, (), second.link)):
        with pytest.raises(Conflict):
            other.commits.insert_commit(refused)

    assert (other.log.head(), all_of(other)) == (2, [first])
    other.commits.insert_commit(second)


def test_a_commit_from_elsewhere_that_leaves_out_a_version_is_refused(part: Part) -> None:
    rows = (StoredRow(stream_id(1), 2, "JobCancelling:1", b"{}"),)

    with pytest.raises(Conflict):
        part.commits.insert_commit(StoredCommit(1, rows, link(NO_LINK, 1, rows)))

    assert part.log.head() == 0


def test_jobs_that_commits_from_elsewhere_open_and_end_are_known(part: Part, other: Part) -> None:
    for number in (1, 2):
        part.log.commit(run_of(number, 1, 1), {})
    first, second = all_of(part)

    other.commits.insert_commit(first, opened=[stream_id(1), stream_id(2)])
    assert set(other.log.open_roots()) == {stream_id(1), stream_id(2)}
    other.commits.insert_commit(second, ended=[stream_id(1)])

    assert list(other.log.open_roots()) == [stream_id(2)]


def test_replaced_events_keep_position_version_and_link(part: Part) -> None:
    part.log.commit([*run_of(1, 1, 2, "a"), *run_of(2, 1, 1, "b")], {})
    (before,) = all_of(part)
    kept, changed = before.rows[0], before.rows[1]
    fresh = StoredRow(changed.stream, changed.version, changed.topic, before.rows[2].state)

    part.commits.replace_rows({2: fresh})

    (after,) = all_of(part)
    assert after.rows == (kept, fresh, before.rows[2])
    assert (after.first, after.link) == (before.first, before.link)
    one, two = list(part.log.stream(stream_id(1))), list(part.log.stream(stream_id(2)))
    assert one[1].event == two[0].event
    assert part.log.commit(run_of(1, 3, 3), {}) == 4


def test_an_event_of_another_stream_or_version_replaces_nothing(part: Part) -> None:
    part.log.commit([*run_of(1, 1, 2, "a"), *run_of(2, 1, 1, "b")], {})
    (before,) = all_of(part)
    good = StoredRow(before.rows[0].stream, 1, before.rows[0].topic, before.rows[1].state)

    for position, row in ((2, before.rows[2]), (2, before.rows[0]), (9, before.rows[0])):
        with pytest.raises(Conflict):
            part.commits.replace_rows({1: good, position: row})

    assert all_of(part) == [before]


def test_blobs_are_listed_written_once_and_forgotten(part: Part) -> None:
    part.log.commit(run_of(1, 1, 1), {"b": b"first"})
    part.commits.insert_blobs({"a": b"1", "b": b"second", "c": b""})

    assert part.log.blob("b") == b"first"
    assert list(part.commits.select_blob_names("", 2)) == ["a", "b"]
    assert list(part.commits.select_blob_names("b", 2)) == ["c"]
    part.commits.delete_blobs(["a", "c", "never there"])
    assert list(part.commits.select_blob_names("", 9)) == ["b"]


def test_the_place_of_the_outbox_can_be_set_back(part: Part) -> None:
    part.log.commit(run_of(1, 1, 5), {}, published=5)

    part.commits.set_published(2)

    assert part.log.published() == 2
    part.log.commit([], {}, published=3)
    assert part.log.published() == 3


def test_the_epoch_is_kept(part: Part) -> None:
    assert part.commits.select_epoch() == part.log.epoch() == 0

    part.commits.set_epoch(3)

    assert part.commits.select_epoch() == part.log.epoch() == 3


def test_archives_are_kept_by_their_ids(part: Part) -> None:
    late = Archive("a", "/tmp/a", AT + timedelta(days=1))
    early = Archive("b", "/tmp/b", AT)

    part.commits.put_archive(late)
    part.commits.put_archive(early)
    part.commits.put_archive(Archive("a", "/elsewhere/a", late.made_at, done=True))

    assert list(part.commits.select_archives()) == [
        early,
        Archive("a", "/elsewhere/a", late.made_at, done=True),
    ]


def test_how_much_there_is_can_be_asked_for(part: Part) -> None:
    part.log.commit(run_of(1, 1, 5), {"a": b"1", "b": b"2"})
    part.log.commit(run_of(1, 6, 6), {"b": b"2"})

    found = part.commits.measure()

    assert (found.commits, found.blobs) == (2, 2)
    assert found.bytes is None or found.bytes > 0


@pytest.mark.parametrize("name", sorted(STORES))
@given(sizes=st.lists(st.integers(1, 4), max_size=12))
def test_the_chain_holds_over_any_commits_and_is_the_same_wherever_it_is_copied_to(
    name: str, tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    part = opened_part(name, tmp_path_factory.mktemp("store"))
    copy = part_of(LogSet([MemoryEventStore()]), 0)
    for number, size in enumerate(sizes, start=1):
        part.log.commit(run_of(number, 1, size, f"{number}"), {})

    before = NO_LINK
    for commit in each_commit(part.commits, 0, part.log.head()):
        before = link(before, commit.first, commit.rows)
        assert commit.link == before
        copy.commits.insert_commit(commit)

    assert all_of(copy) == all_of(part)
    part.log.close()
