"""A sink that keeps spans, and what is true of the traces of every log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from warrener.domain.errors import TracesDelayed
from warrener.domain.events import JobEnded, JobSubmitted
from warrener.domain.ports import EventStore
from warrener.domain.spans import Span
from warrener.domain.step_events import StepReleased
from warrener.domain.trace_context import span_of_attempt, span_of_job, trace_of
from warrener.services.spans import Spans


class ListSink:
    """Keeps the spans of each batch; the first `fails` of them are not taken."""

    def __init__(self, fails: int = 0) -> None:
        self.batches: list[tuple[Span, ...]] = []
        self.fails = fails
        self.tries = 0

    def send(self, spans: Sequence[Span]) -> None:
        self.tries += 1
        if self.tries <= self.fails:
            raise TracesDelayed("nobody listens")
        self.batches.append(tuple(spans))

    def close(self) -> None:
        pass

    @property
    def spans(self) -> list[Span]:
        return [span for batch in self.batches for span in batch]


def spans_of(store: EventStore, *, forgets: bool = False) -> list[Span]:
    """Return all spans of a log; with `forgets` nothing is remembered from event to event."""
    spans = Spans(store)
    found = []
    for each in store.read(0, store.head()):
        spans = Spans(store) if forgets else spans
        found.append(spans.of(each.recorded))
    return [span for span in found if span is not None]


def check_traces(store: EventStore, spans: Sequence[Span], *, jumps: bool = False) -> None:
    """Check the spans of a log all of whose jobs have ended, from its events alone.

    With `jumps` its clock was set back now and then.
    """
    ends: Counter[object] = Counter()
    roots, released, last = {}, {}, {}
    for positioned in store.read(0, store.head()):
        stream, event = positioned.recorded.originator_id, positioned.recorded.event
        last[stream] = event.at
        if isinstance(event, JobSubmitted):
            roots[stream] = event.root
        elif isinstance(event, JobEnded):
            ends[stream] += 1
        elif isinstance(event, StepReleased):
            released[span_of_attempt(stream, event.attempt)] = (event, stream)
    by_id = {span.context.span: span for span in spans}

    assert len(by_id) == len(spans), "an id is there twice"
    assert {span.context.trace for span in spans} == {trace_of(root) for root in roots.values()}
    assert {name for name, span in by_id.items() if span.sends} == released.keys()
    for name, (event, stream) in released.items():
        _check_attempt(by_id[name], event)
        assert jumps or by_id[name].end <= last[stream]
    for job, root in roots.items():
        mine = [by_id[span_of_job(job, run)] for run in range(1, ends[job] + 1)]
        assert {span.context.trace for span in mine} == {trace_of(root)}
        assert (mine[0].parent is None) == (job == root)
    for span in spans:
        assert span.begin <= span.end
        assert all(span.begin <= event.at <= span.end for event in span.events)
        if span.parent is not None:
            parent = by_id[span.parent]
            assert parent.context.trace == span.context.trace
            assert jumps or parent.begin <= span.begin


def _check_attempt(span: Span, event: StepReleased) -> None:
    attributes = span.attributes
    assert (span.begin, attributes["warrener.endpoint"]) == (event.at, event.endpoint)
    assert attributes["warrener.step.path"] == event.path
    assert (attributes["warrener.attempt"], attributes["warrener.queue"]) == (
        event.attempt,
        event.queue,
    )
