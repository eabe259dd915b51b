"""Spans are made from the log alone, and handed on at least once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Event as Signal
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs
from support.histories import REPORT, History, finish_report, half_done_report
from support.list_store import ListEventStore
from support.spans import ListSink, check_traces, spans_of

from warrener.adapters.clock import SystemClock
from warrener.adapters.memory_leases import MemoryLeases
from warrener.adapters.memory_positions import MemoryPositions
from warrener.domain import ids
from warrener.domain.errors import StoredDataError
from warrener.domain.events import Error, JobStarted, Recorded
from warrener.domain.spans import Span
from warrener.domain.step_events import StepFailed, StepOpened
from warrener.domain.trace_context import (
    SpanContext,
    span_of_attempt,
    span_of_job,
    span_of_opening,
    trace_of,
)
from warrener.services import spans as module
from warrener.services import tracer as tracing
from warrener.services.logs import LogSet
from warrener.services.shares import Identity
from warrener.services.span_redaction import SpanRedactor
from warrener.services.spans import Spans
from warrener.services.tracer import Patience, SpanFollower, Tracer

NOW = datetime(2030, 1, 1, tzinfo=UTC)
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def at_path(spans: list[Span], path: str) -> list[Span]:
    return [span for span in spans if span.attributes.get("warrener.step.path") == path]


def report() -> tuple[History, UUID, UUID]:
    history, job, child = half_done_report()
    finish_report(history, job, child)
    return history, job, child


# --- what spans say ------------------------------------------------------------------------------


def test_a_tree_is_one_trace_with_a_span_for_each_job_attempt_and_opened_step() -> None:
    history, job, child = report()

    spans = spans_of(history.store)
    root = next(span for span in spans if span.context.span == span_of_job(job))
    below = next(span for span in spans if span.context.span == span_of_job(child))
    (sub,), (parts,) = at_path(spans, "sub"), at_path(spans, "parts")

    assert {span.context.trace for span in spans} == {trace_of(job)} == {job.hex}
    assert (root.name, root.parent) == ("report", None)
    assert root.attributes["warrener.label.team"] == "red"
    assert root.attributes["warrener.outcome"] == "succeeded"
    assert (sub.parent, parts.parent) == (root.context.span, root.context.span)
    assert below.parent == sub.context.span == span_of_opening(ids.step_id(job, "sub"), 1)
    assert parts.attributes["warrener.items"] == 5


def test_an_attempt_says_where_it_ran_and_what_became_of_it() -> None:
    history, job, _ = report()

    spans = spans_of(history.store)
    first, second = at_path(spans, "parts[1]")
    (parts,) = at_path(spans, "parts")

    assert [span.parent for span in (first, second)] == [parts.context.span] * 2
    assert [span.context.span for span in (first, second)] == [
        span_of_attempt(ids.step_id(job, "parts[1]"), attempt) for attempt in (1, 2)
    ]
    assert (first.name, first.sends, first.error) == ("parts", True, "not yet")
    assert first.attributes["warrener.outcome"] == "retrying"
    assert first.attributes["error.type"] == "error"
    (scheduled,) = first.events
    due = (first.end + timedelta(seconds=30)).isoformat()
    assert (scheduled.name, scheduled.attributes["warrener.due"]) == ("retry scheduled", due)
    assert second.error is None
    assert [event.name for event in second.events] == ["started"]
    assert {f"warrener.{k}": v for k, v in EXPECTED.items()}.items() <= second.attributes.items()


EXPECTED = {
    "step.path": "parts[1]",
    "attempt": 2,
    "endpoint": "a.b",
    "queue": "default",
    "worker": "w1",
    "outcome": "succeeded",
}


def test_times_are_those_of_the_log() -> None:
    history = History()
    job = history.submit(REPORT)
    history.release(job, "load")
    released = history.now
    history.succeed(job, "load")
    ended = history.now

    (span,) = spans_of(history.store)

    assert (span.begin, span.end) == (released, ended)
    assert [event.at for event in span.events] == [ended - timedelta(seconds=1)]


def test_an_attempt_that_asks_a_person_ends_without_an_error_and_the_wait_is_no_part_of_it() -> (
    None
):
    history = History()
    job = history.submit(REPORT)
    history.release(job, "load")
    request = history.ask(job, "load")
    history.park(job, "load", request, patience=60.0)
    history.fail(job, "load")

    (span,) = spans_of(history.store)

    assert (span.error, span.attributes["warrener.outcome"]) == (None, "waiting_user")
    assert span.events[-1].attributes["warrener.request"] == str(request)


def test_a_failed_job_is_marked_and_a_later_run_of_it_is_a_span_below_the_first() -> None:
    history = History()
    job = history.submit(REPORT, traceparent=CALLER)
    history.fail_job(job)
    history.rerun(job, ("load",), 2)
    begun = history.now
    history.succeed_job(job)

    first, second = spans_of(history.store)

    assert (first.error, second.error) == ("it failed", None)
    assert first.links == (SpanContext(CALLER[3:35], CALLER[36:52]),)
    assert (second.parent, second.begin, second.links) == (first.context.span, begun, ())
    assert second.attributes["warrener.run"] == 2
    check_traces(history.store, [first, second])  # type: ignore[arg-type]


def test_what_was_begun_far_back_in_a_long_stream_is_found_by_one_who_saw_nothing_of_it() -> None:
    history = History()
    job = history.submit(REPORT)
    history.release(job, "load")
    for _ in range(3 * module.WINDOW_EVENTS):
        history.progress(job, "load", 0.5, "on")
    history.succeed(job, "load")

    span = Spans(history.store).of(history.store.log[-1].recorded)  # type: ignore[arg-type]

    assert span is not None
    assert span.context.span == span_of_attempt(ids.step_id(job, "load"), 1)
    assert len(span.events) == 1 + 3 * module.WINDOW_EVENTS
    assert [span] == spans_of(history.store)


class Counting(ListEventStore):
    """Counts what is read of streams."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self.log, self.events_read = history.store.log, 0

    def stream(self, stream: UUID, after_version: int = 0) -> Any:
        for recorded in super().stream(stream, after_version):
            self.events_read += 1
            yield recorded


