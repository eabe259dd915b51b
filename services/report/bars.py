"""The rows of the chart over time: the steps of a job, and below them what they started."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Final
from uuid import UUID

import msgspec

from warrener.projections.report.critical import Segment
from warrener.projections.report.model import AT_WORK, HELD, Items, JobTimes, Span, StepTimes
from warrener.projections.report.profile import Profile
from warrener.projections.report.summing import spans_of
from warrener.services.report.held import Told
from warrener.services.report.shapes import Bar, BarSpan
from warrener.services.step_queries import step_kind

BARS_MAX: Final = 400
DEPTH_MAX: Final = 12
STRETCHES: Final = 120  # in which it is told how many items were at work
_MICRO: Final = 1_000_000


class Node(msgspec.Struct, eq=False):
    """A row in the making, with those below it that are shown."""

    job: JobTimes
    step: StepTimes
    order: int
    depth: int
    below: list[Node] = []
    left_out: int = 0


class Chart:
    """Chooses the rows: those of the critical path first, then those near to the top."""

    def __init__(
        self,
        jobs: Mapping[UUID, JobTimes],
        top: JobTimes,
        told: Sequence[Told],
        until: int,
        *,
        bars_max: int = BARS_MAX,
    ) -> None:
        """Take the critical path as it is told, and until when there is anything to tell."""
        self._jobs = jobs
        self._top = top
        self._until = until
        self._bars_max = bars_max
        segments = [each.segment for each in told]
        self._critical = self._marked(segments)
        self._kinds = {
            (each.job, each.own, each.begin): known.kind
            for each, known in zip(segments, told, strict=True)
        }

    def bars(self) -> list[Bar]:
        """Return the rows, each with its items or steps after it."""
        tops = self._chosen()
        found: list[Bar] = []
        waiting = [(node, None) for node in reversed(tops)]  # type: list[tuple[Node, int | None]]
        while waiting:
            node, above = waiting.pop()
            row = len(found)
            found.append(self._bar(node, row, above))
            shown = sorted(node.below, key=lambda each: each.order, reverse=True)
            waiting += [(each, row) for each in shown]
        return found

    def _chosen(self) -> list[Node]:
        tops: list[Node] = []
        waiting: list[tuple[bool, int, int, Node, Node | None]] = []
        number = count()
        chosen = 0

        def offer(nodes: Sequence[Node], above: Node | None) -> None:
            for node in nodes:
                key = (not self._is_critical(node), node.depth, next(number))
                heapq.heappush(waiting, (*key, node, above))

        offer([self._node(self._top, step, 0) for step in self._steps(self._top)], None)
        while waiting and chosen < self._bars_max:
            *_, node, above = heapq.heappop(waiting)
            (tops if above is None else above.below).append(node)
            chosen += 1
            below = self._below(node)
            if node.depth < DEPTH_MAX:
                offer(below, node)
            else:
                node.left_out += len(below)
        for *_, above in waiting:
            if above is not None:
                above.left_out += 1
        return sorted(tops, key=lambda each: each.order)

    def _below(self, node: Node) -> list[Node]:
        step, depth = node.step, node.depth + 1
        found: list[Node] = []
        child = None if step.child is None else self._jobs.get(step.child)
        if child is not None:
            found += [self._node(child, each, depth) for each in self._steps(child)]
        if step.items is not None:
            known = sorted(step.items.known.items())
            found += [Node(node.job, item, index, depth) for index, item in known]
            node.left_out += step.items.count - len(known)
        return found

    def _steps(self, job: JobTimes) -> list[StepTimes]:
        return [job.steps[name] for name in job.plan.steps if name in job.steps]

    def _node(self, job: JobTimes, step: StepTimes, depth: int) -> Node:
        return Node(job, step, job.plan.steps[step.path].order, depth)

    def _marked(self, path: Sequence[Segment]) -> set[tuple[UUID, str]]:
        """Return the steps of the critical path, and those that contain them."""
        found: set[tuple[UUID, str]] = set()
        for segment in path:
            job, own = self._jobs.get(segment.job), segment.own
            while job is not None:
                if own:
                    found.add((job.id, own))
                    found.add((job.id, own.partition("[")[0]))
                own = job.parent_path
                job = job.parent
        return found

    def _is_critical(self, node: Node) -> bool:
        return (node.job.id, node.step.path) in self._critical

    # --- one row ---------------------------------------------------------------------------------

    def _bar(self, node: Node, row: int, above: int | None) -> Bar:
        job, step = node.job, node.step
        spans = (
            []
            if step.kept
            else [self._told(node, each) for each in spans_of(job, step, self._until)]
        )
        seconds: dict[str, float] = {}
        for span in spans:
            seconds[span.kind] = seconds.get(span.kind, 0.0) + span.length / _MICRO
        items = step.items
        return Bar(
            row=row,
            above=above,
            job=job.id,
            path=job.full(step.path),
            name=step.path,
            kind=self._kind(node),
            state=step.state,
            attempts=step.attempts,
            worker=step.worker or None,
            critical=self._is_critical(node),
            spans=tuple(filter(None, map(self._span, spans))),
            seconds=seconds,
            items=None if items is None else items.by_state(ended=step.ended),
            in_flight=None if items is None or step.kept else self._in_flight(node, items),
            left_out=node.left_out,
        )

    def _in_flight(self, node: Node, items: Items) -> tuple[float, ...]:
        """Return how many items were at work, over the time in which the fan-out was open."""
        begin = max(items.opened_at, self._top.begin)
        end = self._until if node.step.ended_at is None else node.step.ended_at
        found = items.profile.means(begin, end, STRETCHES)
        open_ones = Profile(begin)
        for item in items.known.values():
            for span in () if item.ended else spans_of(node.job, item, self._until):
                if span.kind in AT_WORK:
                    open_ones.add(span.begin, span.end)
        also = open_ones.means(begin, end, STRETCHES)
        return tuple(round(one + other, 3) for one, other in zip(found, also, strict=True))

    def _told(self, node: Node, span: Span) -> Span:
        """Return a span as the critical path tells it, where that knows what held the step back."""
        key = (node.job.id, node.step.path, span.begin)
        if span.kind != HELD or key not in self._kinds:
            return span
        return msgspec.structs.replace(span, kind=self._kinds[key])

    def _span(self, span: Span) -> BarSpan | None:
        begin = max(span.begin, self._top.begin)
        if span.end <= begin:
            return None
        return BarSpan(
            kind=span.kind,
            from_seconds=(begin - self._top.begin) / _MICRO,
            to_seconds=(span.end - self._top.begin) / _MICRO,
            attempt=span.attempt or None,
        )

    def _kind(self, node: Node) -> str:
        planned = node.job.plan.at(node.step.path)
        if node.step.path != planned.name:
            return planned.kind
        return step_kind(planned.definition)
