"""Pruned jobs leave the store, their history stays readable, and everything else stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.driving import Driver
from support.mongo import fresh_mongo_url
from support.pruning import BIG, LEAF, Kept, work
from support.stores import commits_of, memory_part, with_blob

from warrener.adapters.memory_events import MemoryEventStore
from warrener.adapters.memory_views import MemoryViewStore
from warrener.adapters.mongo_events import MongoRecorder
from warrener.adapters.mongo_views import MongoViewStore
from warrener.adapters.sqlite_events import open_sqlite
from warrener.adapters.sqlite_views import SqliteViewStore
from warrener.domain import ids
from warrener.domain.errors import Conflict, PrunedJob, UnknownJob, UsageError
from warrener.domain.events import EventPruned, JobRerun, JobSucceeded, Recorded
from warrener.domain.messages import CancelJob, RerunJob, RetryJob
from warrener.projections.control_views import ACTIONS
from warrener.projections.total_views import TOTALS
from warrener.services.event_log import EventLog
from warrener.services.logs import LogSet
from warrener.services.outcomes import outcome
from warrener.services.projector import apply_batch, catch_up
from warrener.services.upkeep import prune as pruning
from warrener.services.upkeep import prune_apply
from warrener.services.upkeep.archive_format import ArchiveReader
from warrener.services.upkeep.backup import backup
from warrener.services.upkeep.commits import Part, parts_of
from warrener.services.upkeep.pruned import PrunedJob as Found
from warrener.services.upkeep.pruned import find_pruned, pruned_history
from warrener.services.upkeep.restore import restore
from warrener.services.upkeep.verify import Damage, verify_part


@pytest.fixture(params=["memory", "mongo", "sqlite"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    if request.param == "memory":
        made = Kept()
    elif request.param == "mongo":
        url = fresh_mongo_url()
        made = Kept(EventLog(MongoRecorder(url)), MongoViewStore(url))
    else:
        log = EventLog(open_sqlite(str(tmp_path / "jobs.db")))
        made = Kept(log, SqliteViewStore(str(tmp_path / "views.db")))
    yield made
    made.views.close()
    made.logs.close()


def part(kept: Kept) -> Part:
    return parts_of(kept.logs)[0]


def damages(kept: Kept) -> list[Damage]:
    found: list[Damage] = []
    verify_part(part(kept), found.append)
    return found


def history(kept: Kept, job: UUID, *, tree: bool = True) -> list[Any]:
    return list(kept.queries().history(job, tree=tree))


def read_back(kept: Kept, job: UUID, *, tree: bool = True) -> list[Any]:
    found = find_pruned(kept.logs, str(job))
    assert found is not None
    return list(pruned_history(kept.logs, found, tree=tree))


def jobs(kept: Kept) -> set[UUID]:
    return {line.job for line in kept.queries().jobs(roots_only=False)}


def is_pruned(kept: Kept, job: UUID) -> bool:
    events = [each.event for each in kept.driver.store.stream(job)]
    assert all(isinstance(each, EventPruned) for each in events) or not any(
        isinstance(each, EventPruned) for each in events
    )
    return isinstance(events[0], EventPruned)


def test_the_history_of_a_pruned_tree_reads_back_as_it_was(kept: Kept, tmp_path: Path) -> None:
    job = kept.tree("a", (1, BIG))
    other = kept.leaf("b")
    kept.wait(40)
    before = {
        (each, tree): history(kept, each, tree=tree)
        for each in (job, other, *kept.children(job))
        for tree in (True, False)
    }

    kept.prune(tmp_path)

    for (each, tree), lines in before.items():
        assert lines
        assert read_back(kept, each, tree=tree) == lines


def test_what_ended_long_ago_goes_whole_and_the_rest_stays(kept: Kept, tmp_path: Path) -> None:
    old, older = kept.leaf("old"), kept.tree("older")
    below = kept.children(older)
    kept.wait(29)
    young, still = kept.leaf("young"), kept.tree("open", ends=False)
    kept.wait(2)

    done = kept.prune(tmp_path)

    assert (done.trees, done.jobs, done.left, done.more) == (2, 4, 0, False)
    assert all(is_pruned(kept, job) for job in (old, older, *below))
    assert not any(is_pruned(kept, job) for job in (young, still))
    assert jobs(kept) == {young, still, *kept.children(still)}
    assert damages(kept) == []


def test_positions_versions_and_links_stay(kept: Kept, tmp_path: Path) -> None:
    kept.tree("a")
    kept.wait(40)
    before = commits_of(part(kept))

    kept.prune(tmp_path)

    after = commits_of(part(kept))
    assert [(each.first, each.link) for each in after] == [
        (each.first, each.link) for each in before
    ]
    rows = [(row.stream, row.version) for each in after for row in each.rows]
    assert rows == [(row.stream, row.version) for each in before for row in each.rows]


def test_an_open_tree_stays_however_old_it_is(kept: Kept, tmp_path: Path) -> None:
    job = kept.tree("a", ends=False)
    kept.wait(400)

    assert kept.prune(tmp_path).trees == 0

    assert not is_pruned(kept, job)
    assert kept.driver.store.open_roots() == [job]
    assert not list(tmp_path.glob("*.zst"))


def test_a_job_that_was_begun_anew_counts_from_its_last_end(kept: Kept, tmp_path: Path) -> None:
    job = kept.leaf("a", fails=True)
    kept.wait(40)
    assert kept.driver.command(RerunJob(job=job, step="work", key="again")) is None

    assert kept.prune(tmp_path).trees == 0
    kept.driver.succeed(kept.driver.order("work"))
    assert kept.prune(tmp_path).trees == 0
    kept.wait(31)
    assert kept.prune(tmp_path).trees == 1


def test_jobs_that_failed_may_be_kept(kept: Kept, tmp_path: Path) -> None:
    failed, done = kept.leaf("a", fails=True), kept.leaf("b")
    kept.wait(40)

    kept.prune(tmp_path, keep_failed=True)
    assert (is_pruned(kept, failed), is_pruned(kept, done)) == (False, True)

    kept.prune(tmp_path, name="two")
    assert is_pruned(kept, failed)


def test_looking_changes_nothing(kept: Kept, tmp_path: Path) -> None:
    job = kept.tree("a")
    kept.wait(40)

    found = pruning.look(kept.logs, kept.wish(tmp_path), work)

    assert (found.trees, found.jobs) == (1, 3)
    assert found.events == len(history(kept, job))
    assert not is_pruned(kept, job)
    assert not list(tmp_path.glob("*.zst"))


def test_nothing_is_pruned_twice(kept: Kept, tmp_path: Path) -> None:
    kept.tree("a")
    kept.wait(40)
    kept.prune(tmp_path)
    before = commits_of(part(kept))

    done = kept.prune(tmp_path, name="two")

    assert (done.trees, done.file) == (0, None)
    assert commits_of(part(kept)) == before


def test_more_trees_than_fit_in_one_archive_go_with_the_next(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warrener.services.upkeep.prune_select.TREES_AT_ONCE_MAX", 2)
    monkeypatch.setattr("warrener.services.upkeep.prune.TREES_AT_ONCE_MAX", 2)
    made = [kept.leaf(f"{number}") for number in range(3)]
    kept.wait(40)

    first, second = kept.prune(tmp_path), kept.prune(tmp_path, name="two")

    assert (first.trees, first.more, second.trees, second.more) == (2, True, 1, False)
    for job in made:
        assert read_back(kept, job)


# --- large values ---------------------------------------------------------------------------


def blobs(kept: Kept) -> list[str]:
    return list(part(kept).commits.select_blob_names("", 100))


def test_large_values_go_unless_another_job_needs_them(kept: Kept, tmp_path: Path) -> None:
    kept.leaf("a", BIG + "a")
    kept.leaf("b", BIG + "shared")
    kept.wait(40)
    kept.leaf("c", BIG + "shared")
    assert len(blobs(kept)) == 2

    done = kept.prune(tmp_path)

    assert done.blobs == 1
    assert blobs(kept) == [ids.content_hash(f'"{BIG}shared"'.encode())]
    assert damages(kept) == []


def test_large_values_of_pruned_jobs_are_in_the_archive(kept: Kept, tmp_path: Path) -> None:
    job = kept.leaf("a", BIG)
    kept.wait(40)

    done = kept.prune(tmp_path)

    with Path(str(done.file)).open("rb") as file:
        reader = ArchiveReader(Path(str(done.file)), file)
        lines = list(reader.tree(reader.find(job) or 0))
    data = [line.data for line in lines if hasattr(line, "data")]
    assert data == [f'"{BIG}"'.encode()]


def test_what_needs_a_value_while_it_is_removed_keeps_it(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of the log is looked through while others write: the rest, while nobody does."""
    kept.leaf("a", BIG)
    kept.wait(40)
    look, calls = prune_apply._keep_needed, []

    def write_between(*given: Any) -> None:
        look(*given)
        calls.append(given)
        if len(calls) == 1:
            kept.leaf("b", BIG)

    monkeypatch.setattr(prune_apply, "_keep_needed", write_between)

    assert kept.prune(tmp_path).blobs == 0

    assert len(blobs(kept)) == 1
    assert damages(kept) == []


