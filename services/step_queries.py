"""The shapes of a job's steps, made from their documents and the job's definition."""

from __future__ import annotations

from typing import Any

import msgspec

from warrener.domain.definition.model import JobDefinition, StepDefinition
from warrener.domain.ids import split_path
from warrener.domain.partitions import Logs
from warrener.domain.payloads import INLINE_BYTES_MAX, Payload
from warrener.domain.states import STEP_ENDED
from warrener.projections.ports import ViewStore
from warrener.projections.views import JobView, StepView
from warrener.services.logs import blob_of
from warrener.services.places import Places, step_names
from warrener.services.shapes import Error, Steered, Step, Waiting, optional_time
from warrener.services.waiting import why_item_unknown, why_not_running
from warrener.services.waiting_pending import Pending, why_pending


class StepQueries:
    """Gives steps their shape. `whole` says whether values over 64 KiB are loaded."""

    def __init__(self, logs: Logs, views: ViewStore, places: Places) -> None:
        self._logs = logs
        self._views = views
        self._places = places

    def named(self, job: JobView, whole: bool) -> dict[str, Step]:
        """Return the steps of a job, dependencies before their readers, then what undoes them."""
        plan = self._places.plan(job.definition)
        found = {view.path: view for view in self._views.named_steps(job.job)}
        names = list(dict.fromkeys((*plan.steps, *step_names(plan.definition))))
        blank = StepView(job=job.job, path="", root=job.root)
        documents = {
            name: found.get(name) or msgspec.structs.replace(blank, path=name) for name in names
        }
        pending = Pending(job, plan, documents, self._places.paused(job))
        return {
            name: self._shaped(view, self._kind(plan.definition, name), pending, whole)
            for name, view in documents.items()
        }

    def item(self, job: JobView, path: str, whole: bool) -> Step:
        """Return an item of a fan-out; one without a document is ready or pending."""
        name, index = split_path(path)
        kind = _item_kind(self._places.definition(job.definition).steps[name])
        found, fan_out = self._places.step(job.job, path), self._places.step(job.job, name)
        held = self._places.paused(job)
        if found is not None:
            found.generation = fan_out.generation if fan_out else found.generation
            return self._shape(found, kind, why_not_running(self._views, found, held), whole)
        view, waiting = StepView(job=job.job, path=path, root=job.root), None
        if fan_out is not None:
            view.generation = fan_out.generation
            begun = "ready" if (index or 0) < fan_out.begun else "pending"
            view.state = "cancelled" if fan_out.state in STEP_ENDED else begun
            waiting = why_item_unknown(fan_out, view.state, held)
        return self._shape(view, kind, waiting, whole)

    def items(
        self, job: JobView, name: str, *, state: str | None, after: int, limit: int, whole: bool
    ) -> list[Step]:
        """Return items of a fan-out that have a document, those after index `after`."""
        kind = _item_kind(self._places.definition(job.definition).steps[name])
        fan_out = self._places.step(job.job, name)
        if fan_out is None:
            return []
        found = self._views.items(fan_out, state=state, after=after, limit=limit)
        held = self._places.paused(job)
        for view in found:
            view.generation = fan_out.generation
        return [
            self._shape(view, kind, why_not_running(self._views, view, held), whole)
            for view in found
        ]

    def value(self, payload: Payload, whole: bool) -> Any:
        """Return the JSON value of a payload."""
        if payload.json is not None:
            return msgspec.json.decode(payload.json)
        if payload.blob is None:
            return None
        if not whole and (payload.size or 0) > INLINE_BYTES_MAX:
            return f"({payload.size:,} bytes, not shown)"
        return msgspec.json.decode(blob_of(self._logs, payload.blob))

    def whole(self, payload: Payload) -> Any:
        """Return the JSON value of a payload, however large."""
        return self.value(payload, True)

    def _kind(self, definition: JobDefinition, name: str) -> str:
        known = definition.steps.get(name)
        return "call" if known is None else step_kind(known)

    def _shaped(self, view: StepView, kind: str, pending: Pending, whole: bool) -> Step:
        if view.state == "pending":
            waiting = why_pending(pending, view.name)
        else:
            waiting = why_not_running(self._views, view, pending.held)
        return self._shape(view, kind, waiting, whole)

    def _shape(self, view: StepView, kind: str, waiting: Waiting | None, whole: bool) -> Step:
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
            progress=view.progress,
            note=view.note,
            until=optional_time(view.until),
            request=view.request,
            signal=view.signal,
            caught_by=view.caught_by,
            generation=view.generation,
            reason=view.reason,
            window=view.window,
            tolerated=None if view.count is None else view.tolerated,
            adjusted=Steered.of(view.adjusted),
        )


def step_kind(step: StepDefinition) -> str:
    """Return what a step is: call, job, wait, sleep, set or for_each."""
    return "for_each" if step.for_each is not None else _item_kind(step)


def _item_kind(step: StepDefinition) -> str:
    kinds = {"call": step.call, "job": step.job, "wait": step.wait, "sleep": step.sleep}
    return next((kind for kind, given in kinds.items() if given is not None), "set")
