"""Building read models anew beside the running system, over every `ViewStore`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Event
from typing import Any
from uuid import UUID

import pytest
from support.histories import REPORT, History, half_done_report
from support.random_histories import ACTIONS as RANDOM_ACTIONS
from support.random_histories import RandomHistory
from support.view_stores import VIEW_STORES, Opener, view_store_opener

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.errors import Conflict, ServiceUnavailable, StoredDataError
from warrener.projections.apply import READ_MODELS
from warrener.projections.ports import Documents, JobFilter, StoppedModel, ViewStore
from warrener.projections.views import JOBS, STEPS, StepView
from warrener.services.logs import LogSet
from warrener.services.projector import apply_batch, catch_up
from warrener.services.upkeep import rebuild as rebuilding
from warrener.services.upkeep.rebuild import rebuild


@pytest.fixture(params=VIEW_STORES)
def opened(request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Give what opens the store, as one more process."""
    stores: list[ViewStore] = []
    opener = view_store_opener(request.param, request)

    def opened_again() -> ViewStore:
        stores.append(opener())
        return stores[-1]

    yield opened_again
    for store in stores:
        store.close()


def contents(views: ViewStore, history: History) -> Documents:
    """Return the documents of the keys that a history has."""
    return views.load({table: list(found) for table, found in folded(history).tables().items()})


def folded(history: History) -> MemoryViewStore:
    plain = MemoryViewStore()
    catch_up(history.store, plain)
    return plain


def test_a_rebuild_gives_what_the_log_says_and_not_what_was_spoilt(opened: Opener) -> None:
    history, job, _ = half_done_report()
    views = opened()
    catch_up(history.store, views)
    spoilt = views.load({JOBS: [job]})[JOBS][job]
    before = {JOBS: {job: spoilt}}
    wrong = views.load({JOBS: [job]})[JOBS][job]
    wrong.name, wrong.position = "wrong", history.store.head()
    views.save(
        "jobs", history.store.head(), history.store.head(), {JOBS: {job: wrong}}, loaded=before
    )
    assert views.find_jobs(JobFilter(name="wrong")) != []

    count = rebuild(LogSet([history.store]), views)

    assert count == history.store.head()
    assert views.find_jobs(JobFilter(name="wrong")) == []
    assert contents(views, history) == folded(history).tables()
    assert contents(opened(), history) == folded(history).tables()


def test_a_rebuild_while_events_arrive_gives_the_documents_of_the_live_ones(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "REST_EVENTS_MAX", 3)
    chosen, world = Random(7), RandomHistory()
    play(world, chosen, 80)
    views, others = opened(), opened()
    catch_up(world.history.store, views)

    def more(_position: int, _head: int) -> None:
        if world.history.store.head() < 300:
            play(world, chosen, 30)
        catch_up(world.history.store, others)

    rebuild(LogSet([world.history.store]), views, more, batch_size=9)
    catch_up(world.history.store, others)

    assert world.history.store.head() > 150  # it took several rounds
    assert contents(views, world.history) == folded(world.history).tables()
    assert contents(others, world.history) == folded(world.history).tables()
    assert others.positions() == views.positions() == folded(world.history).positions()


def play(world: RandomHistory, chosen: Random, count: int) -> None:
    for _ in range(count):
        world.play(chosen.choice(RANDOM_ACTIONS), chosen.randrange(400))


def test_nobody_sees_what_is_being_built(opened: Opener) -> None:
    history, job, _ = half_done_report()
    views, others = opened(), opened()
    catch_up(history.store, views)

    fresh = views.fresh()
    empty = fresh.positions()
    newer = History()
    newer.submit(REPORT, key="newer")
    catch_up(newer.store, fresh)

    assert empty == {}
    for each in (views, others):
        assert each.positions() == folded(history).positions()
        assert [found.job for found in each.find_jobs(JobFilter())] == [job]
    views.switch(fresh)
    for each in (views, others):
        assert each.positions() == folded(newer).positions()
        assert [found.job for found in each.find_jobs(JobFilter())] != [job]


def test_whoever_asks_during_a_switch_gets_a_whole_answer(opened: Opener) -> None:
    history, job, child = half_done_report()
    views, others = opened(), opened()
    catch_up(history.store, views)
    answers: list[tuple[Any, ...]] = []
    enough, done = Event(), Event()

    def ask() -> tuple[Any, ...]:
        jobs = [view.job for view in others.find_jobs(JobFilter(roots_only=False))]
        steps = sorted(step.path for step in others.named_steps(job))
        return jobs, steps, others.positions()

    def ask_on() -> None:
        while not done.is_set():
            answers.append(ask())
            if len(answers) >= 20:
                enough.set()

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask_on)
        try:
            for _ in range(3):
                rebuild(LogSet([history.store]), views)
            while not enough.is_set() and not asking.done():
                rebuild(LogSet([history.store]), views)
        finally:
            done.set()
        asking.result()

    expected = ([child, job], ["load", "parts", "sub"], folded(history).positions())
    assert [answer for answer in answers if answer != expected] == []


