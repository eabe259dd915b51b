"""Read model = fold(log): whatever the batches, and whatever was written twice or by halves."""

from __future__ import annotations

from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.histories import START, History, half_done_report
from support.list_store import ListEventStore
from support.random_histories import ACTIONS, ITEMS, RandomHistory, played
from support.scale import scaled

from warrener.adapters.codec import TOPICS
from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain import events
from warrener.domain.control_events import (
    LogTaken,
)
from warrener.domain.errors import StoreUnavailable
from warrener.domain.events import FanOut
from warrener.domain.step_events import (
    StepCancelled,
    StepEvent,
    StepProgressed,
    StepReleased,
    StepStarted,
)
from warrener.projections.apply import READ_MODELS
from warrener.projections.attempt_views import ATTEMPTS, AttemptView
from warrener.projections.control_views import ACTIONS as REQUESTS
from warrener.projections.ports import Documents
from warrener.projections.views import JOBS, STEPS, JobView, StepView
from warrener.services.folding import Folding
from warrener.services.projector import apply_batch, catch_up

MODELS = [model.name for model in READ_MODELS]
histories = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 400)), max_size=100)


def contents(views: MemoryViewStore) -> dict[str, Any]:
    return {"tables": views.tables(), "positions": views.positions()}


def folded_at_once(history: History) -> MemoryViewStore:
    views = MemoryViewStore()
    catch_up(history.store, views)
    return views


@settings(max_examples=150, deadline=None)
@given(histories)
def test_counts_equal_a_count_of_every_single_step(actions: list[tuple[str, int]]) -> None:
    world = played(actions)

    views = folded_at_once(world.history)

    jobs: dict[UUID, JobView] = dict(views.load({JOBS: world.jobs})[JOBS])
    for job in world.jobs:
        assert jobs[job].counts.by_state() == world.counts(job)


@settings(max_examples=150, deadline=None)
@given(histories, st.lists(st.tuples(st.integers(0, 80), st.integers(1, 30)), max_size=12))
def test_any_batches_repeated_or_overlapping_give_the_same_documents(
    actions: list[tuple[str, int]], batches: list[tuple[int, int]]
) -> None:
    history = played(actions).history
    views = MemoryViewStore()

    for start, size in batches:
        batch = history.store.read(start, size)
        if batch and start <= min(views.positions().values(), default=0):
            apply_batch(views, batch, views.positions())
    catch_up(history.store, views, batch_size=7)

    assert contents(views) == contents(folded_at_once(history))


@settings(max_examples=150, deadline=None)
@given(histories)
def test_who_waits_for_a_request_is_exactly_who_was_parked_in_this_generation(
    actions: list[tuple[str, int]],
) -> None:
    world = played(actions)

    views = folded_at_once(world.history)

    parked = {key for key, state in world.states.items() if state == "waiting_user"}
    found = {
        step.key
        for request in views.tables()[REQUESTS]
        for step in views.waiters(request, 1_000).first
    }
    assert found == parked


@settings(max_examples=150, deadline=None)
@given(
    histories,
    st.integers(1, 40),
    st.lists(st.none() | st.integers(0, 12), min_size=1, max_size=12),
    st.sampled_from(MODELS),
)
def test_a_batch_that_was_half_written_is_counted_once(
    actions: list[tuple[str, int]], size: int, written: list[int | None], model: str
) -> None:
    history = played(actions).history
    views = HalfWriting(written, model)

    while views.halves:
        catch_up_until_it_breaks(history, views, size)
    catch_up(history.store, views, batch_size=5)

    assert contents(views) == contents(folded_at_once(history))


class PowerCut(StoreUnavailable):
    pass


class HalfWriting(MemoryViewStore):
    """Writes only the first so many documents of a batch and not their position; None: all."""

    def __init__(self, halves: list[int | None], model: str = "jobs") -> None:
        super().__init__()
        self.halves = list(halves)
        self._model = model

    def save(
        self,
        model: str,
        after: int,
        position: int,
        changes: Documents,
        partition: int = 0,
        *,
        loaded: Documents | None = None,
    ) -> None:
        left = self.halves.pop() if self.halves and model == self._model else None
        if left is None:
            return super().save(model, after, position, changes, partition)
        part = {}
        for table, views in changes.items():
            part[table] = dict(list(views.items())[:left])
            left -= len(part[table])
        super().save(model, after, after, part, partition)
        raise PowerCut


def catch_up_until_it_breaks(history: History, views: HalfWriting, size: int) -> None:
    try:
        catch_up(history.store, views, batch_size=size)
        views.halves.clear()
    except PowerCut:
        pass


@pytest.mark.parametrize("model", ["jobs", "attempts"])
@pytest.mark.parametrize("written", range(14))
def test_two_new_generations_in_one_batch_that_was_half_written(written: int, model: str) -> None:
    history, job, _ = half_done_report()
    before = history.store.head()
    history.rerun(job, ["parts"])
    history.step(job, "parts[1]", StepCancelled, reason="late")
    history.open_items(job, "parts", count=2, begun=2)
    history.renew(job, "parts[0]")
    history.release(job, "parts[0]", attempt=2)
    history.step(job, "parts[0]", StepCancelled)
    history.rerun(job, ["parts"], generation=3)
    views = HalfWriting([written, None], model)  # the last one goes first

    catch_up_until_it_breaks(history, views, before)
    catch_up(history.store, views)

    assert contents(views) == contents(folded_at_once(history))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(histories, min_size=2, max_size=3),
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 60)), max_size=20),
)
def test_partitions_folded_by_turns_are_each_as_if_folded_alone(
    worlds: list[list[tuple[str, int]]], turns: list[tuple[int, int]]
) -> None:
    logs = [played(actions, at).history.store for at, actions in enumerate(worlds)]
    views, foldings = MemoryViewStore(), {}

    for at, size in turns:
        log = logs[at % len(logs)]
        foldings.setdefault(log.partition, Folding(log, views, log.partition)).turn(START, size)
    for log in logs:
        catch_up(log, views, batch_size=7)

    alone = MemoryViewStore()
    expected: dict[str, dict[Any, Any]] = {table: {} for table in views.tables()}
    for log in logs:
        alone.reset()
        catch_up(log, alone)
        assert views.positions(log.partition) == alone.positions(log.partition)
        for table, found in alone.tables().items():
            expected[table].update(found)
    assert views.tables() == expected