def test_what_needs_a_value_at_the_moment_it_is_removed_gets_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept()
    kept.leaf("a", BIG)
    kept.wait(40)
    delete = kept.driver.store.delete_blobs  # type: ignore[attr-defined]

    def write_first(names: Any) -> None:
        event, _ = with_blob(77, 1, f'"{BIG}"'.encode())
        kept.driver.store.commit([event], {})  # by somebody who saw that the value is there
        delete(names)

    monkeypatch.setattr(kept.driver.store, "delete_blobs", write_first)

    assert kept.prune(tmp_path).blobs == 0

    assert len(blobs(kept)) == 1
    assert damages(kept) == []


# --- what is left of a pruned job -----------------------------------------------------------


def test_the_key_of_a_pruned_job_does_not_start_it_again(kept: Kept, tmp_path: Path) -> None:
    job = kept.leaf("a")
    kept.wait(40)
    kept.prune(tmp_path)
    head, orders = kept.driver.store.head(), len(kept.driver.orders)

    again = kept.driver.submit(LEAF, {}, key="a")
    other = Driver(kept.driver.store)  # as after a start
    other.now = kept.driver.now
    other.submit(LEAF, {}, key="a")

    assert again == job
    assert (kept.driver.store.head(), len(kept.driver.orders)) == (head, orders)
    assert other.orders == []


