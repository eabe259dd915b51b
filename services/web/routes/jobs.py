"""Jobs and what is in them: lists, states, trees, histories, drawings, reasons."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar.params import FromPath, FromQuery, QueryParameter

from warrener.domain.errors import UnknownJob
from warrener.domain.ids import split_path
from warrener.services.attempt_queries import AttemptPlace
from warrener.services.labels import own_labels
from warrener.services.shapes import JobLine, Show, Step, TreeNode, Why
from warrener.services.web import shapes
from warrener.services.web.cursors import cursor_of, place_in
from warrener.services.web.graphs import graph_now
from warrener.services.web.parts import Given
from warrener.services.web.reader import Opened
from warrener.services.web.reasons import why_now
from warrener.services.web.routes.common import (
    After,
    Cursor,
    JobsMax,
    Limit,
    Text,
    cut,
    labels_in,
    moment_in,
    of_job,
    reads,
    segment,
    step_at,
    utc,
)

State = Literal["submitted", "running", "paused", "cancelling", "succeeded", "failed", "cancelled"]
StepState = Literal[
    "pending",
    "ready",
    "released",
    "running",
    "retrying",
    "waiting",
    "waiting_user",
    "succeeded",
    "failed",
    "upstream_failed",
    "skipped",
    "not_needed",
    "cancelled",
]
Labels = Annotated[
    list[str] | None, QueryParameter(name="label", max_items=10, description="Such as team=web.")
]


@reads("/jobs")
async def list_jobs(
    parts: Given,
    *,
    in_state: Annotated[State | None, QueryParameter(name="state")] = None,
    name: Text = None,
    labels: Labels = None,
    since: FromQuery[datetime | None] = None,
    until: FromQuery[datetime | None] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
    roots: FromQuery[bool] = True,
) -> shapes.JobsPage:
    """List jobs, the newest first."""
    after = None if cursor is None else place_in(cursor, shapes.JobPlace).cursor
    wanted = labels_in(labels)

    def ask(opened: Opened) -> shapes.JobsPage:
        found = opened.queries.jobs(
            state=in_state,
            name=name,
            labels=wanted,
            since=utc(since),
            until=utc(until),
            after=after,
            limit=limit + 1,
            roots_only=roots,
        )
        items = tuple(_shown(line) for line in found[:limit])
        more = cursor_of(shapes.JobPlace.of(items[-1])) if len(found) > limit else None
        return shapes.JobsPage(items=items, next=more)

    return await parts.reader.ask(ask)


@reads("/jobs/counts")
async def count_jobs(parts: Given) -> dict[str, int]:
    """Count the root jobs by state; 100,000 stands for as many or more."""
    return await parts.counts.now(parts.reader)


@reads("/jobs/found")
async def find_job(
    parts: Given, start: Annotated[str, QueryParameter(min_length=1, max_length=36)]
) -> shapes.JobFound:
    """Find the job whose id is this or begins so."""
    return await parts.reader.ask(lambda opened: shapes.JobFound(job=opened.queries.resolve(start)))


@reads("/jobs/{job:uuid}")
async def show_job(parts: Given, job: FromPath[UUID], whole: FromQuery[bool] = False) -> Show:
    """Show a job with its steps; without `whole` a value over 64 KiB is not loaded."""
    found = await parts.reader.ask(
        of_job(job, lambda opened: opened.queries.show(job, whole=whole))
    )
    return msgspec.structs.replace(found, labels=own_labels(found.labels))


@reads("/jobs/{job:uuid}/tree")
async def show_tree(parts: Given, job: FromPath[UUID], jobs_max: JobsMax = 500) -> TreeNode:
    """Show a job with the jobs below it, level by level."""
    return await parts.reader.ask(
        of_job(job, lambda opened: opened.queries.tree(job, jobs_max=jobs_max))
    )


@reads("/jobs/{job:uuid}/steps/{path:str}")
async def show_step(
    parts: Given, job: FromPath[UUID], path: FromPath[str], whole: FromQuery[bool] = False
) -> Step:
    """Show a step or an item; slashes in the path of one in a sub-job are written as %2F."""

    def ask(opened: Opened) -> Step:
        place = step_at(opened.queries, job, path)
        return opened.queries.step(place, whole=whole)

    return await parts.reader.ask(of_job(job, ask))


@reads("/jobs/{job:uuid}/steps/{path:str}/attempts")
async def list_attempts(
    parts: Given,
    job: FromPath[UUID],
    path: FromPath[str],
    after: Annotated[int, QueryParameter(ge=-1, le=2**31)] = -1,
    limit: Limit = 100,
) -> shapes.AttemptsPage:
    """List the attempts of a step or an item by number."""

    def ask(opened: Opened) -> shapes.AttemptsPage:
        place = step_at(opened.queries, job, path)
        found = opened.queries.attempts(place, after=after, limit=limit + 1)
        items, last = cut(found, limit, lambda each: each.attempt)
        return shapes.AttemptsPage(items=items, next=last)

    return await parts.reader.ask(of_job(job, ask))


@reads("/jobs/{job:uuid}/items/{step:str}")
async def list_items(
    parts: Given,
    job: FromPath[UUID],
    step: FromPath[str],
    *,
    in_state: Annotated[StepState | None, QueryParameter(name="state")] = None,
    after: Annotated[int, QueryParameter(ge=-1, le=2**62)] = -1,
    limit: Limit = 100,
) -> shapes.ItemsPage:
    """List the items of a fan-out that began or ended, by index."""

    def ask(opened: Opened) -> shapes.ItemsPage:
        place = step_at(opened.queries, job, step)
        if split_path(place.path or "")[1] is not None:
            raise UnknownJob(f"{step!r} is an item: it has no items of its own")
        found = opened.queries.items(
            place.job, place.path or "", state=in_state, after=after, limit=limit + 1
        )
        items, last = cut(found, limit, lambda each: index_of(each.path))
        return shapes.ItemsPage(items=items, next=last)

    return await parts.reader.ask(of_job(job, ask))


@reads("/jobs/{job:uuid}/history")
async def list_history(
    parts: Given,
    job: FromPath[UUID],
    tree: FromQuery[bool] = False,
    after: After = 0,
    limit: Limit = 200,
) -> shapes.HistoryPage:
    """List the events of a job, with `tree` those of everything below it, too."""

    def ask(opened: Opened) -> shapes.HistoryPage:
        found = opened.queries.history(job, tree=tree, after=after)
        items, last = cut(found, limit, lambda each: each.position)
        return shapes.HistoryPage(items=items, next=last)

    return await parts.reader.ask(of_job(job, ask))


@reads("/jobs/{job:uuid}/timeline")
async def list_timeline(
    parts: Given,
    job: FromPath[UUID],
    tree: FromQuery[bool] = False,
    cursor: Cursor = None,
    limit: Limit = 500,
) -> shapes.TimelinePage:
    """List attempts and waits of a job, or of its tree, by the time at which they began."""
    after = None if cursor is None else place_in(cursor, AttemptPlace)

    def ask(opened: Opened) -> shapes.TimelinePage:
        page = opened.queries.timeline_page(job, tree=tree, after=after, limit=limit)
        more = None if page.last is None else cursor_of(page.last)
        return shapes.TimelinePage(items=page.attempts, next=more)

    return await parts.reader.ask(of_job(job, ask))


@reads("/jobs/{job:uuid}/slowest")
async def list_slowest(
    parts: Given,
    job: FromPath[UUID],
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 10,
) -> shapes.SlowestList:
    """List the steps that ran longest, in a job and everything below it."""
    found = await parts.reader.ask(of_job(job, lambda opened: opened.queries.slowest(job, limit)))
    return shapes.SlowestList(items=tuple(found))


@reads("/jobs/{job:uuid}/graph")
async def show_graph(parts: Given, job: FromPath[UUID]) -> shapes.GraphNow:
    """Show the graph of a job with the states of its steps, laid out for drawing."""
    return await parts.drawing.ask(of_job(job, lambda opened: graph_now(opened.queries, job)))


@reads("/jobs/{job:uuid}/why")
async def show_why(parts: Given, job: FromPath[UUID], step: Text = None, at: Text = None) -> Why:
    """Tell why a job or a step of it does not run, at a time or a position of the log or now."""
    path = None if not step else segment(step)
    wanted, now = moment_in(at), parts.now()
    return await parts.slow.ask(
        of_job(job, lambda opened: why_now(opened, parts.leases, (job, path), wanted, now))
    )


def index_of(path: str) -> int:
    """Return the index of an item, by its path."""
    return int(path.rpartition("[")[2].rstrip("]"))


def _shown(line: JobLine) -> JobLine:
    return msgspec.structs.replace(line, labels=own_labels(line.labels))


HANDLERS = (
    list_jobs,
    count_jobs,
    find_job,
    show_job,
    show_tree,
    show_step,
    list_attempts,
    list_items,
    list_history,
    list_timeline,
    list_slowest,
    show_graph,
    show_why,
)
