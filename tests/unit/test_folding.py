"""An event that a read model cannot digest stops that one alone, is told, and is tried again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from structlog.testing import capture_logs
from support.histories import REPORT, START, History, half_done_report
from support.list_store import ListEventStore

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.errors import Conflict, StoredDataError, StoreUnavailable
from warrener.domain.ports import Positioned
from warrener.projections.apply import READ_MODELS, ReadModel
from warrener.projections.ports import Documents
from warrener.projections.views import JOBS
from warrener.services.folding import RETRY_SECONDS_FIRST, RETRY_SECONDS_MAX, Folding, needs
from warrener.services.logs import LogSet
from warrener.services.projector import catch_up, catch_up_all

POISON = 7
NAMES = {model.name for model in READ_MODELS}
PASSING = {"control", "flow"}  # models that need no events of steps


class Fault(Exception):
    pass


def later(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def with_fault_in(name: str, position: int = POISON) -> list[ReadModel]:
    """Return the read models; one of them has a fault at one event."""

    def faulty(model: ReadModel) -> ReadModel:
        def fold(batch: Sequence[Positioned], loaded: Documents) -> Documents:
            if any(each.position == position for each in batch):
                raise Fault("no such key")
            return model.fold(batch, loaded)

        return msgspec.structs.replace(model, fold=fold)

    return [faulty(model) if model.name == name else model for model in READ_MODELS]


class Unreadable(ListEventStore):
    """A log in which some events cannot be decoded."""

    broken: dict[int, str]  # position -> name of the event's type

    def read(self, after_position: int, limit: int) -> Sequence[Positioned]:
        for position in range(after_position + 1, after_position + limit + 1):
            if position in self.broken:
                name = self.broken[position]
                raise StoredDataError(f"event {position} ({name!r}) is broken", event=name)
        return super().read(after_position, limit)


def unreadable(name: str, *positions: int) -> Unreadable:
    log = Unreadable()
    log.log, log.broken = half_done_report()[0].store.log, dict.fromkeys(positions, name)
    return log


def run(folding: Folding, now: datetime = START, size: int = 4) -> None:
    while folding.turn(now, size):
        pass


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_fault_in_one_read_model_stops_it_there_and_no_other(name: str, size: int) -> None:
    history, *_ = half_done_report()
    views, head = MemoryViewStore(), history.store.head()

    run(Folding(history.store, views, models=with_fault_in(name)), size=size)

    assert views.positions() == dict.fromkeys(NAMES, head) | {name: POISON - 1}
    (stopped,) = views.stopped()
    assert (stopped.model, stopped.partition, stopped.position) == (name, 0, POISON)
    assert stopped.reason == "Fault: no such key"
    assert stopped.event.startswith("StepOpened, event 1 of stream ")
    assert stopped.at == START


def test_what_comes_before_the_fault_is_folded_as_ever() -> None:
    history, *_ = half_done_report()
    views, plain, start = MemoryViewStore(), MemoryViewStore(), ListEventStore()
    start.log = history.store.log[: POISON - 1]
    catch_up(start, plain)

    run(Folding(history.store, views, models=with_fault_in("jobs")), size=100)

    for table in ("jobs", "steps", "definitions"):
        assert views.tables()[table] == plain.tables()[table]


def test_the_alarm_says_what_where_and_what_to_do() -> None:
    history, *_ = half_done_report()

    with capture_logs() as logs:
        run(Folding(history.store, MemoryViewStore(), models=with_fault_in("jobs")))

    (alarm,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert alarm["event"] == "read_model.stopped"
    assert (alarm["model"], alarm["partition"], alarm["position"]) == ("jobs", 0, POISON)
    assert str(history.store.log[POISON - 1].recorded.originator_id) in alarm["event_stopped_at"]
    assert "run a version of Warrener" in alarm["todo"]


def test_a_stopped_model_is_tried_again_ever_more_seldom_and_no_longer_than_that() -> None:
    history, *_ = half_done_report()
    views, tried = MemoryViewStore(), []
    folding = Folding(history.store, views, models=with_fault_in("jobs"))

    for second in range(2_000):
        with capture_logs() as logs:
            run(folding, later(second))
        tried += [second for entry in logs if entry["event"] == "read_model.stopped"]

    gaps = [after - before for before, after in pairwise(tried)]
    assert gaps[:6] == [RETRY_SECONDS_FIRST * 2**n for n in range(6)]
    assert set(gaps[6:]) == {RETRY_SECONDS_MAX}
    assert [stopped.at for stopped in views.stopped()] == [START]


def test_a_newer_version_goes_on_where_the_older_one_stopped() -> None:
    history, *_ = half_done_report()
    views = MemoryViewStore()
    run(Folding(history.store, views, models=with_fault_in("jobs")))
    plain = MemoryViewStore()
    catch_up(history.store, plain)

    catch_up(history.store, views)

    assert views.stopped() == []
    assert views.tables() == plain.tables()


def test_the_same_process_goes_on_once_the_event_is_no_fault_any_more() -> None:
    history, *_ = half_done_report()
    models = with_fault_in("jobs")
    views = MemoryViewStore()
    folding = Folding(history.store, views, models=models)
    run(folding)

    models[:] = READ_MODELS
    run(folding, later(RETRY_SECONDS_FIRST - 1))
    before = views.positions()["jobs"]
    with capture_logs() as logs:
        run(folding, later(RETRY_SECONDS_FIRST))

    assert before == POISON - 1
    assert [entry["event"] for entry in logs] == ["read_model.goes_on"]
    assert views.positions()["jobs"] == history.store.head()
    assert views.stopped() == []


def test_what_goes_on_under_somebody_else_is_followed_at_once() -> None:
    history, job, _ = half_done_report()
    models = with_fault_in("jobs")
    views = MemoryViewStore()
    folding = Folding(history.store, views, models=models)
    run(folding)
    catch_up(history.store, views)
    history.fail_job(job)

    models[:] = READ_MODELS
    folding.look_again()
    run(folding)

    assert views.positions() == dict.fromkeys(NAMES, history.store.head())


def test_a_process_that_is_new_tries_the_event_in_the_way_alone() -> None:
    history, *_ = half_done_report()
    views, sizes = MemoryViewStore(), []
    run(Folding(history.store, views, models=with_fault_in("jobs")))
    models = with_fault_in("jobs")

    def fold(batch: Sequence[Positioned], loaded: Documents) -> Documents:
        sizes.append(len(batch))
        return faulty(batch, loaded)

    faulty = models[0].fold
    models[0] = msgspec.structs.replace(models[0], fold=fold)
    run(Folding(history.store, views, models=models), size=100)

    assert sizes == [1]


def test_what_stopped_in_a_log_that_is_gone_is_forgotten_with_it() -> None:
    history, *_ = half_done_report()
    views = MemoryViewStore()
    folding = Folding(history.store, views, models=with_fault_in("jobs"))
    run(folding)
    del history.store.log[5:]

    folding.look_again()
    run(folding)

    assert views.positions() == dict.fromkeys(NAMES, 5)
    assert views.stopped() == []


def test_a_second_fault_later_on_is_a_stop_of_its_own() -> None:
    history, *_ = half_done_report()
    views = MemoryViewStore()
    run(Folding(history.store, views, models=with_fault_in("jobs")))

    run(Folding(history.store, views, models=with_fault_in("jobs", 9)), later(60))

    (stopped,) = views.stopped()
    assert (stopped.position, stopped.at) == (9, later(60))


def test_new_events_go_on_reaching_the_others_while_one_stands_still() -> None:
    history, job, _ = half_done_report()
    views = MemoryViewStore()
    folding = Folding(history.store, views, models=with_fault_in("control"))
    run(folding)

    history.fail_job(job)
    run(folding, later(1))

    assert views.load({JOBS: [job]})[JOBS][job].state == "failed"
    assert folding.position == history.store.head()


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_an_event_of_an_unknown_type_stops_every_read_model(size: int) -> None:
    log, views = unreadable("NewlyInvented", POISON), MemoryViewStore()

    run(Folding(log, views), size=size)

    assert views.positions() == dict.fromkeys(NAMES, POISON - 1)
    assert [stopped.model for stopped in views.stopped()] == sorted(NAMES)
    assert {stopped.position for stopped in views.stopped()} == {POISON}


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_an_unreadable_event_is_passed_over_by_models_that_need_none_of_its_type(
    size: int,
) -> None:
    log, views = unreadable("StepReleased", POISON, POISON + 3), MemoryViewStore()

    run(Folding(log, views), size=size)

    assert views.positions() == dict.fromkeys(NAMES, POISON - 1) | dict.fromkeys(
        PASSING, log.head()
    )
    assert [stopped.model for stopped in views.stopped()] == sorted(NAMES - PASSING)


def test_an_unreadable_event_that_was_mended_is_folded() -> None:
    log, views = unreadable("StepReleased", POISON), MemoryViewStore()
    folding = Folding(log, views)
    run(folding)

    log.broken.clear()
    run(folding, later(RETRY_SECONDS_FIRST))

    plain = MemoryViewStore()
    catch_up(log, plain)
    assert views.tables() == plain.tables()
    assert views.stopped() == []


def test_which_types_a_read_model_needs() -> None:
    by_name = {model.name: model for model in READ_MODELS}

    assert needs(by_name["control"], "LimitChanged")
    assert not needs(by_name["control"], "JobSubmitted")
    assert needs(by_name["flow"], "MeasureTaken")
    assert not needs(by_name["flow"], "LimitChanged")
    assert not needs(by_name["jobs"], "FleetChanged")
    assert needs(by_name["attempts"], "StepReleased")
    assert all(needs(model, "NewlyInvented") for model in READ_MODELS)


@pytest.mark.parametrize("error", [StoreUnavailable("gone"), Conflict("not there any more")])
def test_trouble_with_the_store_is_no_fault_of_an_event(error: Exception) -> None:
    history, *_ = half_done_report()
    views = MemoryViewStore()

    def fold(_batch: Sequence[Positioned], _loaded: Documents) -> Documents:
        raise error

    models = [msgspec.structs.replace(READ_MODELS[0], fold=fold)]

    with pytest.raises(type(error)):
        run(Folding(history.store, views, models=models))

    assert views.stopped() == []


def test_views_that_another_moved_on_are_looked_at_again() -> None:
    history, *_ = half_done_report()
    views = MemoryViewStore()
    folding = Folding(history.store, views)
    folding.turn(START, 2)
    catch_up(history.store, views, batch_size=3)

    with pytest.raises(Conflict):
        folding.turn(START, 2)

    assert not folding.turn(START, 2)
    assert folding.position == history.store.head()


def test_views_that_were_built_anew_meanwhile_are_gone_on_with() -> None:
    history, job, _ = half_done_report()
    views = MemoryViewStore()
    folding = Folding(history.store, views)
    run(folding)
    fresh = views.fresh()
    catch_up(history.store, fresh)
    views.switch(fresh)
    history.fail_job(job)

    with pytest.raises(Conflict):
        folding.turn(START, 9)
    run(folding)

    plain = MemoryViewStore()
    catch_up(history.store, plain)
    assert views.tables() == plain.tables()
    assert views.positions() == plain.positions()


def test_a_log_that_grows_between_two_questions_is_not_taken_for_another_one() -> None:
    history, job, _ = half_done_report()
    views = MemoryViewStore()
    catch_up(history.store, views)

    class Growing(MemoryViewStore):
        def positions(self, partition: int = 0) -> dict[str, int]:
            history.fail_job(job)
            catch_up(history.store, views)
            return views.positions(partition)

        def forget(self, partition: int, positions: object) -> None:
            raise AssertionError("nothing is to be forgotten")

    assert not Folding(history.store, Growing()).turn(START, 9, 0)


def test_a_log_that_became_shorter_under_a_running_folding_is_noticed() -> None:
    history, *_ = half_done_report()
    views = MemoryViewStore()
    folding = Folding(history.store, views)
    run(folding)
    del history.store.log[5:]

    folding.look_again()
    run(folding)

    plain = MemoryViewStore()
    catch_up(history.store, plain)
    assert views.tables() == plain.tables()


def test_all_logs_are_caught_up_each_in_its_partition() -> None:
    histories = [History(partition) for partition in range(3)]
    jobs = [history.submit(REPORT, key=str(n)) for n, history in enumerate(histories)]
    views = MemoryViewStore()

    reached = catch_up_all(LogSet([history.store for history in histories]), views)  # type: ignore[list-item]

    assert reached == (2, 2, 2)
    assert [views.positions(n) for n in range(3)] == [dict.fromkeys(NAMES, 2)] * 3
    assert set(views.load({JOBS: jobs})[JOBS]) == set(jobs)
