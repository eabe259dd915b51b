"""What every `EventStore` owes. A new one is one more entry in `STORES`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.events import recorded, run_of, stream_id
from support.mongo import fresh_mongo_url

from warrener.adapters.memory_events import MemoryEventStore
from warrener.adapters.mongo_events import MongoRecorder
from warrener.adapters.sqlite_events import open_sqlite
from warrener.domain.errors import Conflict, StoredDataError
from warrener.domain.events import JobRerun, JobSubmitted, JobSucceeded, Parent, Recorded
from warrener.domain.payloads import Payload
from warrener.domain.ports import EventStore
from warrener.services.event_log import EventLog

AT = datetime(2030, 1, 1, tzinfo=UTC)
STORES: dict[str, Callable[[Path], EventStore]] = {
    "memory": lambda _folder: MemoryEventStore(),
    "sqlite": lambda folder: EventLog(open_sqlite(str(folder / "log.db"))),
    "mongo": lambda _folder: EventLog(MongoRecorder(fresh_mongo_url())),
    "sqlite-memory": lambda _folder: EventLog(open_sqlite("sqlite:///:memory:")),
}


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    opened = STORES[request.param](tmp_path)
    yield opened
    opened.close()


def log_of(store: EventStore) -> list[Recorded]:
    return [positioned.recorded for positioned in store.read(0, 10_000)]


def test_an_empty_store_has_no_events(store: EventStore) -> None:
    assert store.head() == 0
    assert list(store.read(0, 10)) == []
    assert list(store.stream(stream_id(1))) == []
    assert store.last(stream_id(1)) is None


def test_a_commit_of_several_streams_is_read_back_in_its_order(store: EventStore) -> None:
    events = [recorded(1, 1, "a"), recorded(2, 1, "b"), recorded(1, 2, "c"), recorded(3, 1, "d")]

    position = store.commit(events, {})

    assert (position, store.head()) == (4, 4)
    assert [(p.position, p.recorded) for p in store.read(0, 10)] == list(enumerate(events, 1))
    assert list(store.stream(stream_id(1))) == [events[0], events[2]]
    assert store.last(stream_id(1)) == events[2]


def test_positions_go_on_from_commit_to_commit(store: EventStore) -> None:
    assert store.commit(run_of(1, 1, 3), {}) == 3
    assert store.commit(run_of(2, 1, 2), {}) == 5

    assert [p.position for p in store.read(2, 2)] == [3, 4]
    assert [p.position for p in store.read(4, 10)] == [5]
    assert list(store.read(5, 10)) == []


def test_a_stream_may_be_read_from_a_version_on(store: EventStore) -> None:
    store.commit(run_of(1, 1, 5), {})

    assert list(store.stream(stream_id(1), 3)) == run_of(1, 4, 5)
    assert list(store.stream(stream_id(1), 5)) == []


def test_the_position_of_each_event_can_be_asked_for(store: EventStore) -> None:
    store.commit([recorded(1, 1, "a"), recorded(2, 1, "b"), recorded(1, 2, "c")], {})

    assert [store.position(stream_id(1), version) for version in (1, 2)] == [1, 3]
    assert store.position(stream_id(2), 1) == 2
    for version in (0, 3, -1):
        assert store.position(stream_id(1), version) is None
    assert store.position(stream_id(9), 1) is None


def test_an_empty_commit_changes_nothing_and_gives_the_last_position(store: EventStore) -> None:
    assert store.commit([], {}) == 0
    store.commit(run_of(1, 1, 2), {})

    assert store.commit([], {}) == 2


@pytest.mark.parametrize(
    "refused",
    [
        [recorded(2, 1, "new"), recorded(1, 2, "taken by another")],
        [recorded(2, 1, "new"), recorded(1, 4, "leaves out the third")],
        [recorded(2, 2, "begins with the second")],
        [recorded(2, 1, "twice"), recorded(2, 1, "twice")],
        [recorded(2, 1, "new"), recorded(2, 3, "a gap inside the commit")],
    ],
)
def test_a_version_taken_or_left_out_is_a_conflict_and_nothing_is_written(
    store: EventStore, refused: list[Recorded]
) -> None:
    store.commit(run_of(1, 1, 2), {})

    with pytest.raises(Conflict):
        store.commit(refused, {"new": b"blob"})

    assert log_of(store) == run_of(1, 1, 2)
    assert store.last(stream_id(2)) is None
    with pytest.raises(StoredDataError):
        store.blob("new")


def test_a_refused_commit_leaves_no_gap_in_the_positions(store: EventStore) -> None:
    store.commit(run_of(1, 1, 2), {})
    for _ in range(3):
        with pytest.raises(Conflict):
            store.commit([*run_of(2, 1, 5), recorded(1, 2, "taken")], {})

    assert store.commit(run_of(3, 1, 1), {}) == 3


def test_the_same_commit_again_is_found_and_not_a_conflict(store: EventStore) -> None:
    first = [*run_of(1, 1, 2), *run_of(2, 1, 1)]
    position = store.commit(first, {"b": b"1"})
    store.commit(run_of(3, 1, 4), {})

    assert store.commit(first, {"b": b"1"}) == position
    assert log_of(store) == [*first, *run_of(3, 1, 4)]


@pytest.mark.parametrize(
    "similar",
    [
        [recorded(1, 1, "mine"), recorded(1, 2, "mine"), recorded(2, 1, "other")],
        [recorded(1, 1, "other"), recorded(1, 2, "mine"), recorded(2, 1, "mine")],
        [recorded(1, 2, "mine"), recorded(1, 1, "mine"), recorded(2, 1, "mine")],
        [recorded(1, 1, "mine"), recorded(1, 2, "mine"), recorded(1, 3, "mine")],
        [recorded(1, 1, "mine"), recorded(2, 1, "mine")],
        [*run_of(9, 1, 9), recorded(1, 1, "mine")],
    ],
)
def test_a_commit_that_only_resembles_one_before_is_a_conflict(
    store: EventStore, similar: list[Recorded]
) -> None:
    store.commit([*run_of(1, 1, 2, "mine"), recorded(2, 1, "mine")], {})

    with pytest.raises(Conflict):
        store.commit(similar, {})

    assert store.head() == 3


def test_blobs_are_kept_with_the_commit_and_the_same_blob_once(store: EventStore) -> None:
    big = bytes(range(256)) * 4096

    store.commit(run_of(1, 1, 1), {"a": big, "empty": b""})
    store.commit(run_of(1, 2, 2), {"a": big, "b": b"\0"})

    assert (store.blob("a"), store.blob("empty"), store.blob("b")) == (big, b"", b"\0")


def test_a_blob_that_is_not_there_is_named(store: EventStore) -> None:
    with pytest.raises(StoredDataError, match="0123abcd"):
        store.blob("0123abcd")


def test_text_of_all_kinds_comes_back_unchanged(store: EventStore) -> None:
    text = "quote \" ' backslash \\ null \0 é 日本 🐇 <b>&amp; \u2028"

    store.commit([recorded(1, 1, text)], {})

    assert store.last(stream_id(1)) == recorded(1, 1, text)


# A commit: which streams get how many events, and whether somebody else was faster.
COMMITS = st.lists(
    st.tuples(
        st.dictionaries(st.integers(1, 3), st.integers(1, 3), min_size=1, max_size=3),
        st.sampled_from(["new", "stale", "again"]),
    ),
    max_size=12,
)


@pytest.mark.parametrize("name", sorted(STORES))
@given(commits=COMMITS)
def test_any_sequence_of_commits_gives_the_log_of_a_plain_list(
    name: str, tmp_path_factory: pytest.TempPathFactory, commits: list[tuple[dict[int, int], str]]
) -> None:
    store = STORES[name](tmp_path_factory.mktemp("store"))
    model: list[Recorded] = []
    versions = dict.fromkeys((1, 2, 3), 0)
    before: list[Recorded] = []
    for number, (sizes, kind) in enumerate(commits):
        if kind == "again" and before:
            assert store.commit(before, {}) >= len(before)
        elif kind == "stale" and any(versions[stream] for stream in sizes):
            with pytest.raises(Conflict):
                store.commit(list(_next(sizes, dict.fromkeys(versions, 0), f"{number}")), {})
        else:
            before = list(_next(sizes, versions, f"{number}"))
            model += before
            assert store.commit(before, {}) == len(model)

    assert log_of(store) == model
    assert store.head() == len(model)
    for stream in versions:
        own = [each for each in model if each.originator_id == stream_id(stream)]
        assert list(store.stream(stream_id(stream))) == own
    store.close()


def _next(sizes: dict[int, int], versions: dict[int, int], text: str) -> Iterable[Recorded]:
    for stream, size in sizes.items():
        for _ in range(size):
            versions[stream] += 1
            yield recorded(stream, versions[stream], text)


def submitted(number: int, parent: int | None = None) -> Recorded:
    event = JobSubmitted(
        at=AT,
        cause="test",
        name="job",
        version=1,
        definition="0" * 64,
        params=Payload(json="{}"),
        params_digest="",
        root=stream_id(parent or number),
        parent=None if parent is None else Parent(stream_id(parent), stream_id(99), "step"),
    )
    return Recorded(stream_id(number), 1, event)


def test_root_jobs_are_open_from_their_submission_to_their_end(store: EventStore) -> None:
    store.commit([submitted(2), submitted(1)], {})
    store.commit([submitted(3), submitted(4, parent=1)], {})
    assert set(store.open_roots()) == {stream_id(1), stream_id(2), stream_id(3)}
    assert list(store.open_roots())[-1] == stream_id(3)

    store.commit([Recorded(stream_id(1), 2, JobSucceeded(at=AT, cause="test"))], {})

    assert list(store.open_roots()) == [stream_id(2), stream_id(3)]


def test_a_job_that_is_run_again_is_open_again_until_its_end(store: EventStore) -> None:
    one = stream_id(1)
    end = JobSucceeded(at=AT, cause="test")
    again = JobRerun(at=AT, cause="test", generation=2, step="a", steps=("a",), key="k")

    store.commit([submitted(1), Recorded(one, 2, end)], {})
    assert list(store.open_roots()) == []
    store.commit([Recorded(one, 3, again)], {})
    assert list(store.open_roots()) == [one]
    store.commit([Recorded(one, 4, end), Recorded(one, 5, again)], {})
    assert list(store.open_roots()) == [one]
    store.commit([Recorded(one, 6, end), Recorded(one, 7, again), Recorded(one, 8, end)], {})
    assert list(store.open_roots()) == []


def test_a_refused_commit_opens_no_job_and_moves_nothing(store: EventStore) -> None:
    store.commit([submitted(1)], {}, published=1)

    with pytest.raises(Conflict):
        store.commit([submitted(2), submitted(1, parent=2)], {}, published=5)

    assert list(store.open_roots()) == [stream_id(1)]
    assert store.published() == 1


def test_the_place_of_the_outbox_only_rises(store: EventStore) -> None:
    assert store.published() == 0

    store.commit(run_of(1, 1, 3), {}, published=2)
    store.commit([], {}, published=3)
    store.commit(run_of(2, 1, 1), {}, published=1)
    store.commit(run_of(2, 2, 2), {})

    assert (store.published(), store.head()) == (3, 5)


def test_a_commit_for_a_place_that_is_taken_is_refused_though_its_versions_are_free(
    store: EventStore,
) -> None:
    assert store.commit([recorded(1, 1)], {}, after=0) == 1
    store.commit([recorded(2, 1)], {})

    with pytest.raises(Conflict):
        store.commit([recorded(3, 1)], {"b": b"x"}, 1, after=1)
    with pytest.raises(Conflict):
        store.commit([recorded(3, 1)], {}, after=3)

    assert (store.head(), store.published()) == (2, 0)
    assert store.commit([recorded(3, 1)], {}, after=2) == 3


def test_a_commit_for_its_place_that_is_there_already_is_found(store: EventStore) -> None:
    events = [recorded(1, 1), recorded(1, 2)]
    store.commit(events, {}, after=0)
    store.commit([recorded(2, 1)], {}, after=2)

    assert store.commit(events, {}, after=0) == 2


def test_commits_that_do_not_say_the_place_of_the_outbox_leave_it(store: EventStore) -> None:
    store.commit(run_of(1, 1, 3), {}, published=2)
    store.commit(run_of(1, 4, 4), {}, published=1)
    store.commit(run_of(1, 5, 5), {})

    assert store.published() == 2
