"""What every `ViewStore` owes. A new one is one more in `support.view_stores`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from support.histories import REPORT, START, History, definition, finish_report, half_done_report
from support.history_flow import queue, stage
from support.view_stores import VIEW_STORES, view_store_opener

from warrener.adapters import sqlite_generations
from warrener.adapters.memory_views import MemoryViewStore
from warrener.adapters.sqlite_queries import job_query
from warrener.adapters.sqlite_tables import SCHEMA_VERSION
from warrener.adapters.sqlite_views import SqliteViewStore
from warrener.domain.definition.model import Rate
from warrener.domain.errors import Conflict, StoredDataError, StoreUnavailable
from warrener.projections.attempt_views import ATTEMPTS, TRACKS, AttemptView
from warrener.projections.control_views import ACTIONS, FLEET, LIMITS
from warrener.projections.flow_views import FLOW, FLOW_POINTS, INCIDENTS
from warrener.projections.ports import (
    ActionFilter,
    IncidentFilter,
    JobCursor,
    JobFilter,
    StoppedModel,
    ViewStore,
    Waiters,
)
from warrener.projections.total_views import ALL_JOBS, TOTALS
from warrener.projections.views import DEFINITIONS, HISTORY, JOBS, STEPS, StepView
from warrener.services.projector import catch_up


@pytest.fixture(params=VIEW_STORES)
def views(request: pytest.FixtureRequest) -> Iterator[ViewStore]:
    store = view_store_opener(request.param, request)()
    yield store
    store.close()


def test_an_empty_store_has_no_positions_and_no_documents(views: ViewStore) -> None:
    assert views.positions() == {}
    assert views.load({JOBS: [UUID(int=1)]}) == {JOBS: {}}
    assert views.find_jobs(JobFilter()) == []


def test_documents_come_back_as_they_were_saved(views: ViewStore) -> None:
    history, job, child = half_done_report()
    finish_report(history, job, child)
    plain = MemoryViewStore()
    catch_up(history.store, plain)

    catch_up(history.store, views, batch_size=3)

    keys = {table: list(documents) for table, documents in plain.tables().items()}
    assert views.load(keys) == plain.tables()
    assert views.positions() == dict.fromkeys(
        ("jobs", "history", "control", "flow", "attempts"), history.store.head()
    )


def test_a_batch_from_another_position_is_refused_and_writes_nothing(views: ViewStore) -> None:
    step = StepView(position=3, job=UUID(int=1), path="a", root=UUID(int=1))
    views.save("jobs", 0, 2, {})

    with pytest.raises(Conflict):
        views.save("jobs", 0, 3, {STEPS: {step.key: step}})

    assert views.positions() == {"jobs": 2}
    assert views.load({STEPS: [step.key]}) == {STEPS: {}}


def test_changing_a_loaded_document_changes_nothing_stored(views: ViewStore) -> None:
    history, job, _ = half_done_report()
    catch_up(history.store, views)

    loaded = views.load({JOBS: [job]})[JOBS][job]
    loaded.counts.states["succeeded"] = 99
    loaded.state = "broken"

    assert views.load({JOBS: [job]})[JOBS][job].state == "running"
    assert views.load({JOBS: [job]})[JOBS][job].counts.states["succeeded"] == 2


def test_a_reset_store_is_folded_again_to_the_same_documents(views: ViewStore) -> None:
    history, job, child = half_done_report()
    catch_up(history.store, views)
    keys = {JOBS: [job, child], STEPS: [(job, "parts"), (job, "parts[1]")], HISTORY: [(0, 5)]}
    before = views.load(keys)

    views.reset()
    emptied = views.positions()
    catch_up(history.store, views)

    assert emptied == {}
    assert views.load(keys) == before


def test_views_of_another_log_are_built_anew(views: ViewStore) -> None:
    longer, job, _ = half_done_report()
    catch_up(longer.store, views)
    other = History()
    fresh = other.submit(definition("other"), key="fresh")

    catch_up(other.store, views)

    assert views.positions()["jobs"] == other.store.head()
    assert list(views.load({JOBS: [job, fresh]})[JOBS]) == [fresh]


def jobs_of(views: ViewStore, wanted: JobFilter) -> list[UUID]:
    return [view.job for view in views.find_jobs(wanted)]


def three_jobs(views: ViewStore) -> tuple[UUID, UUID, UUID, UUID]:
    history = History()
    red = history.submit(definition("red"), key="1", labels={"team": "x", "env": "live"})
    history.start(red)
    blue = history.submit(REPORT, key="2", labels={"team": "x"})
    child = history.open_child(blue, "sub", REPORT)
    green = history.submit(definition("green"), key="3", labels={"team": "y", "env": "live"})
    catch_up(history.store, views)
    return red, blue, child, green


def test_jobs_are_listed_newest_first_and_bounded(views: ViewStore) -> None:
    red, blue, child, green = three_jobs(views)

    assert jobs_of(views, JobFilter()) == [green, blue, red]
    assert jobs_of(views, JobFilter(limit=2)) == [green, blue]
    assert jobs_of(views, JobFilter(roots_only=False)) == [green, child, blue, red]


def test_jobs_are_found_by_state_name_label_and_time(views: ViewStore) -> None:
    red, blue, child, green = three_jobs(views)

    assert jobs_of(views, JobFilter(state="running")) == [red]
    assert jobs_of(views, JobFilter(name="report", roots_only=False)) == [child, blue]
    assert jobs_of(views, JobFilter(labels={"team": "x"})) == [blue, red]
    assert jobs_of(views, JobFilter(labels={"team": "x", "env": "live"})) == [red]
    assert jobs_of(views, JobFilter(labels={"team": "x"}, state="submitted")) == [blue]
    assert jobs_of(views, JobFilter(labels={"env": "live"}, name="green")) == [green]
    assert jobs_of(views, JobFilter(labels={"no": "such"})) == []
    assert jobs_of(views, JobFilter(since=START + timedelta(seconds=8))) == [green]
    assert jobs_of(views, JobFilter(since=START + timedelta(days=1))) == []


def test_a_label_with_an_equals_sign_is_not_mistaken_for_another(views: ViewStore) -> None:
    history = History()
    job = history.submit(REPORT, labels={"a=b": "c"})
    catch_up(history.store, views)

    assert jobs_of(views, JobFilter(labels={"a=b": "c"})) == [job]
    assert jobs_of(views, JobFilter(labels={"a": "b=c"})) == []


def test_ids_are_found_by_range(views: ViewStore) -> None:
    known = sorted(three_jobs(views))

    assert views.jobs_between(known[0], known[-1], 10) == known
    assert views.jobs_between(known[1], known[1], 10) == [known[1]]
    assert views.jobs_between(known[0], known[-1], 2) == known[:2]


def test_children_come_by_step_and_index_and_page_by_page(views: ViewStore) -> None:
    history = History()
    top = history.submit(REPORT)
    paths = ["parts[10]", "parts[2]", "sub", "parts[0]"]
    made = {path: history.open_child(top, path, REPORT) for path in paths}
    catch_up(history.store, views)
    expected = [made[path] for path in ("parts[0]", "parts[2]", "parts[10]", "sub")]

    first = views.children(top, None, 3)
    rest = views.children(top, first[-1], 3)

    assert [view.job for view in (*first, *rest)] == expected
    assert views.children(made["sub"], None, 3) == []


def test_named_steps_and_items_are_told_apart(views: ViewStore) -> None:
    history, job, _ = half_done_report()
    catch_up(history.store, views)

    assert {step.path for step in views.named_steps(job)} == {"load", "parts", "sub"}
    parts, load = step_of(views, job, "parts"), step_of(views, job, "load")
    assert [step.path for step in views.items(parts)] == ["parts[0]", "parts[1]"]
    assert [step.path for step in views.items(parts, after=0)] == ["parts[1]"]
    assert [step.path for step in views.items(parts, limit=1)] == ["parts[0]"]
    assert [step.path for step in views.items(parts, state="retrying")] == ["parts[1]"]
    assert views.items(load) == []


def test_items_of_an_older_generation_are_left_out(views: ViewStore) -> None:
    history, job, _ = half_done_report()
    history.rerun(job, ["parts", "merge", "sorry"])
    catch_up(history.store, views)
    between = views.items(step_of(views, job, "parts"))
    history.open_items(job, "parts", count=2, begun=2)
    history.renew(job, "parts[1]")
    history.release(job, "parts[1]", attempt=2)
    catch_up(history.store, views)

    items = views.items(step_of(views, job, "parts"))

    assert between == []
    assert [(item.path, item.state, item.attempts) for item in items] == [
        ("parts[1]", "released", 2)
    ]
    assert [
        item.path for item in views.items(step_of(views, job, "parts"), state="succeeded")
    ] == []


def test_a_list_of_jobs_goes_on_after_any_of_them(views: ViewStore) -> None:
    red, blue, *_ = three_jobs(views)
    found = views.find_jobs(JobFilter(roots_only=False))
    after = [JobCursor(view.submitted_at, view.job) for view in found]

    assert jobs_of(views, JobFilter(after=after[0])) == [blue, red]
    assert jobs_of(views, JobFilter(after=after[1], roots_only=False)) == [blue, red]
    assert jobs_of(views, JobFilter(after=after[0], labels={"team": "x"}, limit=1)) == [blue]
    assert jobs_of(views, JobFilter(after=after[2], name="report", roots_only=False)) == []
    assert jobs_of(views, JobFilter(after=after[3])) == []


def test_jobs_submitted_at_the_same_time_are_paged_without_loss(views: ViewStore) -> None:
    history = History()
    history.define(REPORT)
    jobs = []
    for number in range(5):
        history.now = START
        jobs.append(history.submit(REPORT, key=str(number)))
    catch_up(history.store, views)
    first = views.find_jobs(JobFilter(limit=2))

    rest = jobs_of(views, JobFilter(after=JobCursor(first[-1].submitted_at, first[-1].job)))

    assert len({view.submitted_at for view in views.find_jobs(JobFilter())}) == 1
    assert [view.job for view in first] + rest == sorted(jobs, reverse=True)


def test_jobs_submitted_before_a_time_are_found(views: ViewStore) -> None:
    red, blue, _, green = three_jobs(views)
    (when,) = [view.submitted_at for view in views.find_jobs(JobFilter(name="green"))]

    assert jobs_of(views, JobFilter(until=when)) == [blue, red]
    assert jobs_of(views, JobFilter(until=when, labels={"team": "y"})) == []
    assert jobs_of(views, JobFilter(since=when, until=when + timedelta(seconds=1))) == [green]


def test_jobs_are_counted_up_to_the_limit(views: ViewStore) -> None:
    three_jobs(views)

    assert views.count_jobs(JobFilter(limit=10)) == 3
    assert views.count_jobs(JobFilter(limit=2)) == 2
    assert views.count_jobs(JobFilter(state="running", limit=10)) == 1
    assert views.count_jobs(JobFilter(state="failed", limit=10)) == 0
    assert views.count_jobs(JobFilter(roots_only=False, labels={"team": "x"}, limit=10)) == 2


def test_attempts_of_a_step_come_by_number_and_page_by_page(views: ViewStore) -> None:
    history, job, child = half_done_report()
    finish_report(history, job, child)
    catch_up(history.store, views)

    tried = views.attempts(job, "parts[1]")

    assert [(each.attempt, each.outcome) for each in tried] == [(1, "retry"), (2, "succeeded")]
    assert [each.attempt for each in views.attempts(job, "parts[1]", after=1)] == [2]
    assert [each.attempt for each in views.attempts(job, "parts[1]", limit=1)] == [1]
    assert [each.kind for each in views.attempts(job, "parts")] == ["for_each"]
    assert views.attempts(job, "sorry") == []


def test_a_timeline_has_every_attempt_of_a_tree_once_in_order_of_time(views: ViewStore) -> None:
    history, job, child = half_done_report()
    history.release(child, "load")
    history.release(job, "parts[1]", attempt=2)
    catch_up(history.store, views)
    pages: list[AttemptView] = []

    while page := views.timeline(job=None, root=job, after=pages[-1] if pages else None, limit=2):
        pages += page

    assert [(each.path, each.attempt) for each in pages] == [
        *(("load", 1), ("parts", 0), ("sub", 0), ("parts[0]", 1), ("parts[1]", 1)),
        *(("load", 1), ("parts[1]", 2)),
    ]
    own = views.timeline(job=child, root=None, after=None, limit=9)
    assert [each.job for each in own] == [child]
    assert views.timeline(job=child, root=None, after=own[0], limit=9) == []
    assert views.timeline(job=None, root=child, after=None, limit=9) == []


def test_attempts_that_began_at_the_same_time_are_paged_without_loss(views: ViewStore) -> None:
    job, root = UUID(int=7), UUID(int=1)
    made = [
        AttemptView(position=1, job=UUID(int=n), path=path, attempt=2, root=root, begun_at=START)
        for n in (7, 8)
        for path in ("a", "b", "c")
    ]
    views.save("attempts", 0, 1, {ATTEMPTS: {each.key: each for each in made}})

    for after, expected in ((made[1], made[2:]), (made[2], made[3:]), (made[5], [])):
        assert views.timeline(job=None, root=root, after=after, limit=9) == expected
    assert views.timeline(job=job, root=None, after=made[0], limit=9) == made[1:3]


def test_incidents_are_listed_newest_first_and_found_by_state_time_and_id(
    views: ViewStore,
) -> None:
    history = History()
    first, second, third = (history.starve() for _ in range(3))
    history.end_starving(second)
    catch_up(history.store, views)

    def found(**wanted: Any) -> list[UUID]:
        return [view.incident for view in views.find_incidents(IncidentFilter(**wanted))]

    opened = {view.incident: view.opened_at for view in views.find_incidents(IncidentFilter())}
    assert found() == [third, second, first]
    assert found(state="open", limit=1) == [third]
    assert found(state="open") == [third, first]
    assert found(state="closed") == [second]
    assert found(since=opened[second]) == [third, second]
    assert found(since=opened[second], state="open") == [third]
    assert views.incidents_between(UUID(int=0), UUID(int=2**128 - 1), 2) == sorted(opened)[:2]
    assert views.incidents_between(second, second, 2) == [second]


def test_the_flow_of_each_partition_is_kept_whole(views: ViewStore) -> None:
    worlds = [of_flow(partition) for partition in (0, 3)]
    plain = MemoryViewStore()
    for world in worlds:
        catch_up(world.store, plain)
        catch_up(world.store, views, batch_size=4)

    keys = {table: list(plain.tables()[table]) for table in (FLOW, FLOW_POINTS, INCIDENTS)}
    assert views.load(keys) == {table: plain.tables()[table] for table in keys}
    assert sorted(keys[FLOW]) == [0, 3]

    views.forget(3, views.positions(3))
    left = views.load(keys)
    assert list(left[FLOW]) == [0]
    assert {partition for partition, _ in left[FLOW_POINTS]} == {0}
    assert {view.partition for view in left[INCIDENTS].values()} == {0}


def of_flow(partition: int) -> History:
    """Return a history in which everything happens to the flow that can."""
    history = History(partition)
    history.set_flow(policy="fair", weights={"a": 2.0})
    for number in range(3):
        figures = stage("load", ready=number, held={"slots api/": 2}, wait_p95=1.5)
        history.sample(queue(figures, served={-1: 2, 5: number}, unknown=("a.b",)))
    incident = history.starve(evidence={"slots": 4.0, "producer": "load"})
    history.propose(incident, request=UUID(int=7))
    history.take_measure(incident, by="ada")
    history.end_measure(incident, why="no-help")
    history.end_starving(incident)
    history.starve()
    history.sample(queue(stage("load")), incidents=(incident,))
    return history


STOPPED = StoppedModel(
    model="jobs", partition=3, position=5, event="JobStarted", reason="a fault", at=START
)


def test_a_stopped_model_is_known_until_it_has_passed_the_event(views: ViewStore) -> None:
    views.stop(STOPPED)
    views.save("jobs", 0, 4, {}, 3)
    views.save("jobs", 0, 9, {}, 2)
    views.save("history", 0, 9, {}, 3)
    before = views.stopped()

    views.save("jobs", 4, 5, {}, 3)

    assert before == [STOPPED]
    assert views.stopped() == []


def test_what_is_said_last_of_a_stopped_model_counts(views: ViewStore) -> None:
    again = StoppedModel(model="jobs", partition=3, position=7, reason="another", at=START)
    other = StoppedModel(model="control", partition=4, position=7, reason="b", at=START)
    for each in (STOPPED, other, again):
        views.stop(each)

    assert views.stopped() == [other, again]
    views.reset()
    assert views.stopped() == []


def test_forgetting_a_partition_leaves_the_others_alone(views: ViewStore) -> None:
    history, job, _ = half_done_report()
    catch_up(history.store, views)
    step = StepView(position=9, job=UUID(int=1), path="a", root=UUID(int=1))
    views.save("jobs", 0, 9, {STEPS: {step.key: step}}, 1)
    views.save("jobs", 0, 9, {}, 3)
    views.stop(STOPPED)
    views.stop(StoppedModel(model="jobs", partition=0, position=99, reason="a", at=START))

    views.forget(0, views.positions(0))

    assert views.positions(0) == {}
    assert views.positions(1) == {"jobs": 9}
    assert views.load({JOBS: [job], STEPS: [step.key, (job, "load")], HISTORY: [(0, 2)]}) == {
        JOBS: {},
        STEPS: {step.key: step},
        HISTORY: {},
    }
    assert views.load({ATTEMPTS: [(job, "load", 1)], TRACKS: [(job, "")]}) == {
        ATTEMPTS: {},
        TRACKS: {},
    }
    assert jobs_of(views, JobFilter(labels={"team": "red"})) == []
    assert list(views.load({DEFINITIONS: [REPORT.hash]})[DEFINITIONS]) == [REPORT.hash]
    assert views.stopped() == [STOPPED]


def test_a_forgotten_partition_is_folded_again_to_the_same_documents(views: ViewStore) -> None:
    history, job, child = half_done_report()
    catch_up(history.store, views)
    keys = {JOBS: [job, child], STEPS: [(job, "parts")], ATTEMPTS: [(job, "parts[1]", 1)]}
    before = views.load(keys)

    views.forget(0, views.positions(0))
    catch_up(history.store, views)

    assert views.load(keys) == before


def test_a_partition_that_somebody_works_on_is_not_forgotten(views: ViewStore) -> None:
    step = StepView(position=9, job=UUID(int=1), path="a", root=UUID(int=1))
    seen = {"jobs": 9}
    views.save("jobs", 0, 9, {STEPS: {step.key: step}}, 1)
    views.save("jobs", 9, 10, {}, 1)

    with pytest.raises(Conflict):
        views.forget(1, seen)

    assert views.positions(1) == {"jobs": 10}
    assert list(views.load({STEPS: [step.key]})[STEPS]) == [step.key]


def test_pruned_jobs_are_forgotten_and_the_others_stay(views: ViewStore) -> None:
    history, job, child = half_done_report()
    history.submit(definition("other"), key="other", labels={"team": "red"})
    catch_up(history.store, views)
    everything = MemoryViewStore()
    catch_up(history.store, everything)
    kept = {
        table: {
            key: view
            for key, view in documents.items()
            if getattr(view, "job", None) not in {job, child} or table == ACTIONS
        }
        for table, documents in everything.tables().items()
    }

    for _ in range(2):
        views.forget_jobs([job, child, UUID(int=7)])

    keys = {table: list(documents) for table, documents in everything.tables().items()}
    assert views.load(keys) == kept
    assert len(jobs_of(views, JobFilter(labels={"team": "red"}))) == 1
    assert len(kept[JOBS]) == 1
    assert views.positions() == everything.positions()
    assert views.history(job=job, root=None, after=0, limit=9) == []
    assert views.history(job=None, root=job, after=0, limit=9) == []
    assert views.children(job, None, 9) == []


def step_of(views: ViewStore, job: UUID, path: str) -> StepView:
    found: StepView = views.load({STEPS: [(job, path)]})[STEPS][job, path]
    return found


def test_who_waits_for_an_answer_is_counted_by_step_and_job(views: ViewStore) -> None:
    history, job, child = half_done_report()
    request = history.ask(job, "parts[0]", subject="facebook:a")
    for owner, path, patience in [(job, "parts[1]", 60.0), (job, "parts[0]", 9.0)]:
        history.release(owner, path)
        history.park(owner, path, request, patience)
    first_end = history.now + timedelta(seconds=9)
    history.release(child, "load")
    history.park(child, "load", request)
    catch_up(history.store, views)

    waiters = views.waiters(request, 2)
    history.ready_again(job, "parts[0]")
    catch_up(history.store, views)
    fewer = views.waiters(request, 9)

    assert (waiters.steps, waiters.jobs, waiters.until) == (3, 2, first_end)
    assert [step.key for step in waiters.first] == sorted(
        [(job, "parts[0]"), (job, "parts[1]"), (child, "load")]
    )[:2]
    assert (fewer.steps, fewer.jobs, len(fewer.first)) == (2, 2, 2)
    assert fewer.until is not None
    assert fewer.until > first_end
    assert views.waiters(UUID(int=9), 9) == Waiters()


def test_requests_are_found_by_state_and_cause_the_newest_first(views: ViewStore) -> None:
    history = History()
    job = history.submit(REPORT)
    old, other, new = (
        history.ask(job, "load", subject=subject) for subject in ("a", "b:\x1f", "a")
    )
    history.answer(old, {"x": 1})
    catch_up(history.store, views)

    def found(**wanted: Any) -> list[UUID]:
        return [view.request for view in views.find_actions(ActionFilter(**wanted))]

    assert found() == [new, other, old]
    assert found(limit=1) == [new]
    assert found(state="open") == [new, other]
    assert found(subject="a") == [new, old]
    assert found(subject="a", state="answered") == [old]
    assert found(subject="c") == []
    low, high = sorted((old, new))
    assert set(views.actions_between(low, high, 9)) >= {low, high}
    assert views.actions_between(low, low, 9) == [low]


def test_limits_come_by_name(views: ViewStore) -> None:
    history = History()
    for name in ("b", "a", "c"):
        history.change_limit(name, slots=3)
    history.change_limit("b", slots=4, rate=Rate(20, 60), burst=5, by="ada", reason="busy")
    history.change_fleet({"default": 4}, "crm.load")
    catch_up(history.store, views)

    assert [(limit.name, limit.slots) for limit in views.limits(2)] == [("a", 3), ("b", 4)]
    (changed,) = views.load({LIMITS: [("b", 0)]})[LIMITS].values()
    assert (changed.rate, changed.burst, changed.by) == (Rate(20, 60), 5, "ada")
    (fleet,) = views.load({FLEET: [0]})[FLEET].values()
    assert (fleet.slots, fleet.endpoints) == ({"default": 4}, ("crm.load",))


def test_totals_come_by_what_has_happened_and_all_of_them_by_key(views: ViewStore) -> None:
    history, job, child = half_done_report()
    finish_report(history, job, child)
    for number in range(3):
        history.submit(definition("often", a={"call": "a.b"}), key=f"often-{number}")
    history.submit(definition("Once", a={"call": "a.b"}), key="once")
    catch_up(history.store, views, batch_size=2)

    jobs = [(each.job, each.begun, each.now) for each in views.totals(of_steps=False, limit=9)]
    steps = [(each.job, each.step) for each in views.totals(of_steps=True, limit=2)]
    (whole,) = views.load({TOTALS: [(0, *ALL_JOBS)]})[TOTALS].values()

    assert jobs == [
        ("report", 2, {}),
        ("often", 3, {"submitted": 3}),
        ("Once", 1, {"submitted": 1}),
    ]
    assert steps == [("report", "parts"), ("report", "load")]
    assert (whole.begun, whole.names, whole.ended) == (6, 3, {"succeeded": 2})
    assert views.totals(of_steps=False, limit=1)[0].job == "report"
    views.forget(0, views.positions())
    assert views.totals(of_steps=True, limit=9) == []


def test_the_slowest_steps_of_a_tree_come_first(views: ViewStore) -> None:
    history, job, child = half_done_report()
    history.release(child, "load")
    history.succeed(child, "load", seconds=9.0)
    catch_up(history.store, views)

    slowest = [(step.job, step.path, step.seconds) for step in views.slowest(job, 10)]

    assert slowest == [(child, "load", 9.0), (job, "parts[0]", 2.5), (job, "load", 0.5)]
    assert [step.path for step in views.slowest(job, 1, offset=1)] == ["parts[0]"]


def test_history_is_found_by_job_and_by_tree_in_order_of_position(views: ViewStore) -> None:
    history, job, child = half_done_report()
    catch_up(history.store, views)

    own = [row.position for row in views.history(job=child, root=None, after=0, limit=99)]
    tree = [row.position for row in views.history(job=None, root=job, after=0, limit=99)]

    assert tree == list(range(2, history.store.head() + 1))
    assert [history.store.log[at - 1].recorded.originator_id for at in own] == [child, child]
    assert [row.position for row in views.history(job=None, root=job, after=4, limit=2)] == [5, 6]


def test_a_definition_is_kept_with_its_text(views: ViewStore) -> None:
    history, *_ = half_done_report()
    catch_up(history.store, views)

    kept = views.load({DEFINITIONS: [REPORT.hash]})[DEFINITIONS][REPORT.hash]

    assert (kept.name, kept.version, kept.steps) == ("report", 1, 5)
    assert kept.json.encode() == REPORT.to_json()


# --- SQLite alone ---------------------------------------------------------------------------------


def test_two_sqlite_stores_on_one_file_share_the_work(tmp_path: Path) -> None:
    history, job, _ = half_done_report()
    one, two = (SqliteViewStore(str(tmp_path / "views.db")) for _ in range(2))

    catch_up(history.store, one, batch_size=4)
    history.fail_job(job)
    catch_up(history.store, two)
    catch_up(history.store, one)

    assert one.load({JOBS: [job]})[JOBS][job].state == "failed"
    assert one.positions() == two.positions()


def test_views_of_an_older_layout_are_dropped_and_other_tables_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, job, _ = half_done_report()
    path = str(tmp_path / "both.db")
    with sqlite3.connect(path) as log:
        log.execute("CREATE TABLE stored_events (position INTEGER PRIMARY KEY)")
        log.execute("INSERT INTO stored_events VALUES (7)")
    old = SqliteViewStore(path)
    catch_up(history.store, old)
    old.close()

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_generations, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
        new = SqliteViewStore(path)

    assert new.positions() == {}
    catch_up(history.store, new)
    assert new.load({JOBS: [job]})[JOBS][job].state == "running"
    assert log.execute("SELECT position FROM stored_events").fetchall() == [(7,)]
    with pytest.raises(StoredDataError, match="newer version"):
        SqliteViewStore(path)


def test_views_can_be_read_while_another_process_writes_to_the_file(tmp_path: Path) -> None:
    history, job, _ = half_done_report()
    path = str(tmp_path / "both.db")
    catch_up(history.store, SqliteViewStore(path))
    with sqlite3.connect(path, isolation_level=None) as log:
        log.execute("BEGIN IMMEDIATE")

        views = SqliteViewStore(path)

        assert views.load({JOBS: [job]})[JOBS][job].state == "running"
        log.execute("ROLLBACK")


def test_a_file_that_is_no_database_is_one_of_our_errors(tmp_path: Path) -> None:
    path = tmp_path / "views.db"
    path.write_text("this is not a database, it is a text of more than a hundred characters" * 9)

    with pytest.raises(StoreUnavailable, match="read models"):
        SqliteViewStore(str(path))


def test_a_batch_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    views = SqliteViewStore(str(tmp_path / "views.db"))
    good = StepView(position=1, job=UUID(int=1), path="a", root=UUID(int=1))
    bad = StepView(position=1, job=UUID(int=1), path="b", root=UUID(int=1), state=None)  # type: ignore[arg-type]

    with pytest.raises(StoreUnavailable):
        views.save("jobs", 0, 1, {STEPS: {good.key: good, bad.key: bad}})

    assert views.positions() == {}
    assert views.load({STEPS: [good.key]}) == {STEPS: {}}


FILTERS = [
    JobFilter(
        roots_only=roots,
        state=state,
        name=name,
        labels=labels,
        since=since,
        until=until,
        after=after,
    )
    for roots in (True, False)
    for state in (None, "failed")
    for name in (None, "report")
    for labels in ({}, {"team": "x"}, {"team": "x", "env": "y"})
    for since in (None, START)
    for until in (None, START)
    for after in (None, JobCursor(START, UUID(int=1)))
]


@pytest.mark.parametrize("wanted", FILTERS)
def test_no_list_of_jobs_scans_a_table_or_sorts(tmp_path: Path, wanted: JobFilter) -> None:
    path = str(tmp_path / "views.db")
    SqliteViewStore(path).close()

    plan = explain(path, *job_query(wanted))

    assert not [line for line in plan if "TEMP B-TREE" in line]
    assert not [line for line in plan if line.startswith("SCAN") and "USING" not in line]


def test_no_other_query_scans_a_table_or_sorts(tmp_path: Path) -> None:
    path = str(tmp_path / "views.db")
    views = SqliteViewStore(path)
    asked: list[str] = []
    views._db.set_trace_callback(asked.append)
    job = UUID(int=1)
    fan_out = StepView(job=job, path="parts", root=job)
    for state in (None, "failed"):
        views.items(fan_out, state=state)
        for subject in (None, "a"):
            views.find_actions(ActionFilter(state=state, subject=subject))
    views.actions_between(job, job, 1)
    views.waiters(job, 1)
    views.limits(1)
    views.totals(of_steps=True, limit=1)
    for state in (None, "open"):
        for since in (None, START):
            views.find_incidents(IncidentFilter(state=state, since=since))
    views.incidents_between(job, job, 1)
    views.jobs_between(job, job, 1)
    views.children(job, None, 1)
    views.named_steps(job)
    views.slowest(job, 1)
    attempt = AttemptView(job=job, path="a", attempt=1, root=job, begun_at=START)
    views.attempts(job, "a")
    for after in (None, attempt):
        views.timeline(job=job, root=None, after=after, limit=1)
        views.timeline(job=None, root=job, after=after, limit=1)
    views.stopped()
    views.history(job=job, root=None, after=0, limit=1)
    views.history(job=None, root=job, after=0, limit=1)
    views.load({JOBS: [job], STEPS: [(job, "a")], DEFINITIONS: ["a"], HISTORY: [(0, 1)]})
    views.load({ATTEMPTS: [attempt.key], TRACKS: [(job, "a")]})
    views.load({ACTIONS: [job], LIMITS: [("a", 0)], FLEET: [0]})
    views.load({TOTALS: [(0, "a", "b")]})
    views.load({FLOW: [0], FLOW_POINTS: [(0, 1)], INCIDENTS: [job]})
    views._db.set_trace_callback(None)

    plans = {sql: explain(path, sql, ()) for sql in asked}

    assert len(plans) == 41
    for sql, plan in plans.items():
        assert not [line for line in plan if "TEMP B-TREE" in line], (sql, plan)
        scanned = [line for line in plan if line.startswith("SCAN")]
        assert not [line for line in scanned if "view_" in line and "INDEX" not in line], sql
        assert "WHERE" not in sql or any(line.startswith("SEARCH") for line in plan), (sql, plan)


def explain(path: str, sql: str, values: tuple[object, ...]) -> list[str]:
    with sqlite3.connect(path) as db:
        return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
