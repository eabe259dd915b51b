"""What the log owes only where it is in MongoDB: lost answers, other writers, limits of size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from eventsourcing.persistence import IntegrityError, Tracking
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient
from support.events import recorded, run_of, stream_id
from support.mongo import PrivateMongo, fresh_mongo_url
from support.relay import Relay

from warrener.adapters import mongo_blobs, mongo_open_roots
from warrener.adapters.mongo_events import MongoRecorder
from warrener.adapters.mongo_reader import FAR_VERSION
from warrener.domain.errors import CommitTooLarge, Conflict, StoredDataError, StoreUnavailable
from warrener.domain.events import Recorded
from warrener.domain.stored import NO_LINK, link
from warrener.services.event_log import EventLog

COMMIT = b"log_commits"  # in the bytes of every request about commits
INSERT = b"insert\0\x0c\0\0\0log_commits"  # in those that write one


class Impatient(MongoRecorder):
    commit_seconds = 0.5


@pytest.fixture
def log(mongo_url: str) -> Iterator[EventLog]:
    opened = EventLog(MongoRecorder(mongo_url))
    yield opened
    opened.close()


@pytest.fixture
def other(mongo_url: str) -> Iterator[EventLog]:
    opened = EventLog(MongoRecorder(mongo_url))
    yield opened
    opened.close()


@pytest.fixture
def relay(mongo_url: str) -> Iterator[Relay]:
    with Relay(mongo_url) as between:
        yield between


def recorder_of(log: EventLog) -> MongoRecorder:
    recorder: Any = log.application.recorder
    assert isinstance(recorder, MongoRecorder)
    return recorder


def url_of(log: EventLog) -> str:
    return recorder_of(log).database._target.url


def events_of(log: EventLog) -> list[Recorded]:
    return [each.recorded for each in log.read(0, 100_000)]


def assert_sound(log: EventLog) -> None:
    """Positions have no gaps, and the chain of links holds."""
    before, next_position = NO_LINK, 1
    for commit in recorder_of(log).select_commits(0, 1_000_000):
        assert commit.first == next_position
        assert commit.link == link(before, commit.first, commit.rows)
        before, next_position = commit.link, commit.last + 1
    assert next_position == log.head() + 1


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("request_lost", [False, True])
def test_a_commit_is_written_once_whichever_way_the_connection_is_lost(
    relay: Relay, other: EventLog, times: int, request_lost: bool
) -> None:
    log = EventLog(MongoRecorder(relay.url))
    log.commit(run_of(1, 1, 2), {})
    relay.lose(INSERT, times, request=request_lost)

    assert log.commit(run_of(1, 3, 5), {"a": b"blob"}) == 5

    assert relay.lost >= 1
    assert log.commit(run_of(1, 6, 6), {}) == 6
    assert events_of(other) == run_of(1, 1, 6)
    assert_sound(other)
    log.close()


def test_a_commit_that_was_given_up_and_arrived_is_found_when_it_is_tried_again(
    relay: Relay, other: EventLog
) -> None:
    log = EventLog(Impatient(relay.url))
    log.commit(run_of(1, 1, 2), {})
    relay.lose(INSERT)
    relay.lose(COMMIT, 100, request=True)

    with pytest.raises(StoreUnavailable):
        log.commit(run_of(1, 3, 4), {})

    assert events_of(other) == run_of(1, 1, 4)
    again = EventLog(MongoRecorder(url_of(other)))
    assert again.commit(run_of(1, 3, 4), {}) == 4
    assert again.head() == 4
    log.close()
    again.close()


def test_a_store_that_is_gone_is_told_in_time_and_comes_back() -> None:
    server = PrivateMongo().start()
    try:
        log = EventLog(Impatient(server.url(options="serverSelectionTimeoutMS=200")))
        log.commit(run_of(1, 1, 1), {})
        server.kill()

        with pytest.raises(StoreUnavailable, match="not known whether it is in the log"):
            log.commit(run_of(1, 2, 2), {})
        with pytest.raises(StoreUnavailable):
            log.head()

        server.start()
        assert log.commit(run_of(1, 2, 2), {}) == 2
        assert events_of(log) == run_of(1, 1, 2)
        log.close()
    finally:
        server.stop()


def test_two_writers_of_a_partition_are_slow_but_never_wrong(
    log: EventLog, other: EventLog
) -> None:
    positions = []
    for number in range(1, 6):
        positions += [log.commit(run_of(1, number, number), {})]
        positions += [other.commit(run_of(2, 2 * number - 1, 2 * number), {})]

    assert positions == [1, 3, 4, 6, 7, 9, 10, 12, 13, 15]
    assert list(other.stream(stream_id(1))) == run_of(1, 1, 5)
    assert_sound(log)


def test_a_version_that_another_writer_took_is_a_conflict(log: EventLog, other: EventLog) -> None:
    log.commit(run_of(1, 1, 3), {})
    other.commit(run_of(1, 4, 6), {})

    for taken in (run_of(1, 4, 4, "mine"), run_of(1, 5, 5, "mine"), run_of(1, 1, 1, "mine")):
        with pytest.raises(Conflict):
            log.commit(taken, {})
    with pytest.raises(Conflict):
        EventLog(MongoRecorder(url_of(log))).commit(run_of(1, 2, 2, "mine"), {})
    assert log.commit(run_of(1, 7, 7), {}) == 7


def test_a_stream_that_begins_with_the_version_zero_goes_on_with_one(
    log: EventLog, other: EventLog
) -> None:
    log.commit(run_of(1, 0, 2), {})

    with pytest.raises(Conflict):
        other.commit(run_of(1, 1, 1, "mine"), {})
    assert other.commit(run_of(1, 3, 3), {}) == 4


def test_what_is_written_alone_is_refused_if_somebody_else_wrote_first(
    log: EventLog, other: EventLog
) -> None:
    log.commit(run_of(1, 1, 1), {})

    with log.alone():
        assert log.head() == 1
        other.commit(run_of(2, 1, 1), {})
        with pytest.raises(Conflict):
            log.commit(run_of(1, 2, 2), {})
    with log.alone():
        assert log.head() == 2
        assert log.commit(run_of(1, 2, 2), {}) == 3
        assert log.commit(run_of(1, 3, 3), {}) == 4

    assert log.commit(run_of(1, 4, 4), {}) == 5
    assert_sound(other)


def test_a_commit_that_is_too_large_for_a_document_is_refused_with_its_size(log: EventLog) -> None:
    half = "x" * (8 * 1024 * 1024)

    with pytest.raises(CommitTooLarge, match=r"about 16\d+ bytes.*write less at once"):
        log.commit([recorded(1, 1, half), recorded(1, 2, half)], {})

    assert log.head() == 0
    assert log.commit([recorded(1, 1, half)], {}) == 1


def test_the_largest_commit_that_is_allowed_is_written(log: EventLog) -> None:
    many = [recorded(stream, 1, "x" * 1000) for stream in range(1, 11_500)]

    assert log.commit(many, {}) == len(many)
    assert events_of(log) == many


def test_large_blobs_come_back_unchanged_and_can_be_forgotten(log: EventLog) -> None:
    size = mongo_blobs.INLINE_BYTES_MAX
    blobs = {f"b{n}": bytes([n]) * (size + n - 1) for n in range(3)}
    blobs["huge"] = bytes(range(256)) * 80_000  # more than a document may have

    log.commit(run_of(1, 1, 1), blobs)
    log.commit(run_of(1, 2, 2), {**blobs, "small": b"s"})

    assert {name: log.blob(name) for name in blobs} == blobs
    store = recorder_of(log)
    assert store.select_blob_names("", 10) == ["b0", "b1", "b2", "huge", "small"]
    assert store.select_blob_names("b1", 2) == ["b2", "huge"]
    store.delete_blobs(["b2", "huge", "small", "never there"])
    assert store.select_blob_names("", 10) == ["b0", "b1"]
    with pytest.raises(StoredDataError):
        log.blob("huge")
    with MongoClient[dict[str, Any]](url_of(log)) as client:
        assert client.get_default_database()["log_files.chunks"].count_documents({}) == 0


def test_open_jobs_are_summed_up_so_that_few_commits_are_read(
    log: EventLog, mongo_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_open_roots, "FOLD_EVENTS", 10)
    store = recorder_of(log)
    mapper: Any = store.mapper
    for number in range(1, 51):
        stored = [mapper.to_stored_event(recorded(number, 1))]
        store.insert_events(stored, opened=[stream_id(number)])
        ended = [mapper.to_stored_event(recorded(number, 2))]
        if number % 10:
            store.insert_events(ended, ended=[stream_id(number)])

    still = [stream_id(number) for number in range(10, 51, 10)]
    assert store.select_open_roots() == still
    fresh = MongoRecorder(mongo_url)
    assert log.head() - fresh._roots.floor() < 10
    assert fresh.select_open_roots() == still
    fresh.close()


def test_a_writer_that_begins_far_behind_sums_up_what_others_wrote(
    log: EventLog, mongo_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in range(1, 31):
        log.commit([recorded(1, version)], {})
    monkeypatch.setattr(mongo_open_roots, "FOLD_EVENTS", 10)
    late = MongoRecorder(mongo_url)

    EventLog(late).commit([recorded(1, 31)], {})

    assert MongoRecorder(mongo_url)._roots.floor() == 31
    late.close()


def test_the_sum_of_open_jobs_never_goes_back(
    mongo_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    zombie, active = MongoRecorder(mongo_url), MongoRecorder(mongo_url)
    mapper: Any = active.mapper
    for version in range(1, 21):
        active.insert_events([mapper.to_stored_event(recorded(1, version))], opened=[stream_id(1)])
        if version == 15:
            zombie.select_open_roots()
    monkeypatch.setattr(mongo_open_roots, "FOLD_EVENTS", 10)
    active.select_open_roots()

    zombie._roots._save_if_far()

    assert MongoRecorder(mongo_url)._roots.floor() == 20


def test_a_copy_of_the_commits_is_the_same_log(log: EventLog, mongo_url: str) -> None:
    log.commit([*run_of(1, 1, 3), *run_of(2, 1, 1)], {}, published=2)
    log.commit(run_of(1, 4, 4), {})
    copy = EventLog(MongoRecorder(fresh_mongo_url()))
    source, target = recorder_of(log), recorder_of(copy)

    for commit in source.select_commits(0, 10):
        target.insert_commit(commit, opened=[stream_id(commit.first)])
    target.set_published(1)
    target.set_epoch(3)

    assert list(copy.read(0, 10)) == list(log.read(0, 10))
    assert target.select_commits(0, 10) == source.select_commits(0, 10)
    assert target.select_commits(1, 10) == source.select_commits(0, 10)[1:]
    assert target.select_open_roots() == [stream_id(1), stream_id(5)]
    assert (copy.published(), copy.epoch()) == (1, 3)
    for wrong in source.select_commits(0, 10):
        with pytest.raises(IntegrityError):
            target.insert_commit(wrong)
    assert copy.commit(run_of(1, 5, 5), {}) == 6
    assert_sound(copy)
    copy.close()


def test_the_place_of_the_outbox_can_be_set_back_as_after_a_restore(log: EventLog) -> None:
    log.commit(run_of(1, 1, 9), {}, published=9)

    recorder_of(log).set_published(4)

    assert log.published() == 4
    log.commit(run_of(1, 10, 10), {}, published=5)
    assert log.published() == 5


def test_an_event_that_was_replaced_is_read_as_its_replacement(log: EventLog) -> None:
    log.commit([*run_of(1, 1, 2), *run_of(2, 1, 1), *run_of(1, 3, 3)], {})
    store = recorder_of(log)
    links = [commit.link for commit in store.select_commits(0, 10)]
    rows = store.select_commits(0, 10)[0].rows
    pale: Any = store.mapper.to_stored_event(recorded(1, 3, "pale"))  # type: ignore[arg-type]

    store.replace_rows({4: type(rows[3])(stream_id(1), 3, pale.topic, pale.state)})

    assert list(log.stream(stream_id(1))) == [*run_of(1, 1, 2), recorded(1, 3, "pale")]
    assert events_of(log)[3] == recorded(1, 3, "pale")
    assert [commit.link for commit in store.select_commits(0, 10)] == links
    for position, wrong in ((9, rows[3]), (3, rows[3])):
        with pytest.raises(IntegrityError):
            store.replace_rows({position: wrong})


def test_tracking_that_came_with_events_and_without_counts_as_one(log: EventLog) -> None:
    store = recorder_of(log)
    mapper: Any = store.mapper
    store.insert_events([mapper.to_stored_event(recorded(1, 1))], tracking=Tracking("a", 5))

    with pytest.raises(IntegrityError, match="already"):
        store.insert_tracking(Tracking("a", 5))
    store.insert_tracking(Tracking("a", 7))
    with pytest.raises(IntegrityError, match="already"):
        store.insert_events([mapper.to_stored_event(recorded(1, 2))], tracking=Tracking("a", 6))

    assert store.max_tracking_id("a") == 7
    assert log.head() == 1


SIZES = st.lists(st.integers(1, 7), min_size=1, max_size=8)


@given(sizes=SIZES, after=st.integers(0, 40), limit=st.integers(1, 40))
def test_the_log_can_be_read_from_any_position(sizes: list[int], after: int, limit: int) -> None:
    log = EventLog(MongoRecorder(fresh_mongo_url()))
    events: list[Recorded] = []
    for size in sizes:
        commit = run_of(1, len(events) + 1, len(events) + size)
        log.commit(commit, {})
        events += commit

    found = log.read(after, limit)

    assert [each.position for each in found] == list(range(after + 1, len(events) + 1))[:limit]
    assert [each.recorded for each in found] == events[after : after + limit]
    log.close()


@pytest.fixture(scope="module")
def long_stream() -> Iterator[MongoRecorder]:
    recorder = MongoRecorder(fresh_mongo_url())
    mapper: Any = recorder.mapper
    version = 0
    for size in (1, 1, 3, 40, 1, 100, 2, 1, 70, 1):
        commit = [*run_of(1, version + 1, version + size), recorded(version + 10, 1)]
        recorder.insert_events([mapper.to_stored_event(each) for each in commit])
        version += size
    yield recorder
    recorder.close()


@given(
    gt=st.none() | st.integers(-1, 230),
    lte=st.none() | st.integers(-1, 230),
    desc=st.booleans(),
    limit=st.none() | st.integers(1, 230),
)
def test_any_part_of_a_stream_is_that_part_of_a_list(
    long_stream: MongoRecorder, gt: int | None, lte: int | None, desc: bool, limit: int | None
) -> None:
    found = long_stream.select_events(stream_id(1), gt=gt, lte=lte, desc=desc, limit=limit)

    low, high = (0 if gt is None else gt), (220 if lte is None else lte)
    versions = [version for version in range(1, 221) if low < version <= high]
    wanted = list(reversed(versions)) if desc else versions
    assert [each.originator_version for each in found] == wanted[:limit]
    assert FAR_VERSION < 220


def test_every_event_of_a_long_stream_is_found_at_its_position(long_stream: MongoRecorder) -> None:
    log = long_stream.select_notifications(1, 1_000)
    places = {each.originator_version: each.id for each in log if each.originator_id.int == 1}  # type: ignore[union-attr]

    found = {version: long_stream.find_position(stream_id(1), version) for version in range(222)}

    assert found == {**dict.fromkeys((0, 221)), **places}
    assert long_stream.find_position(stream_id(1), 10**9) is None
