"""Histories by hand: a log that is written event by event, with a clock of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from support.history_flow import Flows
from support.history_waits import TICK, Waits
from support.list_store import ListEventStore

from warrener.domain import ids
from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import (
    DefinitionStored,
    Error,
    Event,
    FanOut,
    GivenStep,
    JobAdvanced,
    JobCancelled,
    JobCancelling,
    JobFailed,
    JobStarted,
    JobSubmitted,
    JobSucceeded,
    Parent,
    Recorded,
)
from warrener.domain.payloads import Payload, to_payload
from warrener.domain.step_events import (
    StepCancelled,
    StepFailed,
    StepOpened,
    StepReleased,
    StepRetryScheduled,
    StepStarted,
    StepSucceeded,
)

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def definition(name: str = "report", version: int = 1, **steps: Any) -> JobDefinition:
    """Return a definition from the YAML face's step mappings."""
    raw = {"job": name, "version": version, "steps": steps or {"only": {"call": "a.b"}}}
    return msgspec.convert(raw, JobDefinition)


class History(Waits, Flows):
    """Writes events; each takes a second."""

    def __init__(self, partition: int = 0) -> None:
        self.store = ListEventStore(partition)
        self.now = START
        self._versions: dict[UUID, int] = {}
        self._jobs: dict[UUID, JobSubmitted] = {}

    def write(self, stream: UUID, kind: type[Event], **fields: Any) -> None:
        self.now += TICK
        event = kind(at=self.now, cause="test:history", **fields)
        version = self._versions[stream] = self._versions.get(stream, 0) + 1
        self.store.commit([Recorded(stream, version, event)], {})

    def payload(self, value: Any) -> Payload:
        payload, blobs = to_payload(json.dumps(value).encode())
        self.store.blobs.update(blobs)
        return payload

    def define(self, wanted: JobDefinition) -> str:
        stream = ids.definition_id(wanted.hash)
        if stream not in self._versions:
            self.write(
                stream,
                DefinitionStored,
                name=wanted.name,
                version=wanted.version,
                hash=wanted.hash,
                json=wanted.to_json().decode(),
            )
        return wanted.hash

    def submit(
        self,
        wanted: JobDefinition,
        key: str = "k",
        params: Any = None,
        parent: tuple[UUID, str] | None = None,
        labels: Mapping[str, str] | None = None,
        given: Mapping[str, GivenStep] | None = None,
        generation: int = 1,
        **more: Any,
    ) -> UUID:
        content = self.define(wanted)
        job, above, root, depth = ids.job_id(key), None, ids.job_id(key), 0
        if parent is not None:
            step = ids.step_id(*parent)
            job, above = ids.child_job_id(step, generation), Parent(parent[0], step, parent[1])
            root, depth = self._jobs[parent[0]].root, self._jobs[parent[0]].depth + 1
        self.write(
            job,
            JobSubmitted,
            name=wanted.name,
            version=wanted.version,
            definition=content,
            params=self.payload(params),
            params_digest="",
            root=root,
            parent=above,
            depth=depth,
            labels=dict(labels or {}),
            given=dict(given or {}),
            **more,
        )
        self._jobs[job] = self.store.log[-1].recorded.event  # type: ignore[assignment]
        return job

    def start(self, job: UUID) -> None:
        self.write(job, JobStarted)

    def advance(self, job: UUID, **fields: Any) -> None:
        self.write(job, JobAdvanced, **fields)

    def succeed_job(self, job: UUID, result: Any = None) -> None:
        self.write(job, JobSucceeded, result=self.payload(result))

    def fail_job(self, job: UUID, code: str = "error") -> None:
        self.write(job, JobFailed, error=Error(code=code, message="it failed"))

    def cancelling(self, job: UUID, reason: str = "") -> None:
        self.write(job, JobCancelling, reason=reason)

    def cancel_job(self, job: UUID, reason: str = "") -> None:
        self.write(job, JobCancelled, reason=reason)

    def step(self, job: UUID, path: str, kind: type[Event], **fields: Any) -> None:
        self.write(ids.step_id(job, path), kind, job=job, path=path, **fields)

    def release(self, job: UUID, path: str, attempt: int = 1) -> None:
        self.step(
            job,
            path,
            StepReleased,
            attempt=attempt,
            token="t",
            endpoint="a.b",
            queue="default",
            args=Payload("{}"),
        )

    def begin(self, job: UUID, path: str, attempt: int = 1, worker: str = "w1") -> None:
        self.step(job, path, StepStarted, attempt=attempt, worker=worker)

    def retry(self, job: UUID, path: str, attempt: int = 1, due: float = 30.0) -> None:
        self.step(
            job,
            path,
            StepRetryScheduled,
            attempt=attempt,
            error=Error(code="error", message="not yet", attempt=attempt),
            due=self.now + TICK + timedelta(seconds=due),
            rule=0,
        )

    def succeed(
        self, job: UUID, path: str, result: Any = None, attempt: int = 1, seconds: float = 0.5
    ) -> None:
        self.step(
            job,
            path,
            StepSucceeded,
            result=self.payload(result),
            attempt=attempt,
            worker="w1",
            started_at=self.now,
            ended_at=self.now + timedelta(seconds=seconds),
        )

    def end(self, job: UUID, path: str, result: Any = None) -> None:
        """The success of a step without an attempt: `set`, fan-out, sub-job."""
        self.step(job, path, StepSucceeded, result=self.payload(result))

    def fail(self, job: UUID, path: str, attempt: int | None = 1) -> None:
        error = Error(code="error", message="broken", attempt=attempt)
        self.step(job, path, StepFailed, error=error, attempt=attempt)

    def cancel(self, job: UUID, path: str) -> None:
        self.step(job, path, StepCancelled)

    def open_items(self, job: UUID, name: str, count: int, begun: int, **shape: Any) -> None:
        self.step(job, name, StepOpened, items=self.payload([0] * count), count=count)
        self.advance(job, fan_outs={name: FanOut(count, **shape)}, begun={name: begun})

    def open_child(self, job: UUID, path: str, wanted: JobDefinition, generation: int = 1) -> UUID:
        """A step starts a child job; returns the child."""
        child = ids.child_job_id(ids.step_id(job, path), generation)
        self.step(job, path, StepOpened, child=child)
        if not path.endswith("]"):
            self.advance(job, children={path: child})
        return self.submit(wanted, parent=(job, path), generation=generation)


