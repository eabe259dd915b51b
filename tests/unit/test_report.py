"""Where the time of a job went: what events mean for it, and what the report says of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.histories import START, History, definition, finish_report, half_done_report
from support.situations import CALL, Estate

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import UnknownJob
from warrener.domain.events import Error, JobPaused, JobRerun, JobResumed
from warrener.domain.step_events import (
    StepCancelled,
    StepFailed,
    StepOpened,
    StepParked,
    StepReadied,
    StepSucceeded,
)
from warrener.projections.report.critical import SEGMENTS_MAX, Segment, critical_path
from warrener.projections.report.fold import Times
from warrener.projections.report.model import SPANS_MAX, micros
from warrener.projections.report.profile import CELLS, Profile
from warrener.projections.report.records import ITEMS_KEPT
from warrener.projections.report.summing import summary_of
from warrener.services.local_run import LocalRun
from warrener.services.logs import LogSet
from warrener.services.queries import Queries
from warrener.services.report import held as held_back
from warrener.services.report.gather import run_report
from warrener.services.report.redaction import without_secrets
from warrener.services.report.shapes import Report
from warrener.services.shapes import Error as ErrorShape

CHAIN = definition("chain", a={"call": "t.a"}, b={"call": "t.b", "after": ["a"]})


def report_of(history: History, job: UUID) -> Report:
    logs = LogSet([history.store])
    return run_report(Queries(logs, MemoryViewStore()), logs, job, history.now)


def told(report: Report) -> list[tuple[str, str, float]]:
    """Return step, kind and seconds of each segment of the critical path."""
    return [(each.path, each.kind, each.seconds) for each in report.critical_path]


def seconds_of(report: Report, path: str) -> dict[str, float]:
    return next(bar.seconds for bar in report.bars if bar.path == path)


def held(seconds: dict[str, float]) -> float:
    """Return how long a step was ready and not released; some of it is told by what `why` says."""
    return sum(seconds.get(kind, 0.0) for kind in ("held", "reactor", "turn"))


def begun(wanted: JobDefinition = CHAIN, step: str = "a") -> tuple[History, UUID]:
    """A job of which a step is ready since the third second."""
    history = History()
    job = history.submit(wanted)
    history.start(job)
    history.advance(job, readied={step: ()})
    return history, job


def finish(history: History, job: UUID) -> None:
    """Do step `b` of a chain, and end the job."""
    history.advance(job, settled={"a": "succeeded"}, readied={"b": ()})
    history.release(job, "b")
    history.succeed(job, "b", seconds=1.0)
    history.advance(job, settled={"b": "succeeded"})
    history.succeed_job(job)


# --- one step ------------------------------------------------------------------------------------


def test_an_attempt_waits_for_its_release_and_for_a_worker_then_it_computes() -> None:
    history, job = begun()
    history.now += timedelta(seconds=4)
    history.release(job, "a")
    history.now += timedelta(seconds=9)
    history.succeed(job, "a", seconds=1.0)

    found = seconds_of(report_of(history, job), "a")

    # Ready at 3 s, released at 8 s; the worker began at 17 s, and its report came a second later.
    assert (found["dependency"], found["worker"], found["computing"]) == (1.0, 9.0, 1.0)
    assert held(found) == 5.0


@pytest.mark.parametrize("skew", [-3600.0, -5.0, 5.0, 3600.0])
def test_a_workers_clock_may_be_wrong_and_what_it_took_is_still_right(skew: float) -> None:
    history, job = begun()
    history.release(job, "a")
    began = history.now + timedelta(seconds=skew)
    history.now += timedelta(seconds=9)
    took = timedelta(seconds=6)
    history.step(
        job, "a", StepSucceeded, attempt=1, worker="w", started_at=began, ended_at=began + took
    )

    found = seconds_of(report_of(history, job), "a")

    assert found["computing"] == 6.0
    assert sum(found.values()) == 12.0
    assert min(found.values()) > 0


def test_work_that_seems_longer_than_its_attempt_is_cut() -> None:
    history, job = begun()
    history.release(job, "a")
    began = history.now - timedelta(days=1)
    history.step(
        job, "a", StepSucceeded, attempt=1, worker="w", started_at=began, ended_at=history.now
    )

    assert seconds_of(report_of(history, job), "a")["computing"] == 1.0


def test_a_beat_tells_when_an_attempt_that_timed_out_had_begun() -> None:
    history, job = begun()
    history.release(job, "a")
    history.begin(job, "a")
    history.now += timedelta(seconds=29)
    lost = Error(code="beat-timeout", message="silent")
    history.step(job, "a", StepFailed, error=lost, attempt=1)

    found = seconds_of(report_of(history, job), "a")

    assert (found["worker"], found["computing"]) == (1.0, 30.0)


def test_a_retry_waits_until_it_is_due_and_is_held_back_after_that() -> None:
    history, job = begun()
    history.release(job, "a")
    history.retry(job, "a", due=30.0)
    history.now += timedelta(seconds=40)
    history.release(job, "a", attempt=2)
    history.succeed(job, "a", attempt=2, seconds=1.0)

    report = report_of(history, job)

    found = seconds_of(report, "a")
    assert (found["retry"], held(found)) == (30.0, 1.0 + 11.0)
    (again,) = report.retries
    assert (again.path, again.attempts, again.codes) == ("a", 2, ("error",))
    assert again.lost_seconds == 1.0 + 30.0  # the attempt itself, and the wait for the next
    assert (report.retried, report.lost_seconds) == (1, 31.0)


def test_an_attempt_that_is_asked_for_at_once_does_not_wait_until_it_is_due() -> None:
    history, job = begun()
    history.release(job, "a")
    history.retry(job, "a", due=300.0)
    history.step(job, "a", StepReadied)
    history.release(job, "a", attempt=2)

    found = seconds_of(report_of(history, job), "a")

    assert (found["retry"], held(found)) == (1.0, 1.0 + 1.0)


def test_time_in_which_the_job_or_one_above_it_was_paused_is_no_fault_of_a_limit() -> None:
    history = History()
    parent = definition("parent", sub={"job": "chain"})
    top = history.submit(parent, library={"chain": history.define(CHAIN)})
    history.start(top)
    history.advance(top, readied={"sub": ()})
    job = history.open_child(top, "sub", CHAIN)
    history.start(job)
    history.advance(job, readied={"a": ()})
    history.now += timedelta(seconds=4)
    history.write(top, JobPaused)
    history.now += timedelta(seconds=2)
    history.write(job, JobPaused)
    history.now += timedelta(seconds=3)
    history.write(top, JobResumed)
    history.now += timedelta(seconds=1)
    history.write(job, JobResumed)
    history.release(job, "a")

    whole = seconds_of(report_of(history, top), "sub/a")
    below = seconds_of(report_of(history, job), "a")

    assert (whole["paused"], held(whole)) == (9.0, 6.0)
    assert below == whole


@pytest.mark.parametrize(
    ("opened", "kind"),
    [
        ({"signal": "go"}, "signal"),
        ({"signal": "go", "request": UUID(int=7)}, "user-action"),
        ({"until": START + timedelta(days=1)}, "timer"),
    ],
)
def test_waits_are_told_by_what_they_wait_for(opened: Any, kind: str) -> None:
    history, job = begun()
    history.step(job, "a", StepOpened, **opened)
    history.now += timedelta(seconds=59)
    history.end(job, "a")

    assert seconds_of(report_of(history, job), "a")[kind] == 60.0


def test_who_asks_for_a_person_waits_for_one() -> None:
    history, job = begun()
    history.release(job, "a")
    history.step(job, "a", StepParked, attempt=1, request=UUID(int=7), worker="w")
    history.now += timedelta(seconds=99)
    history.step(job, "a", StepReadied, by="ada")

    assert seconds_of(report_of(history, job), "a")["user-action"] == 100.0


def test_a_clock_that_is_set_back_makes_no_time_negative() -> None:
    history, job = begun()
    history.release(job, "a")
    history.now -= timedelta(hours=1)
    history.succeed(job, "a")
    finish(history, job)

    report = report_of(history, job)

    assert all(seconds >= 0 for bar in report.bars for seconds in bar.seconds.values())
    assert sum(each.seconds for each in report.critical_path) == report.elapsed_seconds


def test_a_step_that_is_tried_for_ever_has_a_bounded_number_of_spans() -> None:
    history, job = begun()
    for attempt in range(1, SPANS_MAX):
        history.release(job, "a", attempt=attempt)
        history.retry(job, "a", attempt=attempt, due=0.0)

    report = report_of(history, job)

    bar = report.bars[0]
    assert len(bar.spans) <= SPANS_MAX + 1
    assert sum(bar.seconds.values()) == report.elapsed_seconds - 1.0  # less the job's own start
    assert report.retries[0].attempts == SPANS_MAX - 1


# --- the critical path ---------------------------------------------------------------------------


def test_the_critical_path_goes_by_what_ended_last_before_a_step() -> None:
    wanted = definition(
        "diamond",
        quick={"call": "t.a"},
        slow={"call": "t.b"},
        both={"call": "t.c", "after": ["quick", "slow"]},
    )
    history = History()
    job = history.submit(wanted)
    history.start(job)
    history.advance(job, readied={"quick": (), "slow": ()})
    history.release(job, "quick")
    history.release(job, "slow")
    history.succeed(job, "quick")
    history.now += timedelta(seconds=50)
    history.succeed(job, "slow", seconds=1.0)
    history.advance(job, settled={"quick": "succeeded", "slow": "succeeded"}, readied={"both": ()})
    history.release(job, "both")
    history.succeed(job, "both", seconds=1.0)
    history.advance(job, settled={"both": "succeeded"})
    history.succeed_job(job)

    report = report_of(history, job)

    assert told(report) == [
        ("", "intake", 1.0),
        ("", "reactor", 1.0),
        ("slow", "turn", 2.0),  # that of what may be out at once, as `why` says
        ("slow", "worker", 51.0),
        ("slow", "computing", 1.0),
        ("", "reactor", 1.0),
        ("both", "reactor", 1.0),
        ("both", "computing", 1.0),
        ("", "reactor", 2.0),
    ]
    assert [bar.path for bar in report.bars if bar.critical] == ["slow", "both"]


def test_the_critical_path_leads_into_items_and_child_jobs() -> None:
    history, job, child = half_done_report()
    finish_report(history, job, child)

    report = report_of(history, job)

    paths = list(dict.fromkeys(path for path, _, _ in told(report)))
    assert paths == ["", "load", "parts[4]", "parts", "merge"]
    assert {bar.path for bar in report.bars if bar.critical} == set(paths) - {""}
    assert [(each.path, each.steps) for each in report.job_times] == [("", 15), ("sub", 5)]
    computing = next(each for each in report.totals if each.kind == "computing")
    assert report.job_times[0].seconds["computing"] == computing.step_seconds
    assert sum(each.seconds for each in report.critical_path) == report.elapsed_seconds


def test_whoever_answers_for_a_failure_is_on_the_way_to_what_waited_for_it() -> None:
    wanted = definition(
        "caught",
        a={"call": "t.a", "catch": [{"on": "*", "go": "mend"}]},
        mend={"call": "t.m"},
        last={"call": "t.l", "after": ["a"]},
    )
    history, job = begun(wanted)
    history.release(job, "a")
    history.fail(job, "a")
    history.advance(job, settled={"a": "failed"}, caught={"a": "mend"}, readied={"mend": ()})
    history.release(job, "mend")
    history.now += timedelta(seconds=20)
    history.succeed(job, "mend")
    history.advance(job, settled={"mend": "succeeded"}, readied={"last": ()})
    history.release(job, "last")

    report = report_of(history, job)

    steps = list(dict.fromkeys(path for path, _, _ in told(report) if path))
    assert steps == ["a", "mend", "last"]


def test_a_rerun_of_a_job_that_had_ended_is_told_alone() -> None:
    history, job = begun()
    history.release(job, "a")
    history.succeed(job, "a")
    finish(history, job)
    history.now += timedelta(hours=5)
    again = history.now + timedelta(seconds=1)
    history.write(job, JobRerun, generation=2, step="b", steps=("b",), key="k")
    history.advance(job, readied={"b": ()})
    history.release(job, "b", attempt=2)
    history.step(job, "b", StepCancelled, attempt=1)  # of the one before: it comes late
    history.succeed(job, "b", attempt=2)
    history.advance(job, settled={"b": "succeeded"})
    history.succeed_job(job)

    report = report_of(history, job)

    assert (report.generation, report.rerun, report.state) == (2, True, "succeeded")
    assert report.begun_at.startswith(again.strftime("%Y-%m-%dT%H:%M:%S"))
    assert report.elapsed_seconds == 6.0
    assert [(bar.path, bool(bar.spans)) for bar in report.bars] == [("a", False), ("b", True)]
    assert report.steps == 1
    assert {path for path, _, _ in told(report)} == {"", "b"}


def test_what_a_running_job_did_again_is_told_as_lost() -> None:
    history, job = begun()
    history.release(job, "a")
    history.succeed(job, "a")
    history.advance(job, settled={"a": "succeeded"}, readied={"b": ()})
    history.now += timedelta(seconds=10)
    history.write(job, JobRerun, generation=2, step="a", steps=("a", "b"), key="k")
    history.advance(job, readied={"a": ()})
    history.release(job, "a", attempt=2)

    report = report_of(history, job)

    assert told(report)[:3] == [("", "intake", 1.0), ("", "rerun", 15.0), ("", "reactor", 1.0)]
    assert report.elapsed_seconds == (history.now - START).total_seconds() - 2.0


def test_pauses_in_which_no_step_did_anything_are_told_each() -> None:
    history, job = begun()
    history.release(job, "a")
    history.succeed(job, "a", seconds=1.0)
    history.advance(job, settled={"a": "succeeded", "b": "skipped"})
    for seconds in (20, 30):
        history.write(job, JobPaused)
        history.now += timedelta(seconds=seconds)
        history.write(job, JobResumed)
    history.succeed_job(job)

    report = report_of(history, job)

    ends = [("", "paused", 21.0), ("", "reactor", 1.0), ("", "paused", 31.0), ("", "reactor", 1.0)]
    assert told(report)[-4:] == ends


def test_a_path_of_many_segments_is_told_by_the_longest_and_still_fills_the_time() -> None:
    steps: dict[str, Any] = {"s0": {"call": "t.a"}}
    for number in range(1, 600):
        steps[f"s{number}"] = {"call": "t.a", "after": [f"s{number - 1}"]}
    history = History()
    job = history.submit(definition("long", **steps))
    history.start(job)
    history.advance(job, readied={"s0": ()})
    for number in range(600):
        history.release(job, f"s{number}")
        history.now += timedelta(seconds=number % 7)
        history.succeed(job, f"s{number}", seconds=0.5)
        ready = {} if number == 599 else {f"s{number + 1}": ()}
        history.advance(job, settled={f"s{number}": "succeeded"}, readied=ready)
    history.succeed_job(job)

    report = report_of(history, job)

    assert 100 < len(report.critical_path) <= SEGMENTS_MAX
    assert sum(each.seconds for each in report.critical_path) == pytest.approx(
        report.elapsed_seconds
    )
    assert any(each.kind == "other" for each in report.critical_path)


# --- large jobs ----------------------------------------------------------------------------------


def fanned(count: int) -> tuple[History, UUID]:
    wanted = definition("wide", parts={"for_each": "${{ params }}", "call": "t.a"})
    history = History()
    job = history.submit(wanted)
    history.start(job)
    history.advance(job, readied={"parts": ()})
    history.open_items(job, "parts", count=count, begun=count)
    for index in range(count):
        history.release(job, f"parts[{index}]")
        history.succeed(job, f"parts[{index}]", seconds=0.25 + index / 1000)
    history.advance(job, items={"parts": {"succeeded": tuple(range(count))}})
    return history, job


def test_of_the_items_that_have_ended_a_few_are_kept_and_all_are_counted() -> None:
    history, job = fanned(count=200)
    times = Times(job)
    times.fold(history.store.log)
    report = report_of(history, job)

    assert times.top is not None
    items = times.top.steps["parts"].items
    assert items is not None
    assert len(items.known) <= ITEMS_KEPT + 1
    assert report.states["succeeded"] == 200
    bar = report.bars[0]
    shown = [each.path for each in report.bars[1:]]
    assert shown == [*(f"parts[{index}]" for index in range(0, 200, 7)), "parts[199]"]
    assert (bar.items, bar.left_out) == ({"succeeded": 200}, 200 - len(shown))
    assert [slow.path for slow in report.slowest[:2]] == ["parts[199]", "parts[198]"]
    computing = next(each for each in report.totals if each.kind == "computing")
    assert computing.step_seconds == pytest.approx(sum(0.25 + n / 1000 for n in range(200)))


def test_what_a_job_says_of_items_before_their_reports_come_takes_nothing_from_these() -> None:
    history, job = begun(definition("wide", parts={"for_each": [0, 1], "call": "t.a"}), "parts")
    history.open_items(job, "parts", count=2, begun=2)
    for index in (0, 1):
        history.release(job, f"parts[{index}]")
    history.now += timedelta(seconds=30)
    began = history.now

    def at_once(write: Callable[[], None]) -> None:
        """All that is decided in one turn has one time."""
        history.now = began + timedelta(seconds=8)
        write()

    def reported(index: int) -> None:
        took = timedelta(seconds=5 + index)
        history.step(
            job,
            f"parts[{index}]",
            StepSucceeded,
            attempt=1,
            worker="w",
            started_at=began,
            ended_at=began + took,
        )

    both = {"parts": {"succeeded": (0, 1)}}
    at_once(lambda: reported(0))
    at_once(lambda: history.advance(job, items=both, settled={"parts": "succeeded"}))
    at_once(lambda: reported(1))
    at_once(lambda: history.end(job, "parts"))
    at_once(lambda: history.succeed_job(job))

    report = report_of(history, job)

    assert seconds_of(report, "parts[0]")["computing"] == 5.0
    assert seconds_of(report, "parts[1]")["computing"] == 6.0
    assert report.states == {"succeeded": 3}
    assert ("parts[1]", "computing", 6.0) in told(report)


def test_a_fan_out_tells_how_many_of_its_items_were_at_work() -> None:
    history, job = begun(definition("wide", parts={"for_each": [0, 1], "call": "t.a"}), "parts")
    history.open_items(job, "parts", count=2, begun=2)
    opened = history.now - timedelta(seconds=1)
    history.release(job, "parts[0]")
    history.release(job, "parts[1]")
    history.now = opened + timedelta(seconds=40)
    history.succeed(job, "parts[0]", seconds=1.0)  # from 40 s to 41 s
    history.begin(job, "parts[1]")  # from 42 s on
    history.now = opened + timedelta(seconds=120)

    bar = report_of(history, job).bars[0]

    assert bar.in_flight is not None
    assert (bar.in_flight[20], bar.in_flight[80]) == (0.0, 1.0)
    assert bar.in_flight[40] > 0.5
    assert sum(bar.in_flight) == pytest.approx(1.0 + 78.0, abs=1.0)  # each is a second long


@given(
    st.lists(st.tuples(st.integers(0, 10**10), st.integers(0, 10**9)), max_size=20),
    st.integers(1, 200),
)
def test_no_work_is_lost_however_coarsely_it_is_told(
    stretches: list[tuple[int, int]], count: int
) -> None:
    profile = Profile(5)
    for begin, length in stretches:
        profile.add(5 + begin, 5 + begin + length)
    end = 5 + max((begin + length for begin, length in stretches), default=0) + 1

    means = profile.means(5, end, count)

    assert sum(means) * (end - 5) / count == pytest.approx(
        sum(length for _, length in stretches), abs=2 * profile.width * len(stretches)
    )
    assert len(profile.cells) == CELLS


def test_jobs_may_be_a_thousand_deep() -> None:
    nested = definition("nested", sub={"job": "nested"})
    history = History()
    jobs = [history.submit(nested)]
    for _ in range(999):
        history.start(jobs[-1])
        history.advance(jobs[-1], readied={"sub": ()})
        jobs.append(history.open_child(jobs[-1], "sub", nested))
    history.write(jobs[-1], JobPaused)
    times = Times(jobs[0])
    times.fold(history.store.log)
    assert times.top is not None

    path = critical_path(times.jobs, times.top, times.now + 5)
    summary = summary_of(times.jobs, times.top, times.now + 5)

    assert path[-1].path == "/".join(["sub"] * 999)
    assert sum(each.length for each in path) == times.now + 5 - times.top.begin
    assert (summary.jobs, summary.steps) == (1_000, 1_000)


# --- what held a step back -----------------------------------------------------------------------


def test_what_held_the_critical_path_back_is_asked_of_the_log() -> None:
    wanted = definition(
        "rated",
        parts={
            "for_each": [1, 2, 3],
            "call": "t.a",
            "limits": [{"name": "api", "rate": [1, 10.0]}],
        },
    )
    run = LocalRun(wanted, {"t.a": lambda: None})
    run.start()
    logs = LogSet([run._parts.store])

    assert run.job is not None
    report = run_report(Queries(logs, MemoryViewStore()), logs, run.job)

    longest = max(report.critical_path, key=lambda each: each.seconds)
    assert (longest.path, longest.kind) == ("parts[2]", "rate")
    assert "limit api lets 1 in 10 s go out" in longest.sentence
    rate = next(each for each in report.totals if each.kind == "rate")
    assert rate.critical_seconds == rate.step_seconds == longest.seconds
    bar = next(bar for bar in report.bars if bar.path == "parts[2]")
    assert "rate" in {span.kind for span in bar.spans}


@pytest.mark.parametrize(("events", "kind"), [(12, "limit"), (1, "limit"), (0, "held")])
def test_of_a_long_log_the_end_is_read_and_what_is_not_found_there_is_not_made_up(
    events: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Estate()
    limits = [{"name": "api", "slots": 1}]
    job = driver.begin({"a": {**CALL, "limits": limits}, "b": {**CALL, "limits": limits}})
    driver.wait(100)
    monkeypatch.setattr(held_back, "EVENTS_READ_MAX", events)
    logs = LogSet([driver.store])

    report = run_report(Queries(logs, MemoryViewStore()), logs, job, driver.now)

    bar = next(bar for bar in report.bars if bar.path == "b")
    assert report.critical_path[-1].path == "a"  # it is out, and waits for a worker
    assert bar.seconds["held"] == 100.0
    told = held_back.tell(
        [
            Segment(
                job=job,
                path="b",
                own="b",
                kind="held",
                begin=micros(driver.now) - 100_000_000,
                end=micros(driver.now),
            )
        ],
        held_back.Log(driver.store),
        driver.now,
    )
    assert told[0].kind == kind


def test_a_job_that_is_not_there_is_refused() -> None:
    history, _ = begun()

    with pytest.raises(UnknownJob):
        report_of(history, UUID(int=5))


def test_a_history_that_goes_on_no_more_is_told_up_to_its_last_event() -> None:
    history, job = begun()
    logs = LogSet([history.store])

    report = run_report(Queries(logs, MemoryViewStore()), logs, job)

    assert report.so_far
    assert micros(history.now) == micros(msgspec.convert(report.ended_at, type(history.now)))


def test_reading_the_history_tells_how_far_it_is() -> None:
    history, job = fanned(count=600)
    logs = LogSet([history.store])
    seen: list[tuple[int, int]] = []
    note: Callable[[int, int], None] = lambda done, total: seen.append((done, total))  # noqa: E731

    run_report(Queries(logs, MemoryViewStore()), logs, job, history.now, note)

    assert len(seen) == 2
    assert {total for _, total in seen} == {history.store.head()}


# --- secrets -------------------------------------------------------------------------------------


def test_a_page_is_made_of_a_report_without_what_looks_like_a_secret() -> None:
    history, job, child = half_done_report()
    finish_report(history, job, child)
    plain = report_of(history, job)
    secret = "login failed: password=hunter2hunter2 at postgres://ada:hunter2hunter2@db/x"
    error = ErrorShape(code="error", message=secret, type="E", attempt=1, traceback=secret)
    segment = msgspec.structs.replace(plain.critical_path[0], sentence=f"tried again: {secret}")
    leaky = msgspec.structs.replace(
        plain,
        error=error,
        labels={"api_token": "hunter2hunter2", "iban": "hunter2hunter2", "team": "web"},
        critical_path=(segment, *plain.critical_path[1:]),
    )

    told = without_secrets(leaky, ("iban",))

    assert "hunter2" not in msgspec.json.encode(told).decode()
    assert told.labels == {"api_token": "[redacted]", "iban": "[redacted]", "team": "web"}
    assert without_secrets(plain) == plain