def test_commands_about_a_pruned_job_say_where_it_is(kept: Kept, tmp_path: Path) -> None:
    job = kept.tree("a")
    (child, *_) = kept.children(job)
    kept.wait(40)
    kept.prune(tmp_path)

    for each in (job, child):
        for command in (
            CancelJob(job=each),
            RerunJob(job=each, step="first", key="k"),
            RetryJob(job=each),
            RetryJob(job=each, path="first"),
        ):
            reason = kept.driver.command(command)
            assert reason is not None
            assert f"job {each} was pruned into the archive one" in reason
        told = kept.driver.controller.recover([each], kept.driver.now)
        assert "was pruned" in told[each]
        with pytest.raises(PrunedJob, match="warrener history"):
            outcome(kept.driver.store, each)
        with pytest.raises(PrunedJob, match="warrener history"):
            kept.queries().locate(str(each))


def test_a_reactor_that_starts_anew_goes_on_beside_pruned_jobs(kept: Kept, tmp_path: Path) -> None:
    kept.tree("a")
    still = kept.tree("open", ends=False)
    kept.wait(40)
    kept.prune(tmp_path)
    head = kept.driver.store.head()

    kept.driver.controller.forget()
    assert kept.driver.controller.recover(kept.driver.store.open_roots(), kept.driver.now) == {}
    kept.driver.controller.outbox.catch_up(0)
    kept.driver.handle("")
    kept.driver.succeed(kept.driver.order("work"), "late")

    assert kept.driver.store.head() > head
    assert kept.driver.job(still).state == "succeeded"
    assert damages(kept) == []


def test_read_models_that_are_made_anew_are_the_same(kept: Kept, tmp_path: Path) -> None:
    kept.tree("a")
    kept.leaf("b", fails=True)
    kept.wait(40)
    kept.tree("open", ends=False)
    kept.leaf("young")
    kept.prune(tmp_path)
    kept.leaf("younger")
    catch_up(kept.driver.store, kept.views)

    anew = MemoryViewStore()
    catch_up(kept.driver.store, anew)

    tables = anew.tables()
    del tables[TOTALS]  # they count what has happened, and the log tells of pruned jobs no more
    assert kept.views.load({name: list(table) for name, table in tables.items()}) == tables
    assert jobs(kept) == set(tables["jobs"])
    assert tables[ACTIONS] == {}


def test_a_store_with_pruned_jobs_is_backed_up_and_restored(kept: Kept, tmp_path: Path) -> None:
    job = kept.tree("a", (1, BIG))
    kept.wait(40)
    kept.leaf("b")
    kept.prune(tmp_path)
    copy = memory_part()

    backup([part(kept)], tmp_path / "b", kept.driver.now, "test")
    restore([copy], tmp_path / "b")

    assert commits_of(copy) == commits_of(part(kept))
    logs = LogSet([copy.log])
    assert find_pruned(logs, str(job)) == find_pruned(kept.logs, str(job))


# --- where the archive is -------------------------------------------------------------------


