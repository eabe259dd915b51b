"""What was, from the events alone: a job at a point of its past, where its time went, and more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar.params import FromPath, QueryParameter

from warrener.domain.errors import UnknownJob
from warrener.domain.events import Recorded
from warrener.domain.payloads import INLINE_BYTES_MAX, Payload
from warrener.domain.ports import EventStore
from warrener.domain.step_events import StepReleased
from warrener.services.active_job import read_payload
from warrener.services.labels import own_labels
from warrener.services.logs import log_of_job
from warrener.services.past import Past, replay
from warrener.services.report.gather import run_report
from warrener.services.report.shapes import Report
from warrener.services.shapes import TreeNode
from warrener.services.web import shapes
from warrener.services.web.parts import Given, Parts
from warrener.services.web.reader import Opened
from warrener.services.web.routes.common import (
    After,
    JobsMax,
    cut,
    moment_in,
    of_job,
    reads,
    step_at,
)

At = Annotated[
    str | None, QueryParameter(max_length=50, description="A position of the log, or a time.")
]
_Many = Annotated[int, QueryParameter(ge=1, le=50_000)]


@reads("/jobs/{job:uuid}/positions")
async def list_positions(
    parts: Given, job: FromPath[UUID], after: After = 0, limit: _Many = 10_000
) -> shapes.PositionsPage:
    """List where the events of a job stand in the log: the points at which it can be replayed."""

    def ask(opened: Opened) -> shapes.PositionsPage:
        found = opened.queries.positions(job, after=after)
        items, last = cut(found, limit, lambda position: position)
        return shapes.PositionsPage(items=items, next=last)

    return await parts.slow.ask(of_job(job, ask))


@reads("/jobs/{job:uuid}/replay")
async def show_past(parts: Given, job: FromPath[UUID], at: At = None) -> shapes.PastShow:
    """Show a job as it was at a point of its past, computed from its events alone."""
    ask = _past(parts, job, at)

    def show(opened: Opened) -> shapes.PastShow:
        found = ask(opened)
        shown = found.show(whole=False)
        fields = msgspec.structs.asdict(shown) | msgspec.structs.asdict(found.point)
        return shapes.PastShow(**(fields | {"labels": own_labels(shown.labels)}))

    return await parts.slow.ask(show)


@reads("/jobs/{job:uuid}/replay/tree")
async def show_past_tree(
    parts: Given, job: FromPath[UUID], at: At = None, jobs_max: JobsMax = 500
) -> TreeNode:
    """Show a job with the jobs below it as they were at a point of its past, level by level."""
    ask = _past(parts, job, at)
    return await parts.slow.ask(lambda opened: ask(opened).tree(jobs_max=jobs_max))


def _past(parts: Parts, job: UUID, at: str | None) -> Callable[[Opened], Past]:
    wanted, now = moment_in(at), parts.now()
    return lambda opened: replay(
        opened.logs,
        opened.queries,
        opened.queries.locate(str(job)),
        wanted,
        now=now,
        open_views=parts.open_past,
    )


@reads("/jobs/{job:uuid}/report")
async def show_report(parts: Given, job: FromPath[UUID]) -> Report:
    """Tell where the time of a job went: waits, work, retries, and the critical path."""
    now = parts.now()
    return await parts.slow.ask(
        of_job(job, lambda opened: run_report(opened.queries, opened.logs, job, now))
    )


@reads("/jobs/{job:uuid}/steps/{path:str}/input")
async def show_input(parts: Given, job: FromPath[UUID], path: FromPath[str]) -> shapes.StepInput:
    """Show what the newest attempt of a step was given."""

    def ask(opened: Opened) -> shapes.StepInput:
        place = step_at(opened.queries, job, path)
        log = log_of_job(opened.logs, place.job)
        order = _last_order(log.stream(place.id))
        if order is None:
            raise UnknownJob(f"{path} has not been given to a worker")
        return shapes.StepInput(attempt=order.attempt, input=_value(order.args, log))

    return await parts.slow.ask(ask)


def _last_order(events: Iterable[Recorded]) -> StepReleased | None:
    found = None
    for each in events:
        if isinstance(each.event, StepReleased):
            found = each.event
    return found


def _value(payload: Payload, log: EventStore) -> Any:
    """Return the value of a payload; one that is too long for a page is only told of."""
    if payload.blob is not None and (payload.size or 0) > INLINE_BYTES_MAX:
        return f"({payload.size:,} bytes, not shown)"
    return read_payload(payload, log)


HANDLERS = (list_positions, show_past, show_past_tree, show_report, show_input)
