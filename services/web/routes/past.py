"""What was, from the events alone: a job at a point of its past, where its time went, and more."""

from __future__ import annotations

from collections.abc import Iterable
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
from warrener.services.past import replay
from warrener.services.report.gather import run_report
from warrener.services.report.shapes import Report
from warrener.services.web import shapes
from warrener.services.web.parts import Given
from warrener.services.web.reader import Opened
from warrener.services.web.routes.common import moment_in, reads, step_at

At = Annotated[
    str | None, QueryParameter(max_length=50, description="A position of the log, or a time.")
]


@reads("/jobs/{job:uuid}/replay")
async def show_past(parts: Given, job: FromPath[UUID], at: At = None) -> shapes.PastShow:
    """Show a job as it was at a point of its past, computed from its events alone."""
    wanted, now = moment_in(at), parts.now()

    def ask(opened: Opened) -> shapes.PastShow:
        found = replay(
            opened.logs,
            opened.queries,
            opened.queries.locate(str(job)),
            wanted,
            now=now,
            open_views=parts.open_past,
        )
        shown = found.show(whole=False)
        fields = msgspec.structs.asdict(shown) | msgspec.structs.asdict(found.point)
        return shapes.PastShow(**(fields | {"labels": own_labels(shown.labels)}))

    return await parts.slow.ask(ask)


@reads("/jobs/{job:uuid}/report")
async def show_report(parts: Given, job: FromPath[UUID]) -> Report:
    """Tell where the time of a job went: waits, work, retries, and the critical path."""
    now = parts.now()
    return await parts.slow.ask(lambda opened: run_report(opened.queries, opened.logs, job, now))


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


HANDLERS = (show_past, show_report, show_input)
