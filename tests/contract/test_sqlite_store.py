"""What the log owes only where it is a SQLite file: opening it, its errors, following it."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import pytest
from eventsourcing.application import Application
from eventsourcing.persistence import IntegrityError, OperationalError, Tracking
from support.events import recorded, run_of, stream_id

from warrener.adapters import subscriptions
from warrener.adapters.sqlite_events import SqliteRecorder, open_sqlite
from warrener.adapters.sqlite_file import SqliteFile
from warrener.adapters.sqlite_views import SqliteViewStore
from warrener.domain.errors import Conflict, StoredDataError, StoreUnavailable, UsageError
from warrener.services.event_log import EventLog

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "log.db")


@pytest.fixture
def log(path: str) -> Iterator[EventLog]:
    opened = EventLog(open_sqlite(path))
    yield opened
    opened.close()


def open_files_below(folder: Path) -> list[str]:
    """Return what this process has open there; an error that is kept must not keep a file open."""
    links = (os.path.realpath(link) for link in Path("/proc/self/fd").iterdir())
    return [place for place in links if place.startswith(f"{folder}/")]


def test_a_log_is_still_there_when_its_file_is_opened_again(path: str) -> None:
    first = EventLog(open_sqlite(f"sqlite:///{path}"))
    first.commit(run_of(1, 1, 3), {"a": b"blob"})
    first.close()

    again = EventLog(open_sqlite(path))

    assert list(again.stream(stream_id(1))) == run_of(1, 1, 3)
    assert again.blob("a") == b"blob"
    assert again.commit(run_of(1, 4, 4), {}) == 4
    again.close()


def test_a_folder_that_is_missing_is_told_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"the folder .*/typo of the store does not exist"):
        open_sqlite(str(tmp_path / "typo" / "log.db"))

    assert not (tmp_path / "typo").exists()


def test_a_file_that_may_only_be_read_is_told_in_one_sentence() -> None:
    def without_rights(work: Callable[[], object]) -> int:
        """Do it in a process that may not override the modes of files; return 7 if refused so."""
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        try:
            if os.geteuid() == 0:
                os.setuid(NOBODY)
            work()
        except StoreUnavailable as error:
            told = "readonly" in str(error) and isinstance(error.__cause__, sqlite3.Error)
            os._exit(7 if told else 8)
        finally:
            os._exit(9)

    with TemporaryDirectory() as folder:  # `tmp_path` lies below a folder closed to others
        place = str(Path(folder) / "log.db")
        open_sqlite(place).close()
        Path(place).chmod(0o444)
        Path(folder).chmod(0o755)

        assert without_rights(lambda: open_sqlite(place)) == 7


def test_every_commit_waits_for_the_disk_and_readers_do_not_wait_for_it(path: str) -> None:
    file = SqliteFile(path)

    with file.writing() as writer, file.reading() as reader:
        assert writer.execute("PRAGMA synchronous").fetchone() == (2,)
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert reader.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    file.close()


def test_read_models_may_live_in_the_same_file(log: EventLog, path: str) -> None:
    views = SqliteViewStore(path)
    views.save("jobs", 0, 1, {})

    assert log.commit(run_of(1, 1, 1), {}) == 1
    views.close()


@pytest.mark.parametrize("where", ["text.db", "folder", "text.db/log.db", "/proc/log.db"])
def test_a_place_that_cannot_be_a_store_is_told_in_one_sentence(tmp_path: Path, where: str) -> None:
    (tmp_path / "text.db").write_text("this is no database " * 100)
    (tmp_path / "folder").mkdir()
    place = str(tmp_path / where)

    with pytest.raises(StoreUnavailable) as caught:
        open_sqlite(place)

    assert "\n" not in str(caught.value)
    assert place in str(caught.value) or str(Path(place).parent) in str(caught.value)
    assert caught.value.__cause__ is not None
    assert not open_files_below(tmp_path)


def test_a_store_of_a_newer_version_is_refused_and_left_as_it_is(path: str) -> None:
    open_sqlite(path).close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE log_schema SET version = 3")

    with pytest.raises(StoredDataError, match="newer version of Warrener") as caught:
        open_sqlite(path)

    assert path in str(caught.value)
    assert not open_files_below(Path(path).parent)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT version FROM log_schema").fetchall() == [(3,)]


def test_a_full_disk_is_told_and_the_log_goes_on_when_there_is_room(
    log: EventLog, path: str
) -> None:
    log.commit(run_of(1, 1, 1), {})
    file = log.application.recorder.file
    with file.reading() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    with file.writing() as db:
        db.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StoreUnavailable, match="full") as caught:
        log.commit(run_of(2, 1, 2), {"big": bytes(1_000_000)})

    assert isinstance(caught.value.__cause__, OperationalError)
    assert isinstance(caught.value.__cause__.__cause__, sqlite3.OperationalError)
    assert log.head() == 1
    with file.writing() as db:
        db.execute(f"PRAGMA max_page_count = {pages + 1000}")
    assert log.commit(run_of(2, 1, 2), {"big": bytes(1_000_000)}) == 3


def test_a_write_keeps_others_out_from_its_beginning(log: EventLog, path: str) -> None:
    other = EventLog(SqliteRecorder(SqliteFile(path, busy_seconds=0.05)))

    with log.application.recorder.file.writing(), pytest.raises(StoreUnavailable, match="locked"):
        other.commit(run_of(1, 1, 1), {})

    assert other.commit(run_of(1, 1, 1), {}) == 1
    other.close()


def test_waiting_for_another_writer_ends_after_a_bounded_time(path: str) -> None:
    log = EventLog(SqliteRecorder(SqliteFile(path, busy_seconds=0.05)))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailable, match="locked"):
        log.commit(run_of(1, 1, 1), {})

    other.execute("ROLLBACK")
    other.close()
    assert log.commit(run_of(1, 1, 1), {}) == 1
    log.close()


def test_waiting_for_another_thread_ends_after_a_bounded_time(path: str) -> None:
    recorder = SqliteRecorder(SqliteFile(path, busy_seconds=0.05))
    log = EventLog(recorder)
    begun, end = threading.Event(), threading.Event()

    def write_for_long() -> None:
        with recorder.file.writing():
            begun.set()
            end.wait(10)

    thread = threading.Thread(target=write_for_long)
    thread.start()
    begun.wait(10)

    with pytest.raises(StoreUnavailable, match="another thread"):
        log.commit(run_of(1, 1, 1), {})

    end.set()
    thread.join()
    log.close()


def test_whoever_is_alone_reads_and_writes_while_others_wait(log: EventLog, path: str) -> None:
    other = EventLog(SqliteRecorder(SqliteFile(path, busy_seconds=0.05)))
    log.commit(run_of(1, 1, 1), {})

    with log.alone():
        with pytest.raises(StoreUnavailable, match="locked"):
            other.commit(run_of(2, 1, 1), {})
        assert log.head() == other.head() == 1
        assert log.commit(run_of(1, 2, 3), {"a": b"blob"}) == 3
        assert other.head() == 1

    assert other.head() == 3
    assert other.blob("a") == b"blob"
    assert other.commit(run_of(2, 1, 1), {}) == 4
    other.close()


def test_nothing_is_written_by_whoever_fails_while_alone(log: EventLog, path: str) -> None:
    def fail_late() -> None:
        with log.alone():
            log.commit(run_of(1, 1, 2), {"a": b"blob"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_late()

    with pytest.raises(Conflict), log.alone():
        log.commit(run_of(1, 2, 3), {"a": b"blob"})

    with log.alone(), pytest.raises(Conflict):
        log.commit(run_of(1, 2, 3), {"a": b"blob"})

    assert log.head() == 0
    with pytest.raises(StoredDataError):
        log.blob("a")
    assert log.commit(run_of(1, 1, 1), {}) == 1


def test_one_at_a_time_is_alone(log: EventLog, path: str) -> None:
    other = EventLog(SqliteRecorder(SqliteFile(path, busy_seconds=0.05)))

    with log.alone(), pytest.raises(StoreUnavailable, match="locked"), other.alone():
        pytest.fail("two are alone")

    with other.alone():
        pass
    other.close()


def test_a_closed_log_says_so(path: str) -> None:
    log = EventLog(open_sqlite(path))
    log.close()
    log.close()

    for use in (log.head, lambda: log.commit(run_of(1, 1, 1), {})):
        with pytest.raises(StoreUnavailable, match="closed"):
            use()


def test_a_forked_process_must_not_use_the_connections_of_its_parent(log: EventLog) -> None:
    log.commit(run_of(1, 1, 1), {})

    child = os.fork()
    if child == 0:
        try:
            log.head()
        except StoreUnavailable as error:
            os._exit(7 if "another process" in str(error) else 8)
        os._exit(9)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 7
    assert log.commit(run_of(1, 2, 2), {}) == 2


def test_a_stored_event_that_was_damaged_is_named(log: EventLog) -> None:
    log.commit(run_of(1, 1, 2), {})
    with log.application.recorder.file.writing() as db:
        db.execute("UPDATE log_events SET state = '{' WHERE position = 2")

    with pytest.raises(StoredDataError, match=f"event 2 of stream {stream_id(1)}"):
        log.read(0, 10)


def test_positions_survive_vacuum_and_are_never_given_twice(path: str) -> None:
    log = EventLog(open_sqlite(path))
    log.commit(run_of(1, 1, 5), {})
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM log_events WHERE position IN (1, 2, 5)")
    db.execute("VACUUM")
    db.close()

    assert [p.position for p in log.read(0, 10)] == [3, 4]
    assert log.commit(run_of(2, 1, 1), {}) == 6
    log.close()


def test_an_aggregate_is_loaded_through_the_library_by_a_projector(log: EventLog) -> None:
    log.commit([*run_of(1, 1, 3, "a"), *run_of(2, 1, 1, "b")], {})

    def count(state: int | None, events: object) -> int | None:
        return sum((1 for _ in events), state or 0) or None  # type: ignore[attr-defined]

    assert log.load(stream_id(1), count) == 3
    assert log.load(stream_id(9), count) is None


def test_the_libraries_own_way_of_saving_writes_the_same_log(log: EventLog) -> None:
    recordings = log.application.save(*run_of(1, 1, 2), blobs={"a": b"1"})  # type: ignore[arg-type]

    assert [each.notification.id for each in recordings] == [1, 2]
    assert [p.recorded for p in log.read(0, 10)] == run_of(1, 1, 2)
    assert log.blob("a") == b"1"


def test_an_application_of_the_library_can_be_built_on_a_store(path: str) -> None:
    application = Application[UUID](
        {
            "PERSISTENCE_MODULE": "warrener.adapters.sqlite_factory",
            "MAPPER_TOPIC": "support.mapper:LibraryMapper",
            "STORE_URL": f"sqlite:///{path}",
        }
    )

    application.save(recorded(1, 1, "x"))  # type: ignore[arg-type]

    assert list(application.events.get(stream_id(1))) == [recorded(1, 1, "x")]
    application.close()


def test_a_factory_without_a_usable_url_is_refused() -> None:
    with pytest.raises(UsageError, match="STORE_URL must be sqlite:///PATH"):
        Application[UUID](
            {"PERSISTENCE_MODULE": "warrener.adapters.sqlite_factory", "STORE_URL": "mongodb://x"}
        )


def test_of_two_that_write_the_same_version_the_second_is_refused(log: EventLog, path: str) -> None:
    other = EventLog(open_sqlite(path))
    log.commit(run_of(1, 1, 1), {})

    other.commit([recorded(1, 2, "first")], {})
    with pytest.raises(Conflict) as caught:
        log.commit([recorded(2, 1, "second"), recorded(1, 2, "second")], {})

    assert isinstance(caught.value.__cause__, IntegrityError)
    assert log.commit([recorded(1, 3, "second")], {}) == 3
    assert other.last(stream_id(2)) is None
    other.close()


def test_many_threads_read_and_write_one_log(log: EventLog) -> None:
    def write_and_read(stream: int) -> list[int]:
        positions = [log.commit([recorded(stream, n)], {}) for n in range(1, 21)]
        assert list(log.stream(stream_id(stream))) == run_of(stream, 1, 20)
        return positions

    with ThreadPoolExecutor(8) as threads:
        positions = list(chain.from_iterable(threads.map(write_and_read, range(1, 9))))

    assert sorted(positions) == list(range(1, 161))
    assert log.head() == 160


def test_readers_are_tracked_by_name(log: EventLog) -> None:
    recorder = log.application.recorder

    recorder.insert_tracking(Tracking("mail", 5))
    recorder.insert_events([], tracking=Tracking("search", 2))

    assert (recorder.max_tracking_id("mail"), recorder.max_tracking_id("search")) == (5, 2)
    assert recorder.max_tracking_id("nobody") is None


def test_a_subscription_sees_at_once_what_its_process_commits(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "POLL_SECONDS", 60.0)
    with log.application.recorder.subscribe(gt=0) as subscription:
        log.commit(run_of(1, 1, 1), {})
        assert next(subscription).id == 1
        log.commit(run_of(1, 2, 2), {})
        assert next(subscription).id == 2


def test_a_subscription_sees_what_others_commit_to_the_file(log: EventLog, path: str) -> None:
    other = EventLog(open_sqlite(path))
    with log.application.recorder.subscribe(gt=1) as subscription:
        other.commit(run_of(1, 1, 3), {})

        assert [next(subscription).id, next(subscription).id] == [2, 3]
    other.close()