def test_streams_of_many_attempts_are_hardly_read_at_all() -> None:
    history = History()
    job = history.submit(REPORT)
    for attempt in range(1, 200):
        history.release(job, "load", attempt)
        history.retry(job, "load", attempt)
    store = Counting(history)

    assert len(spans_of(store)) == 199  # type: ignore[arg-type]
    assert store.events_read == 1  # the submission of the job
    store.events_read = 0
    assert Spans(store).of(history.store.log[-1].recorded) is not None  # type: ignore[arg-type]
    assert store.events_read <= module.WINDOW_EVENTS + 1


def test_what_belongs_to_nothing_that_is_known_makes_no_span() -> None:
    history = History()
    job = history.submit(REPORT)
    history.succeed(job, "load")  # was never released
    history.end(job, "merge")

    assert spans_of(history.store) == []


def test_what_is_remembered_is_bounded_and_nothing_depends_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "KNOWN_MAX", 3)
    monkeypatch.setattr(module, "OPEN_MAX", 2)
    history = History()
    spans = Spans(history.store)  # type: ignore[arg-type]
    jobs = [history.submit(REPORT, key=f"k{number}") for number in range(10)]
    for job in jobs:
        history.release(job, "load")
    for job in jobs:
        history.succeed(job, "load")

    made = [spans.of(each.recorded) for each in history.store.log[:-3]]

    assert sum(span is not None for span in made) == 7
    assert (len(spans._jobs._found), len(spans._open)) == (3, 2)


# --- handing them on -----------------------------------------------------------------------------


def follower(history: History, sink: ListSink, positions: MemoryPositions, **more: Any) -> Any:
    made = SpanFollower(history.store, positions, sink, **more)  # type: ignore[arg-type]
    made.start()
    return made


def from_the_start() -> MemoryPositions:
    positions = MemoryPositions()
    positions.save("tracer", 0)
    return positions


def test_the_first_begins_with_what_happens_from_now_on_and_the_next_goes_on_there() -> None:
    history, job, child = half_done_report()
    positions, sink = MemoryPositions(), ListSink()
    follower(history, sink, positions)  # and ends before it did anything
    already = len(spans_of(history.store))
    finish_report(history, job, child)

    second = follower(history, sink, positions)
    while second.turn(NOW):
        pass

    assert sink.spans == spans_of(history.store)[already:]
    assert at_path(sink.spans, "parts[1]")[0].attributes["warrener.attempt"] == 2
    assert positions.get("tracer") == history.store.head()


def test_what_was_not_taken_is_sent_again_after_growing_pauses_and_told_once() -> None:
    history, _, _ = report()
    sink, now = ListSink(fails=4), NOW
    with capture_logs() as logged:
        made = follower(history, sink, from_the_start())
        pauses = []
        while not sink.batches:
            made.turn(now)
            if not sink.batches:
                pauses.append((made._due - now).total_seconds())
                assert not made.turn(now + timedelta(seconds=pauses[-1] - 0.01))
                now += timedelta(seconds=pauses[-1])

    assert pauses == [1.0, 2.0, 4.0, 8.0]
    assert sink.spans == spans_of(history.store)
    assert [line["event"] for line in logged] == [
        "tracer.begins",
        "spans.delayed",
        "spans.taken_again",
    ]
    assert (made.tally.sent, made.tally.given_up) == (len(sink.spans), 0)


def test_what_is_never_taken_is_given_up_counted_and_what_follows_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "BATCH_EVENTS", 8)
    history, _, _ = report()
    sink = ListSink(fails=3)
    made = follower(history, sink, from_the_start(), patience=Patience(tries_max=3))

    for minute in range(60):
        made.turn(NOW + timedelta(minutes=minute))

    spans = spans_of(history.store)
    assert made.tally.given_up + made.tally.sent == len(spans)
    assert sink.spans == spans[made.tally.given_up :]
    assert made.tally.given_up > 0