def test_a_pruned_job_is_found_by_the_start_of_its_id(kept: Kept, tmp_path: Path) -> None:
    job = kept.tree("a")
    (child, *_) = kept.children(job)
    kept.wait(40)
    file = Path(str(kept.prune(tmp_path).file))

    for each in (job, child):
        assert find_pruned(kept.logs, each.hex[:10]) == Found(each, file)
    assert find_pruned(kept.logs, "0123456789") is None
    assert find_pruned(kept.logs, str(UUID(int=7))) is None
    assert find_pruned(kept.logs, "no id") is None


def test_an_archive_that_was_moved_is_asked_for_and_may_be_named(
    kept: Kept, tmp_path: Path
) -> None:
    job = kept.leaf("a")
    kept.wait(40)
    before = history(kept, job)
    file = Path(str(kept.prune(tmp_path).file))
    moved = file.rename(tmp_path / "moved.zst")

    with pytest.raises(UsageError, match=f"pruned into {file}, which is not there any more"):
        find_pruned(kept.logs, str(job))

    found = find_pruned(kept.logs, str(job), moved)
    assert found is not None
    assert list(pruned_history(kept.logs, found)) == before


def test_an_archive_that_is_not_whole_is_told(kept: Kept, tmp_path: Path) -> None:
    job = kept.leaf("a")
    kept.wait(40)
    file = Path(str(kept.prune(tmp_path).file))
    data = file.read_bytes()

    for length in range(0, len(data), 13):
        file.write_bytes(data[:length])
        with pytest.raises(UsageError):
            list(pruned_history(kept.logs, Found(job, file)))
    file.write_bytes(data)
    with pytest.raises(UnknownJob, match="does not have job"):
        list(pruned_history(kept.logs, Found(UUID(int=7), file)))


# --- killed, or with company ---------------------------------------------------------------


class Killed(BaseException):
    """Ends a prune as a kill would."""


def dying(work_of: Callable[..., Any], after: list[int]) -> Callable[..., Any]:
    """Return a function that is killed at its turn, before or after it has done its work."""

    def one(*given: Any, **named: Any) -> Any:
        after[0] -= 1
        if after[0] == 0:
            raise Killed
        done = work_of(*given, **named)
        after[0] -= 1
        if after[0] == 0:
            raise Killed
        return done

    return one


@pytest.mark.parametrize("step", range(1, 40))
def test_a_prune_that_was_killed_anywhere_is_ended_by_the_next(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune_apply, "EVENTS_AT_ONCE", 5)
    kept = Kept(EventLog(open_sqlite(str(tmp_path / "jobs.db"))))
    made = [kept.tree("a", (1, BIG)), kept.leaf("b")]
    kept.wait(40)
    young = kept.leaf("young")
    before = {job: history(kept, job) for job in (*made, young)}
    left = [step]
    with monkeypatch.context() as patch:
        store = kept.driver.store.recorder  # type: ignore[attr-defined]
        for name in ("put_archive", "replace_rows", "delete_blobs"):
            patch.setattr(store, name, dying(getattr(store, name), left))
        patch.setattr(kept.views, "forget_jobs", dying(kept.views.forget_jobs, left))
        patch.setattr(pruning, "write_archive", dying(pruning.write_archive, left))
        try:
            kept.prune(tmp_path)
        except Killed:
            pass
        else:
            assert step > 20, "the test has stopped killing"
    for job in made:
        is_pruned(kept, job)  # wholly, or not at all

    kept.prune(tmp_path, name="two")

    assert damages(kept) == []
    assert blobs(kept) == []
    assert jobs(kept) == {young}
    assert history(kept, young) == before[young]
    for job in made:
        assert is_pruned(kept, job)
        assert read_back(kept, job) == before[job]
    assert all(archive.done for archive in part(kept).commits.select_archives())
    kept.logs.close()