REPORT = definition(
    "report",
    load={"call": "crm.load"},
    parts={"for_each": "${{ steps.load.result }}", "call": "crm.part", "window": 3},
    sub={"job": "report", "with": {"x": "${{ steps.load.result }}"}},
    merge={"call": "report.merge", "with": {"p": "${{ steps.parts.results }}"}, "after": ["sub"]},
    sorry={"call": "mail.sorry", "after": ["merge"], "join": "any_failed"},
)


def half_done_report() -> tuple[History, UUID, UUID]:
    """A report whose fan-out and sub-job are under way; returns history, job and child."""
    history = History()
    job = history.submit(REPORT, params={"account": "a"}, labels={"team": "red"})
    history.start(job)
    history.advance(job, readied={"load": ()})
    history.release(job, "load")
    history.succeed(job, "load", result=[1, 2, 3, 4, 5])
    history.open_items(job, "parts", count=5, begun=3, window=3)
    child = history.open_child(job, "sub", REPORT)
    history.advance(job, settled={"load": "succeeded"})
    history.release(job, "parts[0]")
    history.release(job, "parts[1]")
    history.succeed(job, "parts[0]", result=10, seconds=2.5)
    history.retry(job, "parts[1]")
    history.start(child)
    return history, job, child


def finish_report(history: History, job: UUID, child: UUID) -> None:
    """Bring the half done report to its end."""
    history.advance(child, settled=dict.fromkeys(REPORT.steps, "not_needed"))
    history.succeed_job(child, result=7)
    history.end(job, "sub", result=7)
    history.release(job, "parts[1]", attempt=2)
    history.begin(job, "parts[1]", attempt=2)
    for index in (1, 2, 3, 4):
        history.succeed(job, f"parts[{index}]", result=index, attempt=1 + (index == 1))
    history.advance(job, begun={"parts": 5}, items={"parts": {"succeeded": (0, 1, 2, 3, 4)}})
    history.end(job, "parts", result=[10, 1, 2, 3, 4])
    history.advance(job, readied={"merge": ()}, settled={"parts": "succeeded", "sub": "succeeded"})
    history.release(job, "merge")
    history.succeed(job, "merge", result={"sum": 20})
    history.advance(job, settled={"merge": "succeeded", "sorry": "skipped"})
    history.succeed_job(job, result={"sum": 20})
