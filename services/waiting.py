"""Why a step is not running: what its documents and those around it tell without a doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from warrener.domain.ids import step_id
from warrener.domain.states import JOB_ENDED, STEP_ENDED
from warrener.projections.ports import ViewStore
from warrener.projections.views import JOBS, JobView, StepView
from warrener.services.shapes import Blocker, Waiting, format_time, optional_time

ITEMS_NAMED_MAX = 5


def why_pending(
    job: JobView, dependencies: Sequence[str], states: Mapping[str, str]
) -> Waiting | None:
    """Return why a step that is not ready waits, given the states of its dependencies."""
    if job.state in JOB_ENDED:
        return None
    since = format_time(job.started_at or job.submitted_at)
    if job.started_at is None:
        sentence = "the controller has not begun with the job yet"
        return _waiting("reactor", since, sentence, "a running reactor")
    blockers = tuple(
        Blocker(kind="step", id=step_id(job.job, name), path=name, state=states[name])
        for name in dependencies
        if states[name] not in STEP_ENDED
    )
    if not blockers:
        sentence = "everything it depends on has ended; the controller decides next"
        return _waiting("reactor", since, sentence, "a running reactor")
    listed = _and([f"{each.path} ({each.state})" for each in blockers])
    release = f"the end of {_and([each.path for each in blockers])}"
    return _waiting("dependency", since, f"waits for {listed}", release, blockers)


def why_not_running(views: ViewStore, step: StepView) -> Waiting | None:
    """Return why a step that is ready, retrying or waiting does not run; None in other states."""
    since = optional_time(step.since)
    if step.state == "retrying":
        return _retry(step, since)
    if step.state == "ready":
        sentence = "is ready: it is released as soon as a worker has a free slot"
        return _waiting("worker", since, sentence, "a free slot of a worker")
    if step.state != "waiting":
        return None
    if step.child is not None:
        return _child(views, step, step.child, since)
    return _items(views, step, since) if step.count is not None else None


def why_item_unknown(fan_out: StepView, state: str) -> Waiting:
    """Return why an item without a document waits."""
    since = optional_time(fan_out.since)
    if state == "ready":
        sentence = "is ready: it is released as soon as a worker has a free slot"
        return _waiting("worker", since, sentence, "a free slot of a worker")
    sentence = f"waits for its turn: {fan_out.begun} of {fan_out.count} items have begun"
    return _waiting("window", since, sentence, "the end of an item before it")


def _retry(step: StepView, since: str | None) -> Waiting:
    until = optional_time(step.due)
    failed = f" with {step.error.code}: {step.error.message}" if step.error else ""
    sentence = f"attempt {step.attempts} failed{failed}; the next one is due at {until}"
    return _waiting("retry", since, sentence, f"the time {until}", until=until)


def _child(views: ViewStore, step: StepView, child: UUID, since: str | None) -> Waiting:
    found: JobView | None = views.load({JOBS: [child]})[JOBS].get(child)
    state = found.state if found else "submitted"
    blocker = Blocker(kind="job", id=child, path=step.path, state=state)
    sentence = f"waits for its child job {child} ({state})"
    return _waiting("children", since, sentence, "the end of the child job", (blocker,))


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
        for item in views.items(step.job, step.name, state=state, limit=ITEMS_NAMED_MAX)
    ]
    release = "the end of its items"
    return _waiting("children", since, sentence, release, tuple(blockers[:ITEMS_NAMED_MAX]))


def _waiting(
    kind: str,
    since: str | None,
    sentence: str,
    release: str,
    blockers: tuple[Blocker, ...] = (),
    *,
    until: str | None = None,
) -> Waiting:
    return Waiting(
        kind=kind, since=since, until=until, sentence=sentence, blockers=blockers, release=release
    )


def _and(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
