"""Read model = fold(log): whatever the batches, and whatever was written twice or by halves."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from support.histories import REPORT, History

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.events import FanOut
from warrener.domain.states import STEP_ENDED
from warrener.projections.apply import READ_MODELS
from warrener.projections.ports import Documents
from warrener.projections.views import JOBS, STEPS, Counts, JobView
from warrener.services.projector import apply_batch, catch_up

ACTIONS = ("release", "retry", "begin", "succeed", "fail", "settle", "widen", "child", "ready")
ITEMS = 4


class RandomHistory:
    """Plays actions on a tree of reports and keeps the state of every step, the plain way."""

    def __init__(self) -> None:
        self.history = History()
        self.jobs = [self.history.submit(REPORT)]
        self.parents: dict[UUID, UUID | None] = {self.jobs[0]: None}
        self.states: dict[tuple[UUID, str], str] = {}
        self.begun: dict[UUID, int] = {}

    def play(self, action: str, pick: int) -> None:
        job = self.jobs[pick % len(self.jobs)]
        path = ("load", "merge", "parts[0]", "parts[2]", "parts[3]")[pick % 5]
        if path.startswith("parts") and job not in self.begun:
            self._open(job)
        state = self.states.get((job, path), "")
        if state not in STEP_ENDED and (not path.endswith("]") or self._has_begun(job, path)):
            getattr(self, f"_{action}")(job, path, state)

    def _has_begun(self, job: UUID, path: str) -> bool:
        return int(path[6:-1]) < self.begun[job]

    def _open(self, job: UUID) -> None:
        self.begun[job] = 2
        self.states[job, "parts"] = "waiting"
        self.history.open_items(job, "parts", count=ITEMS, begun=2)

    def _release(self, job: UUID, path: str, state: str) -> None:
        if state in ("", "ready", "retrying"):
            self.history.release(job, path)
            self.states[job, path] = "released"

    def _begin(self, job: UUID, path: str, state: str) -> None:
        if state == "released":
            self.history.begin(job, path)
            self.states[job, path] = "running"

    def _retry(self, job: UUID, path: str, state: str) -> None:
        if state in ("released", "running"):
            self.history.retry(job, path)
            self.states[job, path] = "retrying"

    def _succeed(self, job: UUID, path: str, state: str) -> None:
        if state in ("released", "running"):
            self.history.succeed(job, path)
            self.states[job, path] = "succeeded"

    def _fail(self, job: UUID, path: str, state: str) -> None:
        if state in ("released", "running"):
            self.history.fail(job, path)
            self.states[job, path] = "failed"

    def _ready(self, job: UUID, path: str, state: str) -> None:
        if not state and not path.endswith("]"):
            self.history.advance(job, readied={path: ()})
            self.states[job, path] = "ready"

    def _settle(self, job: UUID, path: str, state: str) -> None:
        if path.endswith("]"):
            self.history.advance(job, items={"parts": {"cancelled": (int(path[6:-1]),)}})
        else:
            self.history.advance(job, settled={path: "cancelled"})
        self.states[job, path] = "cancelled"

    def _widen(self, job: UUID, path: str, state: str) -> None:
        if self.begun.get(job, ITEMS) < ITEMS:
            self.begun[job] = ITEMS
            self.history.advance(job, begun={"parts": ITEMS})

    def _child(self, job: UUID, path: str, state: str) -> None:
        if (job, "sub") not in self.states and len(self.jobs) < 6:
            self.states[job, "sub"] = "waiting"
            child = self.history.open_child(job, "sub", REPORT)
            self.jobs.append(child)
            self.parents[child] = job

    def counts(self, top: UUID) -> Counter[str]:
        """Count the steps below a job, one by one."""
        found: Counter[str] = Counter()
        for job in self.jobs:
            if self._is_below(job, top):
                found.update(self.states.get((job, name), "pending") for name in REPORT.steps)
                for index in range(ITEMS if job in self.begun else 0):
                    unknown = "ready" if index < self.begun[job] else "pending"
                    found[self.states.get((job, f"parts[{index}]"), unknown)] += 1
        return found

    def _is_below(self, job: UUID | None, top: UUID) -> bool:
        return job is not None and (job == top or self._is_below(self.parents[job], top))


histories = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 400)), max_size=60)


def played(actions: list[tuple[str, int]]) -> RandomHistory:
    world = RandomHistory()
    for action, pick in actions:
        world.play(action, pick)
    return world


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
@given(histories, st.integers(1, 40), st.lists(st.integers(0, 12), min_size=1, max_size=6))
def test_a_batch_that_was_half_written_is_counted_once(
    actions: list[tuple[str, int]], size: int, written: list[int]
) -> None:
    history = played(actions).history
    views = HalfWriting(written)

    while views.halves:
        catch_up_until_it_breaks(history, views, size)
    catch_up(history.store, views, batch_size=5)

    assert contents(views) == contents(folded_at_once(history))


class PowerCut(Exception):
    pass


class HalfWriting(MemoryViewStore):
    """Writes only the first so many documents of some batches and not their position."""

    def __init__(self, halves: list[int]) -> None:
        super().__init__()
        self.halves = list(halves)

    def save(self, model: str, after: int, position: int, changes: Documents) -> None:
        if not self.halves or model != "jobs":
            return super().save(model, after, position, changes)
        left, part = self.halves.pop(), {}
        for table, views in changes.items():
            part[table] = dict(list(views.items())[:left])
            left -= len(part[table])
        super().save(model, after, after, part)
        raise PowerCut


def catch_up_until_it_breaks(history: History, views: HalfWriting, size: int) -> None:
    try:
        catch_up(history.store, views, batch_size=size)
        views.halves.clear()
    except PowerCut:
        pass


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


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_items_without_a_document_are_always_shared_out_whole(
    opened: int, begun: int, known: int
) -> None:
    counts = Counts(opened=opened, begun=begun, items_known=known).by_state()

    assert sum(counts.values()) == max(0, opened - known)
    assert all(count > 0 for count in counts.values())
