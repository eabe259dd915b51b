"""Totals by name equal a count of all documents and events, whatever happened."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.histories import History, definition, finish_report, half_done_report
from support.random_histories import ACTIONS, played

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.events import Error
from warrener.domain.ids import split_path
from warrener.domain.states import JOB_ENDED, STEP_ENDED
from warrener.domain.step_events import StepRetryScheduled
from warrener.projections.total_views import ALL_STEPS, BUCKETS, CODES_MAX, OTHER, TOTALS, TotalView
from warrener.projections.views import JOBS, STEPS, JobView, StepView
from warrener.services import figures as figures_of
from warrener.services.figures import figures
from warrener.services.logs import LogSet
from warrener.services.projector import apply_batch, catch_up

histories = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 400)), max_size=100)


def folded(history: History, batch_size: int = 7) -> MemoryViewStore:
    views = MemoryViewStore()
    catch_up(history.store, views, batch_size=batch_size)
    return views


def totals(views: MemoryViewStore) -> dict[tuple[str, str], TotalView]:
    found: Any = views.tables()[TOTALS].values()
    return {(each.job, each.step): each for each in found}


@settings(max_examples=150, deadline=None)
@given(histories)
def test_what_there_is_now_is_a_count_of_the_documents(actions: list[tuple[str, int]]) -> None:
    views = folded(played(actions).history)

    tables: Any = views.tables()
    jobs: dict[Any, JobView] = tables[JOBS]
    steps: dict[Any, StepView] = tables[STEPS]
    expected = Counter(
        (each.name, "", each.state) for each in jobs.values() if each.state not in JOB_ENDED
    )
    expected.update(
        (jobs[each.job].name, each.name, each.state)
        for each in steps.values()
        if each.state not in (*STEP_ENDED, "pending", "")
    )
    told = Counter(
        {
            (job, step, state): count
            for (job, step), total in totals(views).items()
            for state, count in total.now.items()
            if job
        }
    )
    assert told == expected
    whole: Counter[str] = Counter()
    for (_, step, state), count in expected.items():
        whole.update({state: count} if step else {})
    assert totals(views).get(ALL_STEPS, TotalView(partition=0, job="", step="*")).now == whole


@settings(max_examples=60, deadline=None)
@given(histories)
def test_what_there_ever_was_is_a_count_of_what_each_event_has_changed(
    actions: list[tuple[str, int]],
) -> None:
    history = played(actions).history
    views = MemoryViewStore()
    begun: Counter[str] = Counter()
    ended: Counter[tuple[str, str, str]] = Counter()
    before: dict[Any, str] = {}

    for positioned in history.store.log:
        apply_batch(views, [positioned], views.positions())
        tables: Any = views.tables()
        now = {key: each.state for key, each in {**tables[JOBS], **tables[STEPS]}.items()}
        for key in (key for key, state in now.items() if before.get(key) != state):
            is_step = isinstance(key, tuple)
            job = tables[JOBS][key[0] if is_step else key]
            begun[job.name] += key not in before and not is_step
            if now[key] in (STEP_ENDED if is_step else JOB_ENDED):
                ended[job.name, split_path(key[1])[0] if is_step else "", now[key]] += 1
        before = now

    found = totals(folded(history))
    assert {job: found[job, ""].begun for job in begun} == begun
    assert {
        (*name, state): count
        for name, total in found.items()
        for state, count in total.ended.items()
        if name[0]
    } == ended


def test_attempts_are_counted_by_outcome_code_and_time() -> None:
    history, job, child = half_done_report()
    finish_report(history, job, child)

    found = totals(folded(history))

    parts, whole = found["report", "parts"], found[ALL_STEPS]
    assert parts.attempts == {"succeeded": 5, "failed": 1}
    assert parts.failures == {"error": 1}
    assert parts.seconds == pytest.approx(2.5 + 4 * 0.5)
    assert parts.ended == {"succeeded": 6, "not_needed": 1}  # the fan-out itself is one
    assert whole.attempts["succeeded"] == 7
    assert whole.took[BUCKETS.index(0.5)] == 6
    assert whole.took[BUCKETS.index(5.0)] == 1
    assert found["report", "sorry"].ended == {"skipped": 1, "not_needed": 1}


def test_an_item_of_an_older_generation_that_ends_late_is_under_way_no_more() -> None:
    history, job, _ = half_done_report()
    history.rerun(job, ["parts"])
    before = totals(folded(history))["report", "parts"].now
    history.cancel(job, "parts[1]")

    found = totals(folded(history))["report", "parts"]

    assert before == {"retrying": 1}
    assert (found.now, found.ended) == ({}, {"succeeded": 1, "cancelled": 1})


def test_codes_beyond_a_number_are_counted_together() -> None:
    history = History()
    job = history.submit(definition("codes", a={"call": "a.b"}))
    for attempt in range(1, CODES_MAX + 4):
        history.release(job, "a", attempt)
        history.step(
            job,
            "a",
            StepRetryScheduled,
            attempt=attempt,
            error=Error(code=f"code-{attempt}", message=""),
            due=history.now,
            rule=0,
        )

    found = totals(folded(history))["codes", "a"].failures

    assert len(found) == CODES_MAX + 1
    assert (found["code-1"], found[OTHER]) == (1, 3)


def test_names_beyond_a_number_are_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures_of, "JOBS_NAMED_MAX", 2)
    history = History()
    for name, count in (("a", 3), ("b", 1), ("other", 2), ("d", 1)):
        for number in range(count):
            history.submit(definition(name, s={"call": "a.b"}), key=f"{name}-{number}")
    ended = history.submit(definition("d", s={"call": "a.b"}), key="d-ended")
    history.start(ended)
    history.succeed_job(ended)

    found = figures(LogSet([history.store]), folded(history), history.now)

    # `d` has most after `a`: its end counts, too.
    assert {job: total.begun for (job, _), total in found.jobs.by_name.items()} == {
        "a": 3,
        "d": 2,
        "other": 3,
    }
    assert found.jobs.left_out == 2
    assert found.jobs.whole.begun == 8
    assert dict(found.jobs.by_name["other", ""].now) == {"submitted": 3}
