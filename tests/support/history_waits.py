"""What histories by hand say of waiting and steering."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from warrener.domain import ids
from warrener.domain.control_events import (
    FleetChanged,
    LimitChanged,
    UserActionAnswered,
    UserActionReminded,
    UserActionRequested,
    UserActionWithdrawn,
)
from warrener.domain.events import (
    Event,
    JobAdjusted,
    JobOverdue,
    JobPaused,
    JobRerun,
    JobResumed,
    JobSignalled,
)
from warrener.domain.payloads import Payload
from warrener.domain.step_events import (
    StepOpened,
    StepParked,
    StepProgressed,
    StepReadied,
    StepRenewed,
    StepSkipped,
)

TICK = timedelta(seconds=1)


class Waits:
    """The part of `History` about waiting and steering."""

    now: datetime
    requests = 0

    def write(self, stream: UUID, kind: type[Event], **fields: Any) -> None:
        raise NotImplementedError

    def step(self, job: UUID, path: str, kind: type[Event], **fields: Any) -> None:
        raise NotImplementedError

    def payload(self, value: Any) -> Payload:
        raise NotImplementedError

    # --- waiting ----------------------------------------------------------------------------------

    def progress(self, job: UUID, path: str, share: float, note: str | None = None) -> None:
        self.step(job, path, StepProgressed, attempt=1, worker="w1", progress=share, note=note)

    def ask(self, job: UUID, path: str, subject: str = "facebook:page", **fields: Any) -> UUID:
        """A request is opened, by a step or for a wait with a form; returns its id."""
        self.requests += 1
        request = ids.user_action_id(ids.step_id(job, path), self.requests)
        known = {"action": "reconnect", "subject": subject, "job": job, "path": path, **fields}
        self.write(request, UserActionRequested, **known)
        return request

    def park(
        self, job: UUID, path: str, request: UUID, patience: float | None = None, attempt: int = 1
    ) -> None:
        until = None if patience is None else self.now + TICK + timedelta(seconds=patience)
        self.step(job, path, StepParked, attempt=attempt, request=request, until=until, worker="w1")

    def remind(self, request: UUID, number: int = 1) -> None:
        self.write(request, UserActionReminded, number=number)

    def answer(self, request: UUID, data: Any = None, by: str = "ada") -> None:
        self.write(request, UserActionAnswered, by=by, data=self.payload(data))

    def withdraw(self, request: UUID, why: str = "no step waits for it") -> None:
        self.write(request, UserActionWithdrawn, why=why)

    def ready_again(self, job: UUID, path: str, **fields: Any) -> None:
        self.step(job, path, StepReadied, **fields)

    def wait_for(self, job: UUID, path: str, signal: str | None = None, **fields: Any) -> None:
        """A wait begins, or without a signal a sleep."""
        self.step(job, path, StepOpened, signal=signal, **fields)

    def skip(self, job: UUID, path: str, reason: str = "patience ended") -> None:
        self.step(job, path, StepSkipped, reason=reason)

    # --- steering ---------------------------------------------------------------------------------

    def pause(self, job: UUID, by: str = "ada", reason: str = "lunch") -> None:
        self.write(job, JobPaused, by=by, reason=reason)

    def resume(self, job: UUID, by: str = "ada") -> None:
        self.write(job, JobResumed, by=by)

    def overdue(self, job: UUID) -> None:
        self.write(job, JobOverdue, deadline=self.now)

    def signal(self, job: UUID, name: str, key: str, step: str | None = None) -> None:
        data = self.payload({"ok": True})
        self.write(job, JobSignalled, name=name, key=key, data=data, step=step, by="ada")

    def rerun(self, job: UUID, steps: Iterable[str], generation: int = 2) -> None:
        """A new generation of steps begins, of the first of them and of what is below it."""
        named = tuple(steps)
        self.write(
            job,
            JobRerun,
            generation=generation,
            step=named[0],
            steps=named,
            key=f"rerun-{generation}",
            by="ada",
            reason="bad data",
        )

    def renew(self, job: UUID, path: str, generation: int = 2) -> None:
        self.step(job, path, StepRenewed, generation=generation)

    def adjust(self, job: UUID, step: str, **fields: Any) -> None:
        self.write(job, JobAdjusted, step=step, by="ada", reason="too slow", **fields)

    def change_limit(self, name: str, **fields: Any) -> None:
        self.write(ids.limit_id(name), LimitChanged, name=name, **fields)

    def change_fleet(self, slots: Mapping[str, int], *endpoints: str) -> None:
        self.write(ids.FLEET_ID, FleetChanged, slots=dict(slots), endpoints=endpoints)
