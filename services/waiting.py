"""Why a step that has begun does not run: what its documents and those around it tell for sure."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from warrener.domain.states import STEP_ENDED
from warrener.projections.control_views import ACTIONS, ActionView
from warrener.projections.ports import ViewStore
from warrener.projections.views import JOBS, JobView, StepView
from warrener.services.shapes import Blocker, Waiting, format_time, optional_time

ITEMS_NAMED_MAX = 5


def why_not_running(views: ViewStore, step: StepView, held: JobView | None) -> Waiting | None:
    """Return why a step that is ready, retrying or waiting does not run; None in other states.

    `held` is the paused job that holds the step back, if there is one.
    """
    since = optional_time(step.since)
    if step.state in ("ready", "retrying") and held is not None:
        return why_held(held)
    if step.state == "retrying":
        return _retry(step, since)
    if step.state == "ready":
        return _for_a_worker(since)
    if step.state == "waiting_user":
        return _answer(views, step, since)
    return _waits(views, step, since) if step.state == "waiting" else None


def why_item_unknown(fan_out: StepView, state: str, held: JobView | None) -> Waiting | None:
    """Return why an item without a document waits."""
    if state in STEP_ENDED:
        return None
    if held is not None:
        return why_held(held)
    since = optional_time(fan_out.since)
    if state == "ready":
        return _for_a_worker(since)
    sentence = f"waits for its turn: {fan_out.begun} of {fan_out.count} items have begun"
    return waiting("window", since, sentence, "the end of an item before it")


def why_held(job: JobView) -> Waiting:
    """Return that a paused job holds a step back: who paused it, when and why."""
    asked = job.paused
    since = None if asked is None else format_time(asked.at)
    by = f" by {asked.by}" if asked and asked.by else ""
    reason = f": {asked.reason}" if asked and asked.reason else ""
    blocker = Blocker(kind="job", id=job.job, path="", state=job.state)
    sentence = f"is held back: job {job.job} was paused{by}{reason}"
    return waiting("paused", since, sentence, f"warrener resume {job.job}", (blocker,))


def _for_a_worker(since: str | None) -> Waiting:
    sentence = "is ready: it is released as soon as a worker has a free slot"
    return waiting("worker", since, sentence, "a free slot of a worker")


def _retry(step: StepView, since: str | None) -> Waiting:
    until = optional_time(step.due)
    failed = f" with {step.error.code}: {step.error.message}" if step.error else ""
    sentence = f"attempt {step.attempts} failed{failed}; the next one is due at {until}"
    return waiting("retry", since, sentence, f"the time {until}", until=until)


def _answer(views: ViewStore, step: StepView, since: str | None) -> Waiting:
    """A person must act: what for, and how to answer."""
    request, until = step.request, optional_time(step.until)
    if request is None:
        return waiting("user-action", since, "waits for a person", "an answer", until=until)
    found: ActionView | None = views.load({ACTIONS: [request]})[ACTIONS].get(request)
    cause = found.subject if found else str(request)
    message = f": {found.message}" if found and found.message else ""
    blocker = Blocker(
        kind="user-action", id=request, path=cause, state=found.state if found else "open"
    )
    sentence = f"waits for a person, about {cause}{message}"
    release = _answering(request, until)
    return waiting("user-action", since, sentence, release, (blocker,), until=until)


def _answering(request: UUID, until: str | None) -> str:
    return f"warrener answer {request}" + (f", or the time {until}" if until else "")


def _waits(views: ViewStore, step: StepView, since: str | None) -> Waiting | None:
    if step.child is not None:
        return _child(views, step, step.child, since)
    if step.count is not None:
        return _items(views, step, since)
    until = optional_time(step.until)
    if step.signal is not None:
        return _signal(step, step.signal, since, until)
    if until is None:
        return None
    return waiting("timer", since, f"sleeps until {until}", f"the time {until}", until=until)


def _signal(step: StepView, name: str, since: str | None, until: str | None) -> Waiting:
    sentence = f"waits for the signal {name}"
    release = f"warrener signal {step.job} {name}"
    blockers: tuple[Blocker, ...] = ()
    if step.request is not None:
        sentence += " or a person's answer"
        release += f", or {_answering(step.request, until)}"
        blockers = (Blocker(kind="user-action", id=step.request, path=name, state="open"),)
    return waiting("signal", since, sentence, release, blockers, until=until)


def _child(views: ViewStore, step: StepView, child: UUID, since: str | None) -> Waiting:
    found: JobView | None = views.load({JOBS: [child]})[JOBS].get(child)
    state = found.state if found else "submitted"
    blocker = Blocker(kind="job", id=child, path=step.path, state=state)
    sentence = f"waits for its child job {child} ({state})"
    return waiting("children", since, sentence, "the end of the child job", (blocker,))


def _items(views: ViewStore, step: StepView, since: str | None) -> Waiting:
    states = step.items_by_state() or {}
    still = {state: count for state, count in states.items() if state not in STEP_ENDED}
    listed = ", ".join(f"{count} {state}" for state, count in sorted(still.items()))
    sentence = f"waits for {sum(still.values())} of {step.count} items" + (
        f": {listed}" if listed else ""
    )
    blockers = [
        Blocker(kind="step", id=item.id, path=item.path, state=item.state)
        for state in sorted(still)
        if state in step.items
        for item in views.items(step, state=state, limit=ITEMS_NAMED_MAX)
    ]
    release = "the end of its items"
    return waiting("children", since, sentence, release, tuple(blockers[:ITEMS_NAMED_MAX]))


def waiting(
    kind: str,
    since: str | None,
    sentence: str,
    release: str,
    blockers: tuple[Blocker, ...] = (),
    *,
    until: str | None = None,
) -> Waiting:
    """Return the shape of a reason."""
    return Waiting(
        kind=kind, since=since, until=until, sentence=sentence, blockers=blockers, release=release
    )


def listed(parts: Sequence[str]) -> str:
    """Return words such as `a, b and c`."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
