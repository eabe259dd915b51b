"""What a run report says of random jobs with every feature: it adds up, and agrees with others."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import pairwise
from uuid import UUID

import pytest
from support.everything import Everything, run
from support.scale import scaled

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.events import JobRerun, JobSubmitted
from warrener.projections.report.critical import critical_path
from warrener.projections.report.fold import Times
from warrener.projections.report.model import JobTimes, StepTimes
from warrener.projections.report.summing import spans_of, summary_of
from warrener.services.logs import LogSet
from warrener.services.queries import Queries
from warrener.services.report.gather import run_report
from warrener.services.report.page import page

SEEDS = 32


@cache
def world_of(seed: int) -> Everything:
    return run(seed)


def queries_of(world: Everything) -> Queries:
    return Queries(LogSet([world.log]), MemoryViewStore())


def jobs_of(queries: Queries, root: UUID) -> list[UUID]:
    found = [each.recorded for each in queries.tree_events(root)]
    return [each.originator_id for each in found if isinstance(each.event, JobSubmitted)]


def check_path(times: Times, top: JobTimes, until: int) -> None:
    path = critical_path(times.jobs, top, until)

    assert sum(segment.length for segment in path) == until - top.begin
    assert all(segment.length > 0 for segment in path)
    for first, second in pairwise(path):
        assert first.end == second.begin


def check_step(job: JobTimes, step: StepTimes, begin: int, until: int) -> None:
    spans = spans_of(job, step, until)
    end = until if step.ended_at is None else step.ended_at

    assert sum(span.length for span in spans) == end - begin, (step.path, spans)
    assert all(span.length > 0 for span in spans)
    for first, second in pairwise(spans):
        assert first.end == second.begin


def check_job(times: Times, job: JobTimes, until: int) -> None:
    for name, step in job.steps.items():
        if step.kept:
            continue
        if name in job.plan.definition.steps:
            began = job.begin if job.started_at is None else job.started_at
            spans = spans_of(job, step, until)
            assert not spans or began <= spans[0].begin <= (job.rerun_at or began), spans
            check_step(job, step, spans[0].begin if spans else step.ended_at or until, until)
        for item in step.items.known.values() if step.items else ():
            assert step.items is not None
            check_step(job, item, step.items.opened_at, until)


@pytest.mark.parametrize("part", range(4))
def test_the_segments_of_the_critical_path_and_the_spans_of_steps_add_up(part: int) -> None:
    jobs = 0
    for seed in range(part, scaled(SEEDS), 4):
        world = world_of(seed)
        queries = queries_of(world)
        for root in world.roots:
            for job in jobs_of(queries, root):
                times = Times(job)
                times.fold(queries.tree_events(root))
                top = times.top
                assert top is not None
                until = times.now if top.ended_at is None else top.ended_at
                check_path(times, top, until)
                for each in times.jobs.values():
                    check_job(times, each, until)
                jobs += 1

    assert jobs > SEEDS // 4


@pytest.mark.parametrize("part", range(2))
def test_a_job_cut_off_anywhere_has_a_report_so_far(part: int) -> None:
    for seed in range(part, scaled(SEEDS) // 2, 2):
        world = world_of(seed)
        queries = queries_of(world)
        root = world.roots[0]
        times = Times(root)
        for number, positioned in enumerate(queries.tree_events(root)):
            times.take(positioned)
            if times.top is not None and number % 7 == 0:
                check_path(times, times.top, times.now + 1_000_000)
                check_job(times, times.top, times.now + 1_000_000)


def test_the_states_that_a_report_counts_are_those_that_show_counts() -> None:
    for seed in range(scaled(SEEDS) // 2):
        world = world_of(seed)
        queries = queries_of(world)
        for root in world.roots:
            times = Times(root)
            times.fold(queries.tree_events(root))
            top = times.top
            assert top is not None
            shown = queries.show(root, whole=False)

            assert (top.state, top.generation) == (shown.state, shown.generation)
            for name, step in shown.steps.items():
                known = top.steps.get(name)
                assert ("pending" if known is None else known.state) == step.state, (seed, name)
                if known is not None and known.items is not None and not known.kept:
                    found = known.items.by_state(ended=known.ended)
                    assert found == step.items, (seed, name)
                if known is not None and not known.kept:
                    assert (known.worker or None) == step.worker or step.attempts > known.attempts


def test_a_tree_without_reruns_has_as_many_steps_in_each_state_as_show_counts() -> None:
    compared = 0
    for seed in range(scaled(SEEDS)):
        world = world_of(seed)
        queries = queries_of(world)
        for root in world.roots:
            events = [each.recorded.event for each in queries.tree_events(root)]
            if any(isinstance(event, JobRerun) for event in events):
                continue
            times = Times(root)
            times.fold(queries.tree_events(root))
            assert times.top is not None
            counted = summary_of(times.jobs, times.top, times.now).states
            for state, count in queries.show(root, whole=False).counts.items():
                if state != "cancelled":  # items that never began are not told
                    assert counted.get(state, 0) == count, f"seed {seed}: {state}"
                    compared += 1

    assert compared > 3


def test_every_random_job_has_a_report_that_adds_up_and_a_page() -> None:
    for seed in range(scaled(SEEDS) // 2):
        world = world_of(seed)
        queries, logs = queries_of(world), LogSet([world.log])
        for root in world.roots:
            report = run_report(queries, logs, root)
            steps = queries.show(root, whole=False).steps
            states = {name: step.state for name, step in steps.items()}

            assert "</html>" in page(report, queries.definition(root), states, {})
            spent = sum(each.seconds for each in report.critical_path)
            assert spent == pytest.approx(report.elapsed_seconds)
            assert all(each.step_seconds >= 0 for each in report.totals)
            whole = report.elapsed_seconds + 1e-6
            for bar in report.bars:
                assert all(0 <= span.from_seconds < span.to_seconds <= whole for span in bar.spans)
                assert bar.above is None or bar.above < bar.row


def test_all_kinds_of_time_occur_in_random_jobs() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        world = world_of(seed)
        queries = queries_of(world)
        for root in world.roots:
            times = Times(root)
            times.fold(queries.tree_events(root))
            assert times.top is not None
            seen.update(summary_of(times.jobs, times.top, times.now).micros.keys())
            seen.update(each.kind for each in critical_path(times.jobs, times.top, times.now))

    expected = {"computing", "dependency", "held", "paused", "window", "worker", "retry"}
    expected |= {"user-action", "signal", "timer", "reactor"}
    assert expected <= set(seen), expected - set(seen)
