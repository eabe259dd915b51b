"""What jobs share: requests for people, limits, the flow, starvation, the fleet."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from litestar import Request, patch, put
from litestar.params import FromPath, FromQuery, QueryParameter, RequestBody

from warrener.domain.errors import UnknownJob, UsageError
from warrener.services.control_shapes import LimitLine
from warrener.services.flow_shapes import FlowNow, StarvationLine
from warrener.services.policies import check_known, orders
from warrener.services.web import bodies, shapes
from warrener.services.web.parts import Given
from warrener.services.web.reader import Opened
from warrener.services.web.routes.common import Limit, Text, changes, reads, segment, utc
from warrener.services.web.routes.steering import NOT_YET, Answer, ask

Asked = Request[Any, Any, Any]
Points = Annotated[int, QueryParameter(ge=0, le=1_000, description="Of the series of a stage.")]


@reads("/actions")
async def list_actions(
    parts: Given,
    in_state: Annotated[
        Literal["open", "answered", "withdrawn", "all"], QueryParameter(name="state")
    ] = "open",
    cause: Text = None,
    limit: Limit = 100,
) -> shapes.ActionsPage:
    """List requests for people, the newest first."""
    wanted = None if in_state == "all" else in_state

    def question(opened: Opened) -> shapes.ActionsPage:
        found = opened.queries.actions(cause, state=wanted, limit=limit + 1)
        return shapes.ActionsPage(items=tuple(found[:limit]), more=len(found) > limit)

    return await parts.reader.ask(question)


@reads("/limits")
async def list_limits(parts: Given, held: FromQuery[bool] = False) -> shapes.LimitsList:
    """List limits that were changed or are in use; with `held` who holds them is counted, too."""
    at = parts.now() if held else None
    asked = parts.slow if held else parts.reader
    found = await asked.ask(lambda opened: opened.queries.limits(holders_at=at))
    return shapes.LimitsList(items=tuple(found))


@reads("/limits/{name:str}")
async def show_limit(parts: Given, name: FromPath[str], held: FromQuery[bool] = False) -> LimitLine:
    """Show a limit that was changed or is in use; with `held` who holds it is counted, too."""
    wanted, now = segment(name), parts.now()

    def question(opened: Opened) -> LimitLine:
        found = opened.queries.limits(wanted, holders_at=now if held else None)
        if not found:
            raise UnknownJob(f"limit {wanted!r} was not changed, and is not in use")
        return found[0]

    return await (parts.slow if held else parts.reader).ask(question)


@changes(put, "/limits/{name:str}", status_code=200, responses=NOT_YET)
async def change_limit(
    request: Asked, parts: Given, name: FromPath[str], data: RequestBody[bodies.LimitBody]
) -> Answer:
    """Change a limit for everybody, all parts of it."""
    who = {"by": request.user.by, "reason": data.reason}
    rate = data.rate.text() if isinstance(data.rate, bodies.RateBody) else data.rate
    wanted: dict[str, Any] = {"slots": data.slots, "rate": rate, "burst": data.burst}
    return await ask(
        parts, "limits", lambda calls: calls.change_limit(segment(name), **wanted, **who)
    )


@reads("/flow")
async def show_flow(parts: Given, points: Points = 30) -> FlowNow:
    """Show what is set about the flow, and the figures of queues and stages."""
    return await parts.reader.ask(lambda opened: opened.queries.flow(points))


@changes(patch, "/flow", status_code=200, responses=NOT_YET)
async def change_flow(request: Asked, parts: Given, data: RequestBody[bodies.FlowBody]) -> Answer:
    """Change how ready steps are released, and what is done about starvation."""
    if data.policy is not None:
        check_known(data.policy, orders())
    wanted: dict[str, Any] = {
        "policy": data.policy,
        "weights": data.weights,
        "mode": data.mode,
        "bound_seconds": data.bound_seconds,
        "intake": data.intake,
    }
    if all(value is None for value in wanted.values()):
        raise UsageError("say what to change: policy, weights, mode, bound_seconds or intake")
    who = {"by": request.user.by, "reason": data.reason}
    return await ask(parts, "flow", lambda calls: calls.change_flow(**wanted, **who))


@reads("/starvation")
async def list_starvation(
    parts: Given,
    is_open: Annotated[bool, QueryParameter(name="open")] = True,
    since: FromQuery[datetime | None] = None,
    limit: Limit = 50,
) -> shapes.StarvationPage:
    """List incidents of starvation, the newest first; with open=false those that are over, too."""

    def question(opened: Opened) -> shapes.StarvationPage:
        found = opened.queries.starvation(open_only=is_open, since=utc(since), limit=limit + 1)
        return shapes.StarvationPage(items=tuple(found[:limit]), more=len(found) > limit)

    return await parts.reader.ask(question)


@reads("/starvation/{incident:str}")
async def show_incident(parts: Given, incident: FromPath[str]) -> StarvationLine:
    """Show an incident, by its id or the start of it."""

    def question(opened: Opened) -> StarvationLine:
        try:
            return opened.queries.find_incident(incident)
        except UsageError as error:
            raise UnknownJob(str(error)) from error

    return await parts.reader.ask(question)


@reads("/fleet")
async def show_fleet(parts: Given) -> shapes.FleetNow:
    """Show what workers offer."""
    found = await parts.reader.ask(lambda opened: opened.queries.fleet())
    workers = None if parts.watch is None else parts.watch.workers()
    return shapes.FleetNow(
        slots={} if found is None else found.slots,
        endpoints=() if found is None else found.endpoints,
        since=None if found is None else found.since,
        workers=workers,
    )


HANDLERS = (
    list_actions,
    list_limits,
    show_limit,
    change_limit,
    show_flow,
    change_flow,
    list_starvation,
    show_incident,
    show_fleet,
)
