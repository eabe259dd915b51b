"""How far each read model is behind: in events, and in seconds since the first that it misses."""

from __future__ import annotations

from datetime import datetime, timedelta

from support.histories import START, History, half_done_report
from support.list_store import ListEventStore

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.errors import StoredDataError
from warrener.domain.ports import Positioned
from warrener.projections.apply import READ_MODELS
from warrener.projections.ports import StoppedModel
from warrener.services.lag import Lag, lag
from warrener.services.logs import LogSet
from warrener.services.projector import catch_up


def lags(views: MemoryViewStore, now: datetime, *logs: ListEventStore) -> dict[object, Lag]:
    found = lag(LogSet(logs), views, now)  # type: ignore[arg-type]
    assert len(found) == len(READ_MODELS) * len(logs)
    return {(each.partition, each.model): each for each in found}


def test_views_that_have_seen_everything_are_not_behind_however_old_it_is() -> None:
    history, *_ = half_done_report()
    views = MemoryViewStore()
    catch_up(history.store, views)

    found = lags(views, START + timedelta(days=9), history.store)

    assert {(each.events, each.seconds) for each in found.values()} == {(0, 0.0)}


def test_seconds_are_counted_from_the_first_event_that_was_not_folded() -> None:
    history, job, _ = half_done_report()
    views = MemoryViewStore()
    catch_up(history.store, views)
    history.fail_job(job)
    first_missing = history.now
    history.change_limit("api", slots=2)

    found = lags(views, first_missing + timedelta(seconds=30), history.store)[0, "jobs"]

    assert (found.events, found.seconds) == (2, 30.0)
    assert (found.position, found.head) == (history.store.head() - 2, history.store.head())


def test_each_partition_and_each_read_model_has_its_own() -> None:
    one, two = half_done_report()[0], History(1)
    two.change_limit("api", slots=2)
    views = MemoryViewStore()
    catch_up(one.store, views)
    views.save("history", 0, 1, {}, 1)

    found = lags(views, two.now + timedelta(seconds=5), one.store, two.store)

    assert [found[0, name].events for name in ("jobs", "history")] == [0, 0]
    assert [found[1, name].events for name in ("jobs", "history")] == [1, 0]
    assert [found[1, name].seconds for name in ("jobs", "history")] == [5.0, 0.0]


def test_a_clock_that_is_behind_gives_no_negative_lag() -> None:
    history, *_ = half_done_report()

    found = lags(MemoryViewStore(), START - timedelta(days=1), history.store)

    assert {each.seconds for each in found.values()} == {0.0}


def test_a_stopped_model_is_told_with_its_lag_even_where_the_event_cannot_be_read() -> None:
    class Unreadable(ListEventStore):
        def read(self, after_position: int, limit: int) -> list[Positioned]:
            raise StoredDataError("cannot be read")

    log = Unreadable()
    log.log = half_done_report()[0].store.log
    views = MemoryViewStore()
    stopped = StoppedModel(model="jobs", partition=0, position=1, reason="broken", at=START)
    views.stop(stopped)

    found = lags(views, START + timedelta(seconds=40), log)

    assert (found[0, "jobs"].stopped, found[0, "jobs"].seconds) == (stopped, 40.0)
    assert found[0, "control"].stopped is None