def test_a_rebuild_that_breaks_off_leaves_the_live_ones_alone(opened: Opener) -> None:
    history, job, _ = half_done_report()
    views, others = opened(), opened()
    catch_up(history.store, views)

    class Broken(Exception):
        pass

    def breaks(_position: int, _head: int) -> None:
        raise Broken

    for _ in range(2):
        with pytest.raises(Broken):
            rebuild(LogSet([history.store]), views, breaks, batch_size=5)
        assert views.positions() == others.positions() == folded(history).positions()
        assert contents(others, history) == folded(history).tables()
    history.pause(job)
    catch_up(history.store, others)
    rebuild(LogSet([history.store]), others)

    assert contents(views, history) == folded(history).tables()


def test_a_projector_that_read_the_old_ones_writes_nothing_to_the_new_ones(
    opened: Opener,
) -> None:
    history, job, _ = half_done_report()
    views, others = opened(), opened()
    catch_up(history.store, views)
    head = history.store.head()
    positions = others.positions()
    loaded = others.load({JOBS: [job]})
    rebuild(LogSet([history.store]), views)
    history.pause(job)
    stale = loaded[JOBS][job]
    stale.name, stale.position = "stale", head + 1

    with pytest.raises(Conflict):
        others.save("jobs", positions["jobs"], head + 1, {JOBS: {job: stale}}, loaded=loaded)
    refused = others.positions()
    apply_batch(others, history.store.read(head, 9), others.positions())

    assert refused == positions
    assert contents(views, history) == folded(history).tables()


def test_a_reset_is_noticed_by_those_who_read_before_it(opened: Opener) -> None:
    views, others = opened(), opened()
    step = StepView(position=1, job=UUID(int=1), path="a", root=UUID(int=1))
    others.positions()
    views.reset()

    with pytest.raises(Conflict):
        others.save("jobs", 0, 1, {STEPS: {step.key: step}})
    others.positions()
    others.save("jobs", 0, 1, {STEPS: {step.key: step}})

    assert views.positions() == {"jobs": 1}
    assert list(views.load({STEPS: [step.key]})[STEPS]) == [step.key]


def test_of_two_rebuilds_the_one_that_began_first_gives_way(opened: Opener) -> None:
    history, *_ = half_done_report()
    views, others = opened(), opened()
    catch_up(history.store, views)
    first = views.fresh()
    catch_up(history.store, first, batch_size=5)

    second = others.fresh()
    catch_up(history.store, second)
    first_save = refusal(lambda: first.save("jobs", history.store.head(), 999, {}))
    first_switch = refusal(lambda: views.switch(first))
    others.switch(second)

    assert first_save
    assert first_switch
    assert contents(views, history) == folded(history).tables()


def refusal(of: Callable[[], None]) -> bool:
    try:
        of()
    except Conflict:
        return True
    return False


def test_what_was_built_is_of_no_more_use_after_the_switch(opened: Opener) -> None:
    views = opened()
    fresh = views.fresh()
    fresh.save("jobs", 0, 3, {})
    views.switch(fresh)

    with pytest.raises(Conflict):
        fresh.save("jobs", 3, 4, {})

    assert views.positions() == {"jobs": 3}


def test_stopped_models_go_with_their_generation(opened: Opener) -> None:
    history, *_ = half_done_report()
    views = opened()
    stopped = StoppedModel(model="jobs", position=3, reason="x", at=history.now)
    views.stop(stopped)

    fresh = views.fresh()
    unknown = fresh.stopped()
    views.switch(fresh)

    assert unknown == []
    assert views.stopped() == []


def test_pruned_jobs_are_forgotten_in_what_is_being_built_too(opened: Opener) -> None:
    history, job, child = half_done_report()
    views = opened()
    catch_up(history.store, views)
    fresh = views.fresh()
    catch_up(history.store, fresh)

    views.forget_jobs([job])
    views.switch(fresh)

    assert list(views.load({JOBS: [job, child]})[JOBS]) == [child]
    assert views.named_steps(job) == []


def test_a_rebuild_that_would_know_less_is_refused(opened: Opener) -> None:
    history, *_ = half_done_report()
    views = opened()
    catch_up(history.store, views)
    original = views.fresh

    def stuck() -> ViewStore:
        fresh = original()
        stopped = [StoppedModel(model="jobs", position=2, reason="fault", at=history.now)]
        fresh.stopped = lambda: stopped  # type: ignore[method-assign]
        return fresh

    views.fresh = stuck  # type: ignore[method-assign]
    with pytest.raises(StoredDataError, match="stay as they are"):
        rebuild(LogSet([history.store]), views)

    assert contents(views, history) == folded(history).tables()


def test_a_rebuild_that_never_comes_near_the_head_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History()
    job = history.submit(REPORT)
    views = MemoryViewStore()
    monkeypatch.setattr(rebuilding, "REST_EVENTS_MAX", 0)

    def more(_position: int, _head: int) -> None:
        history.pause(job)

    with pytest.raises(ServiceUnavailable, match="faster"):
        rebuild(LogSet([history.store]), views, more, batch_size=2)

    assert views.positions() == {}


def test_progress_is_told_over_all_partitions(opened: Opener) -> None:
    history, *_ = half_done_report()
    heard: list[tuple[int, int]] = []

    rebuild(LogSet([history.store]), opened(), lambda *at: heard.append(at), batch_size=4)

    head = history.store.head()
    assert heard[-1] == (head, head)
    assert [at for at, _ in heard] == sorted(at for at, _ in heard)
    assert {model.name for model in READ_MODELS} == set(opened().positions())
