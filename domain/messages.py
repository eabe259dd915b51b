"""What travels between controller, workers and clients. JSON on the wire, one schema each."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain.events import Error, GivenStep, Selection

PROTOCOL_VERSION = 1
DEFAULT_QUEUE = "default"


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base of all messages; `v` is the version of the protocol."""

    v: int = PROTOCOL_VERSION


class RunStep(Message, frozen=True, kw_only=True, omit_defaults=True, tag="RunStep"):
    """The order to run one attempt of one step."""

    job: UUID
    step: UUID
    path: str
    endpoint: str
    attempt: int
    token: str
    args: msgspec.Raw
    reply_to: str
    context: dict[str, Any] = {}  # root, labels, traceparent


class StepReport(Message, frozen=True, kw_only=True, omit_defaults=True, tag="StepReport"):
    """What became of one attempt. `outcome` succeeded has `result`, the others have `error`."""

    job: UUID
    step: UUID
    attempt: int
    token: str
    worker: str
    outcome: str  # succeeded | failed | retry_later | permanent | user_action
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Error | None = None
    retry_after: float | None = None
    started_at: datetime
    ended_at: datetime


class SubmitJob(Message, frozen=True, kw_only=True, omit_defaults=True, tag="SubmitJob"):
    """Ask for a job. `definition` and `library` are canonical definition texts, name -> text."""

    key: str
    definition: str
    params: msgspec.Raw
    library: dict[str, str] = {}
    labels: dict[str, str] = {}
    priority: int = 0
    fair: str | None = None
    selection: Selection | None = None
    given: dict[str, GivenStep] = {}


class CancelJob(Message, frozen=True, kw_only=True, omit_defaults=True, tag="CancelJob"):
    """Ask to stop a job and everything below it."""

    job: UUID
    reason: str = ""


InboxMessage = StepReport | SubmitJob | CancelJob