def test_a_prune_that_cannot_be_ended_without_its_archive_says_so(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.leaf("a")
    kept.wait(40)
    with monkeypatch.context() as patch:
        patch.setattr(pruning, "apply_archive", dying(pruning.apply_archive, [1]))
        with pytest.raises(Killed):
            kept.prune(tmp_path)
    file = tmp_path / "warrener-one.zst"
    file.rename(tmp_path / "elsewhere")

    with pytest.raises(UsageError, match=r"its archive .* is gone: put it back"):
        kept.prune(tmp_path, name="two")

    (tmp_path / "elsewhere").rename(file)
    assert kept.prune(tmp_path, name="two").completed == (str(file),)


def test_a_tree_that_begins_anew_while_it_is_archived_stays(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, other = kept.leaf("a", fails=True), kept.leaf("b")
    kept.wait(40)
    apply_archive = pruning.apply_archive

    def begin_first(*given: Any) -> Any:
        assert kept.driver.command(RerunJob(job=job, step="work", key="again")) is None
        return apply_archive(*given)

    monkeypatch.setattr(pruning, "apply_archive", begin_first)

    done = kept.prune(tmp_path)

    assert (done.trees, done.left) == (1, 1)
    assert (is_pruned(kept, job), is_pruned(kept, other)) == (False, True)
    kept.driver.succeed(kept.driver.order("work"))
    assert kept.driver.job(job).state == "succeeded"
    assert damages(kept) == []


def test_a_tree_that_begins_anew_while_it_is_removed_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not every store can keep others from writing: then it is seen that they have."""
    monkeypatch.setattr(prune_apply, "EVENTS_AT_ONCE", 2)
    for turn in range(1, 5):
        kept = Kept()
        job = kept.leaf("a", fails=True)
        kept.wait(40)
        before = commits_of(part(kept))
        replace, calls = kept.driver.store.replace_rows, []  # type: ignore[attr-defined]
        late = Recorded(
            job,
            1 + list(kept.driver.store.stream(job))[-1].originator_version,
            JobRerun(
                at=kept.driver.now, cause="t", generation=2, step="work", steps=("work",), key="k"
            ),
        )

        def write_too(rows: Any, turn: int = turn, kept: Kept = kept, late: Any = late) -> None:
            calls.append(rows)  # noqa: B023
            if len(calls) == turn:  # noqa: B023
                kept.driver.store.commit([late], {})
            replace(rows)  # noqa: B023

        with monkeypatch.context() as patch:
            patch.setattr(kept.driver.store, "replace_rows", write_too)
            done = kept.prune(tmp_path, name=f"{turn}")

        assert len(calls) >= turn
        assert (done.trees, done.left) == (0, 1)
        assert commits_of(part(kept))[: len(before)] == before
        assert damages(kept) == []


def test_what_was_read_before_a_prune_is_not_folded_after_it(kept: Kept, tmp_path: Path) -> None:
    """A projector may have read the events of a tree when its documents are forgotten."""
    kept.tree("a")
    kept.wait(40)
    batch, positions = kept.driver.store.read(0, 1_000), kept.views.positions()

    kept.prune(tmp_path)
    with pytest.raises(Conflict):
        apply_batch(kept.views, batch, positions)

    assert jobs(kept) == set()


def child_begun_anew(kept: Kept) -> tuple[UUID, UUID, int]:
    """Return an ended tree, a child in it that was begun anew, and the child's next version."""
    job = kept.tree("a")
    child = kept.children(job)[0]
    kept.wait(20)
    version = 1 + list(kept.driver.store.stream(child))[-1].originator_version
    again = JobRerun(
        at=kept.driver.now, cause="t", generation=2, step="work", steps=("work",), key="k"
    )
    kept.driver.store.commit([Recorded(child, version, again)], {})
    return job, child, version + 1


def test_a_tree_stays_as_long_as_a_part_of_it_is_open(kept: Kept, tmp_path: Path) -> None:
    job, child, version = child_begun_anew(kept)
    kept.wait(40)

    assert kept.prune(tmp_path).trees == 0

    end = JobSucceeded(at=kept.driver.now, cause="t")
    kept.driver.store.commit([Recorded(child, version, end)], {})
    assert not is_pruned(kept, job)


def test_a_tree_is_as_old_as_what_happened_last_in_it(kept: Kept, tmp_path: Path) -> None:
    job, child, version = child_begun_anew(kept)
    end = JobSucceeded(at=kept.driver.now, cause="t")
    kept.driver.store.commit([Recorded(child, version, end)], {})
    kept.wait(15)

    assert kept.prune(tmp_path).trees == 0
    kept.wait(30)
    assert kept.prune(tmp_path).trees == 1

    assert is_pruned(kept, job)


def test_an_archive_that_does_not_have_what_the_store_has_removes_nothing(
    kept: Kept, tmp_path: Path
) -> None:
    job = kept.leaf("a")
    kept.wait(40)
    other = Kept(MemoryEventStore())
    other.leaf("a", "something else")
    other.wait(40)
    file = Path(str(other.prune(tmp_path).file))

    applied = prune_apply.apply_archive(file, parts_of(kept.logs), kept.views)

    assert (applied.trees, applied.left) == (0, 1)
    assert not is_pruned(kept, job)
    assert msgspec.json.decode(kept.driver.job(job).result.json or "") == "done"