def test_secrets_do_not_leave_with_spans() -> None:
    history = History()
    job = history.submit(REPORT, labels={"team": "red", "api-key": "k-17", "iban": "DE00"})
    history.release(job, "load")
    history.progress(job, "load", 0.5, "with password=hunter2")
    error = Error(code="error", message="GET https://ada:hunter2@host: 403")
    history.step(job, "load", StepFailed, error=error, attempt=1)
    history.cancelling(job, reason="token: abcdef")
    history.cancel_job(job)
    sink = ListSink()
    made = follower(history, sink, from_the_start(), clean=SpanRedactor(["iban"]))

    made.turn(NOW)

    attempt, whole = sink.spans
    assert attempt.error == "GET https://ada:[redacted]@host: 403"
    assert attempt.events[0].attributes["warrener.note"] == "with password=[redacted]"
    labels = {k: v for k, v in whole.attributes.items() if k.startswith("warrener.label.")}
    assert list(labels.values()) == ["red", "[redacted]", "[redacted]"]
    assert whole.events[0].attributes["warrener.reason"] == "token: [redacted]"
    assert attempt.attributes["warrener.step.path"] == "load"


def test_a_follower_that_dies_before_its_spans_are_taken_sends_them_again() -> None:
    history, _, _ = report()
    positions = from_the_start()
    follower(history, ListSink(fails=1), positions).turn(NOW)
    assert positions.get("tracer") == 0

    sink = ListSink()
    follower(history, sink, positions).turn(NOW)

    assert sink.spans == spans_of(history.store)


def test_an_event_that_cannot_be_read_is_passed_over() -> None:
    history, _, _ = report()
    expected = spans_of(history.store)

    class Damaged(ListEventStore):
        def read(self, after_position: int, limit: int) -> Any:
            if after_position < 5 <= after_position + limit:
                raise StoredDataError("event 5 cannot be read")
            return history.store.read(after_position, limit)

        def head(self) -> int:
            return history.store.head()

        def stream(self, stream: UUID, after_version: int = 0) -> Any:
            return history.store.stream(stream, after_version)

    sink = ListSink()
    made = SpanFollower(Damaged(), from_the_start(), sink)  # type: ignore[arg-type]
    made.start()
    for _ in range(20):
        made.turn(NOW)

    assert made.tally.unreadable == 1
    assert sink.spans == expected


def test_a_position_from_another_log_is_not_taken_for_one_of_this() -> None:
    history, _, _ = report()
    positions = MemoryPositions()
    positions.save("tracer", 10_000)

    made = follower(history, ListSink(), positions)

    assert made.position == history.store.head()


# --- several partitions, several tracers ---------------------------------------------------------


def partitioned() -> tuple[list[ListEventStore], MemoryPositions]:
    stores, positions = [], MemoryPositions()
    for partition in range(3):
        history = History(partition)
        job = history.submit(REPORT, key=f"k{partition}")
        history.release(job, "load")
        history.succeed(job, "load")
        history.succeed_job(job)
        stores.append(history.store)
        positions.save("tracer" + (f"/{partition}" if partition else ""), 0)
    return stores, positions


def tracer(name: str, logs: LogSet, leases: Any, positions: Any, sink: Any) -> Tracer:
    def made(partition: int) -> SpanFollower:
        return SpanFollower(logs.log(partition), positions, sink, partition=partition)

    return Tracer(Identity(name), logs, leases, made, SystemClock())


def test_two_share_the_partitions_and_whoever_is_left_goes_on_with_all() -> None:
    stores, positions = partitioned()
    logs, leases, sink = LogSet(stores), MemoryLeases(), ListSink()  # type: ignore[arg-type]
    one, two = (tracer(name, logs, leases, positions, sink) for name in ("t1", "t2"))

    one.turn()
    two.turn()
    one.finish()
    two.turn()
    two.finish()

    unique = {span.context.span: span for span in sink.spans}
    assert len(unique) == len(sink.spans) == 6
    assert leases.all() == {}


def test_a_fault_does_not_end_it_and_it_ends_when_it_is_asked_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "POLL_SECONDS", 0.001)
    stores, positions = partitioned()
    logs, sink, stopping, ready = LogSet(stores), ListSink(), Signal(), Signal()  # type: ignore[arg-type]
    made = tracer("t1", logs, MemoryLeases(), positions, sink)
    turn, faults = made.turn, [RuntimeError("bad"), OSError("worse")]

    def faulty() -> bool:
        if faults:
            raise faults.pop()
        stopping.set()
        return turn()

    monkeypatch.setattr(made, "turn", faulty)

    with capture_logs() as logged:
        made.run(stopping, ready)

    assert ready.is_set()
    assert len(sink.spans) == 6
    assert [line["reason"] for line in logged if line["event"] == "tracer.trouble"] == [
        "worse",
        "bad",
    ]
    assert logged[-1]["event"] == "tracer.stopped"


def test_events_that_end_nothing_make_no_span() -> None:
    history, job, _ = half_done_report()
    at: dict[str, Any] = {"at": NOW, "cause": "c"}
    spans = Spans(history.store)  # type: ignore[arg-type]

    for event in (JobStarted(**at), StepOpened(**at, job=job, path="load")):
        assert spans.of(Recorded(ids.step_id(job, "load"), 1, event)) is None
