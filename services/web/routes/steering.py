"""What people do about jobs: submit, steer, answer. Everything is recorded with who asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from litestar import Request, Response, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, RequestBody

from warrener.domain.definition.retry_rules import retry_rules
from warrener.domain.messages import SubmitJob
from warrener.domain.states import JOB_ENDED
from warrener.domain.trace_context import parsed
from warrener.services.places import Place
from warrener.services.shapes import Show
from warrener.services.steering_calls import SteeringCalls
from warrener.services.submission import deadline_of, submission
from warrener.services.web import bodies, shapes
from warrener.services.web.definitions import read
from warrener.services.web.desk import submits
from warrener.services.web.parts import Given, Parts
from warrener.services.web.reader import Opened
from warrener.services.web.routes.common import changes, checked_labels, step_at

Asked = Request[Any, Any, Any]
Call = Callable[[SteeringCalls], bool]
Answer = Response[shapes.Done]
CAUGHT_UP_SECONDS = 2.0
NOT_YET = {
    202: ResponseSpec(
        shapes.Done,
        description="Nobody has answered yet: the command is kept.",
        generate_examples=False,
    )
}


async def ask(parts: Parts, command: str, call: Call, key: str | None = None) -> Answer:
    """Have a command carried out, and let what is read from now on show it."""
    done = await parts.desk.call(call)
    if done:
        await parts.caught_up(CAUGHT_UP_SECONDS)
    told = shapes.Done(command=command, done=done, key=key)
    return Response(told, status_code=200 if done else 202)


@changes(post, "/jobs", "submitter", status_code=201)
async def submit_job(
    request: Asked, parts: Given, data: RequestBody[bodies.SubmitBody]
) -> shapes.Submitted:
    """Submit a job to the fleet; the same key gives the same job."""
    traceparent = request.headers.get("traceparent")

    def made() -> SubmitJob:
        return submission(
            read(data.definition, data.library).source(),
            data.params,
            key=data.key or str(uuid4()),
            labels=checked_labels(data.labels),
            priority=data.priority,
            fair=data.fair,
            deadline=deadline_of(data.deadline, parts.now()),
            traceparent=traceparent if parsed(traceparent) else None,
        )

    message = await parts.checked(made)
    job = await parts.desk.call(lambda calls: submits(calls, message))
    await parts.caught_up(CAUGHT_UP_SECONDS)
    return shapes.Submitted(job=job)


def steers(name: str) -> Callable[[Any], Any]:
    """Mark a function that steers a job."""
    return changes(post, f"/jobs/{{job:uuid}}/{name}", status_code=200, responses=NOT_YET)


@steers("cancel")
async def cancel_job(
    request: Asked, parts: Given, job: FromPath[UUID], data: RequestBody[bodies.ReasonBody]
) -> Answer:
    """Stop a root job and everything below it; clean-up still runs."""
    who = {"by": request.user.by, "reason": data.reason}
    return await ask(parts, "cancel", lambda calls: calls.cancel(job, **who))


@steers("pause")
async def pause_job(
    request: Asked, parts: Given, job: FromPath[UUID], data: RequestBody[bodies.ReasonBody]
) -> Answer:
    """Let nothing more of a job, and of what is below it, go out."""
    who = {"by": request.user.by, "reason": data.reason}
    return await ask(parts, "pause", lambda calls: calls.pause(job, **who))


@steers("resume")
async def resume_job(
    request: Asked, parts: Given, job: FromPath[UUID], data: RequestBody[bodies.ReasonBody]
) -> Answer:
    """Let a paused job go on."""
    who = {"by": request.user.by, "reason": data.reason}
    return await ask(parts, "resume", lambda calls: calls.resume(job, **who))


@steers("retry")
async def retry_job(
    request: Asked, parts: Given, job: FromPath[UUID], data: RequestBody[bodies.RetryBody]
) -> Answer:
    """Try again now what failed or waits for its next attempt: one step, or all there are."""
    step = data.step
    place = Place(job)
    if step is not None:
        place = await parts.reader.ask(lambda opened: _open_place(opened, job, step))
    who = {"by": request.user.by, "reason": data.reason}
    return await ask(parts, "retry", lambda calls: calls.retry(place.job, place.path, **who))


@steers("rerun")
async def rerun_job(
    request: Asked, parts: Given, job: FromPath[UUID], data: RequestBody[bodies.RerunBody]
) -> Answer:
    """Run a step of a root job and all below it once more."""
    key = data.key or str(uuid4())
    who = {"by": request.user.by, "reason": data.reason}
    return await ask(parts, "rerun", lambda calls: calls.rerun(job, data.step, key, **who), key)


@steers("signal")
async def signal_job(
    request: Asked, parts: Given, job: FromPath[UUID], data: RequestBody[bodies.SignalBody]
) -> Answer:
    """Send a signal to a job: to the step that waits for it, or kept for the next that does."""
    key = data.key or str(uuid4())
    who = {"by": request.user.by, "reason": data.reason}
    return await ask(
        parts, "signal", lambda calls: calls.signal(job, data.name, data.data, key, **who), key
    )


@steers("adjust")
async def adjust_step(
    request: Asked, parts: Given, job: FromPath[UUID], data: RequestBody[bodies.AdjustBody]
) -> Answer:
    """Change parameters of a step of a running job."""
    rules = None if data.retry is None else retry_rules(data.retry)
    place = await parts.reader.ask(lambda opened: step_at(opened.queries, job, data.step))
    changed: dict[str, Any] = {"window": data.window, "tolerated": data.tolerated, "retry": rules}
    who = {"by": request.user.by, "reason": data.reason}
    return await ask(
        parts,
        "adjust",
        lambda calls: calls.adjust(place.job, place.path or "", **changed, **who),
    )


@changes(post, "/actions/{action:uuid}/answer", status_code=200, responses=NOT_YET)
async def answer_action(
    request: Asked, parts: Given, action: FromPath[UUID], data: RequestBody[bodies.AnswerBody]
) -> Answer:
    """Answer a request for help: every step that waits for it goes on."""
    who = {"by": request.user.by, "reason": data.reason}
    return await ask(parts, "answer", lambda calls: calls.answer(action, data.data, **who))


def _open_place(opened: Opened, job: UUID, path: str) -> Place:
    """Return a step, or the open job that it has started: that one is tried again as a whole."""
    place = step_at(opened.queries, job, path)
    child = opened.queries.step(place, whole=False).child
    if child is None:
        return place
    shown: Show = opened.queries.show(child, whole=False)
    return place if shown.state in JOB_ENDED else Place(child)


HANDLERS = (
    submit_job,
    cancel_job,
    pause_job,
    resume_job,
    retry_job,
    rerun_job,
    signal_job,
    adjust_step,
    answer_action,
)