@settings(max_examples=60, deadline=None)
@given(histories, histories, st.integers(1, 60))
def test_a_partition_of_another_log_is_built_anew_and_the_others_stay(
    one: list[tuple[str, int]], two: list[tuple[str, int]], size: int
) -> None:
    kept, gone = played(one, 0).history, played([*two, ("child", 0)], 1).history
    views = MemoryViewStore()
    for log in (kept.store, gone.store):
        catch_up(log, views)
    before = folded_at_once(kept)
    restored = ListEventStore(1)
    restored.log = gone.store.log[: len(gone.store.log) // 2]

    catch_up(restored, views, batch_size=size)
    catch_up(kept.store, views)

    expected = MemoryViewStore()
    catch_up(kept.store, expected)
    catch_up(restored, expected)
    assert views.tables() == expected.tables()
    assert views.positions(0) == before.positions(0)
    assert views.positions(1) == expected.positions(1)


@settings(max_examples=150, deadline=None)
@given(histories)
def test_every_attempt_that_went_out_is_kept_and_ends_with_its_step(
    actions: list[tuple[str, int]],
) -> None:
    world = played(actions)

    views = folded_at_once(world.history)

    kept: dict[Any, AttemptView] = dict(views.tables()[ATTEMPTS])  # type: ignore[arg-type]
    newest: dict[Any, events.Event] = {}
    for each in world.history.store.log:
        event = each.recorded.event
        key = (
            getattr(event, "job", None),
            getattr(event, "path", ""),
            getattr(event, "attempt", 0),
        )
        if isinstance(event, StepReleased) or (isinstance(event, StepEvent) and key in newest):
            newest[key] = event
    assert {key for key in kept if key[2]} == set(newest)
    for key, event in newest.items():
        is_out = isinstance(event, StepReleased | StepStarted | StepProgressed)
        assert (kept[key].outcome is None) == is_out, key


def test_a_projection_leaves_the_documents_it_was_given_alone() -> None:
    world = played([("child", 0), ("release", 0), ("release", 2), ("succeed", 2)])
    views = folded_at_once(world.history)
    model, job = READ_MODELS[0], world.jobs[0]
    world.history.succeed(job, "load")
    world.history.advance(job, begun={"parts": 4}, fan_outs={"parts": FanOut(ITEMS)})
    batch = world.history.store.read(world.history.store.head() - 2, 10)
    loaded = views.load(model.wanted(batch))
    before = views.load(model.wanted(batch))

    changes = model.fold(batch, loaded)

    assert loaded == before
    assert changes[STEPS][job, "load"] != loaded[STEPS][job, "load"]


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60), st.booleans())
def test_items_without_a_document_are_always_shared_out_whole(
    count: int, begun: int, known: int, ended: bool
) -> None:
    state = "failed" if ended else "waiting"
    fan_out = StepView(
        job=UUID(int=1),
        path="parts",
        root=UUID(int=1),
        state=state,
        count=count,
        begun=begun,
        items={"succeeded": known},
    )

    items = fan_out.items_by_state() or {}

    assert sum(items.values()) == max(count, known)
    assert items["succeeded"] == known
    assert not ended or set(items) <= {"succeeded", "cancelled"}


SEEDS = range(scaled(40))


def of_seed(seed: int) -> RandomHistory:
    """Return a long random history, in which steps get far."""
    chosen = Random(seed)
    return played([(chosen.choice(ACTIONS), chosen.randrange(400)) for _ in range(300)])


def test_long_histories_are_counted_step_by_step_and_folded_the_same_from_halves() -> None:
    for seed in SEEDS:
        world = of_seed(seed)
        chosen = Random(seed)
        halves = [chosen.choice((None, chosen.randrange(20))) for _ in range(40)]
        views = folded_at_once(world.history)
        broken = HalfWriting(halves, ("jobs", "attempts", "flow")[seed % 3])

        while broken.halves:
            catch_up_until_it_breaks(world.history, broken, chosen.randrange(2, 80))
        catch_up(world.history.store, broken, batch_size=5 + seed)

        found: dict[UUID, JobView] = dict(views.load({JOBS: world.jobs})[JOBS])
        for job in world.jobs:
            assert found[job].counts.by_state() == world.counts(job), seed
        assert contents(broken) == contents(views), seed


def test_the_random_histories_have_every_event_that_changes_a_document() -> None:
    logs = [of_seed(seed).history.store.log for seed in SEEDS]

    found = {type(each.recorded.event) for log in logs for each in log}

    plain = {events.JobStarted, events.JobSucceeded, events.JobCancelled, events.EventPruned}
    assert set(TOPICS.values()) - plain - {LogTaken} <= found
