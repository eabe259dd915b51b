"""The shapes of a job's steps, made from their documents and the job's definition."""

from __future__ import annotations

from typing import Any

import msgspec

from warrener.domain.definition.model import StepDefinition
from warrener.domain.ids import split_path
from warrener.domain.payloads import INLINE_BYTES_MAX, Payload
from warrener.domain.ports import EventStore
from warrener.domain.states import STEP_ENDED
from warrener.projections.ports import ViewStore
from warrener.projections.views import JobView, StepView
from warrener.services.places import Places
from warrener.services.shapes import Error, Step, Waiting, optional_time
from warrener.services.waiting import why_item_unknown, why_not_running, why_pending


class StepQueries:
    """Gives steps their shape. `whole` says whether values over 64 KiB are loaded."""

    def __init__(self, store: EventStore, views: ViewStore, places: Places) -> None:
        self._store = store
        self._views = views
        self._places = places

    def named(self, job: JobView, whole: bool) -> dict[str, Step]:
        """Return the steps that a job's definition names, dependencies before their readers."""
        plan = self._places.plan(job.definition)
        found = {view.path: view for view in self._views.named_steps(job.job)}
        states = {name: _state(found.get(name)) for name in plan.steps}
        steps = {}
        for name, planned in plan.steps.items():
            view = found.get(name) or StepView(job=job.job, path=name, root=job.root)
            waiting = self._why(job, view, states)
            steps[name] = self._shaped(view, step_kind(planned.definition), waiting, whole)
        return steps

    def item(self, job: JobView, path: str, whole: bool) -> Step:
        """Return an item of a fan-out; one without a document is ready or pending."""
        name, index = split_path(path)
        kind = _item_kind(self._places.definition(job.definition).steps[name])
        found = self._places.step(job.job, path)
        if found is not None:
            return self._shaped(found, kind, why_not_running(self._views, found), whole)
        fan_out, waiting, state = self._places.step(job.job, name), None, "pending"
        if fan_out is not None and fan_out.state not in STEP_ENDED:
            state = "ready" if (index or 0) < fan_out.begun else "pending"
            waiting = why_item_unknown(fan_out, state)
        view = StepView(job=job.job, path=path, root=job.root, state=state)
        return self._shaped(view, kind, waiting, whole)

    def items(
        self, job: JobView, name: str, *, state: str | None, after: int, limit: int, whole: bool
    ) -> list[Step]:
        """Return items of a fan-out that have a document, those after index `after`."""
        kind = _item_kind(self._places.definition(job.definition).steps[name])
        found = self._views.items(job.job, name, state=state, after=after, limit=limit)
        return [
            self._shaped(view, kind, why_not_running(self._views, view), whole) for view in found
        ]

    def value(self, payload: Payload, whole: bool) -> Any:
        """Return the JSON value of a payload."""
        if payload.json is not None:
            return msgspec.json.decode(payload.json)
        if payload.blob is None:
            return None
        if not whole and (payload.size or 0) > INLINE_BYTES_MAX:
            return f"({payload.size:,} bytes, not shown)"
        return msgspec.json.decode(self._store.blob(payload.blob))

    def _why(self, job: JobView, view: StepView, states: dict[str, str]) -> Waiting | None:
        if view.state != "pending":
            return why_not_running(self._views, view)
        edges = self._places.plan(job.definition).steps[view.name].edges
        return why_pending(job, [edge.dependency for edge in edges], states)

    def _shaped(self, view: StepView, kind: str, waiting: Waiting | None, whole: bool) -> Step:
        return Step(
            id=view.id,
            name=view.name,
            path=view.path,
            state=view.state,
            kind=kind,
            attempts=view.attempts,
            result=self.value(view.result, whole),
            error=Error.of(view.error),
            worker=view.worker,
            ready_at=optional_time(view.ready_at),
            released_at=optional_time(view.released_at),
            started_at=optional_time(view.started_at),
            ended_at=optional_time(view.ended_at),
            waiting=waiting,
            items=view.items_by_state(),
            child=view.child,
        )


def step_kind(step: StepDefinition) -> str:
    """Return what a step is: call, job, set or for_each."""
    return "for_each" if step.for_each is not None else _item_kind(step)


def _item_kind(step: StepDefinition) -> str:
    if step.call is not None:
        return "call"
    return "job" if step.job is not None else "set"


def _state(view: StepView | None) -> str:
    return view.state if view else "pending"
