"""What travels between controller, workers and clients. JSON on the wire, one schema each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from warrener.domain.definition.model import Rate, RetryRule
from warrener.domain.events import Error, GivenStep, Selection
from warrener.domain.flow.incidents import Diagnosis, Victim
from warrener.domain.flow.settings import IntakeMode, Mode
from warrener.domain.payloads import MESSAGE_BYTES_MAX

PROTOCOL_VERSION = 1
DEFAULT_QUEUE = "default"
QUEUES_MAX = 1_000  # that a worker announces

# What is checked beside the types; `outcome` is text, so that it is one type everywhere else.
Outcome = Annotated[
    str, Meta(pattern="^(succeeded|failed|retry_later|permanent|user_action)$(?!\\n)")
]
Name = Annotated[str, Meta(min_length=1, max_length=200)]  # part of names of queues
Reply = Annotated[str, Meta(pattern=r"^warrener\.reply\.[A-Za-z0-9._-]{1,200}$(?!\n)")]
Attempt = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Slots = Annotated[int, Meta(ge=0, le=100_000)]
Seconds = Annotated[float, Meta(ge=0.01, le=86_400)]
Priority = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Time = Annotated[datetime, Meta(tz=True)]
Said = Annotated[str, Meta(max_length=2_000)]
Path = Annotated[str, Meta(min_length=1, max_length=300)]
Key = Annotated[str, Meta(min_length=1, max_length=200)]
Weight = Annotated[float, Meta(ge=0.001, le=10**6)]
Cause = Annotated[str, Meta(min_length=1, max_length=500)]


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base of all messages; `v` is the version of the protocol."""

    v: int = PROTOCOL_VERSION


class RunStep(Message, frozen=True, kw_only=True, omit_defaults=True, tag="RunStep"):
    """The order to run one attempt of one step."""

    job: UUID
    step: UUID
    path: str
    endpoint: str
    attempt: Attempt
    token: str
    args: msgspec.Raw
    reply_to: Annotated[str, Meta(min_length=1, max_length=255)]
    deadline: Time | None = None  # of the job: whoever is later works for nobody
    beat_seconds: Seconds | None = None  # beat that often, where that is more than by habit
    context: dict[str, Any] = {}  # root, labels, traceparent, answer


class UserActionAsked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an endpoint asks a person for; steps that name the same `cause` share one answer.

    `form` is the JSON Schema of the answer.
    """

    action: Name
    cause: Cause
    message: Said = ""
    form: dict[str, Any] | None = None


class StepReport(Message, frozen=True, kw_only=True, omit_defaults=True, tag="StepReport"):
    """What became of one attempt. `outcome` succeeded has `result`, the others have `error`."""

    job: UUID
    step: UUID
    attempt: Attempt
    token: str
    worker: Name
    outcome: Outcome
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Error | None = None
    retry_after: float | None = None
    user_action: UserActionAsked | None = None
    started_at: Time
    ended_at: Time


class Beat(Message, frozen=True, kw_only=True, omit_defaults=True, tag="Beat"):
    """An attempt still runs. Sent to `reply_to` of its order, every beat interval from the first.

    `progress` is a share from 0 to 1, `note` a word of the endpoint about what it is doing.
    """

    job: UUID
    step: UUID
    attempt: Attempt
    token: str
    worker: Name
    at: Time
    progress: float | None = None
    note: str | None = None


class WorkerState(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What workers announce on the fleet exchange: whom they serve, and with how many slots."""

    worker: Name
    host: str
    pid: int
    endpoints: Annotated[tuple[Name, ...], Meta(max_length=10_000)]
    queues: Annotated[tuple[Name, ...], Meta(max_length=QUEUES_MAX)]  # as definitions call them
    slots: Slots
    busy: Slots = 0
    beat_seconds: Seconds = 10.0  # when to expect the next sign of life
    # Queues that it could serve, since it knows endpoints of them, beside those it serves.
    able: Annotated[tuple[Name, ...], Meta(max_length=QUEUES_MAX)] = ()


class WorkerHello(WorkerState, frozen=True, kw_only=True, omit_defaults=True, tag="WorkerHello"):
    """A worker has started. Routing key `worker.hello`."""


class WorkerBeat(WorkerState, frozen=True, kw_only=True, omit_defaults=True, tag="WorkerBeat"):
    """A worker is alive. Routing key `worker.beat`."""


class WorkerBye(WorkerState, frozen=True, kw_only=True, omit_defaults=True, tag="WorkerBye"):
    """A worker takes no more orders. Routing key `worker.bye`."""


class CancelStep(Message, frozen=True, kw_only=True, omit_defaults=True, tag="CancelStep"):
    """Stop an attempt, or do not begin it: nobody waits for its report. Routing key `step.cancel`.

    It goes to every worker; only the one that has the order acts.
    """

    job: UUID
    step: UUID
    attempt: Attempt


class CallWorkers(Message, frozen=True, kw_only=True, omit_defaults=True, tag="CallWorkers"):
    """A reactor has started and asks who is there: every worker beats at once.

    Routing key `worker.call`.
    """


class AdviseWorker(Message, frozen=True, kw_only=True, omit_defaults=True, tag="AdviseWorker"):
    """Serve these queues instead of your own until then. Routing key `worker.advise`.

    It goes to every worker; only the named one acts. Without any queue it ends the advice at once.
    """

    worker: Name
    queues: Annotated[tuple[Name, ...], Meta(max_length=100)]
    until: Time


class Command(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what clients ask for. With `reply_to` the reactor answers with `CommandReply`.

    That is a queue for replies and no other: the reactor may write to more than clients may.
    """

    reply_to: Reply | None = None


class SubmitJob(Command, frozen=True, kw_only=True, omit_defaults=True, tag="SubmitJob"):
    """Ask for a job. `definition` and `library` are canonical definition texts, name -> text."""

    key: str
    definition: str
    params: msgspec.Raw
    library: dict[str, str] = {}
    labels: dict[str, str] = {}
    priority: Priority = 0
    fair: str | None = None
    selection: Selection | None = None
    given: dict[str, GivenStep] = {}
    deadline: Time | None = None
    traceparent: Annotated[str, Meta(max_length=512)] | None = None  # of whoever submits


class Steering(Command, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what people ask for while jobs run: who asks, and why."""

    by: Said = ""
    reason: Said = ""


class CancelJob(Steering, frozen=True, kw_only=True, omit_defaults=True, tag="CancelJob"):
    """Ask to stop a job and everything below it."""

    job: UUID


class PauseJob(Steering, frozen=True, kw_only=True, omit_defaults=True, tag="PauseJob"):
    """Ask to let nothing more of a job, and of what is below it, go out."""

    job: UUID


class ResumeJob(Steering, frozen=True, kw_only=True, omit_defaults=True, tag="ResumeJob"):
    """Ask a paused job to go on."""

    job: UUID


class RetryJob(Steering, frozen=True, kw_only=True, omit_defaults=True, tag="RetryJob"):
    """Ask to try again now what failed or waits for another attempt.

    `path` names one step of the job; without it all such steps of the job and below are meant. The
    same `key` (or else message id) asks once.
    """

    job: UUID
    path: Path | None = None
    key: Key | None = None


class RerunJob(Steering, frozen=True, kw_only=True, omit_defaults=True, tag="RerunJob"):
    """Ask for a new generation of a step and all below it; the same `key` asks for the same one."""

    job: UUID
    step: Path
    key: Key


class SignalJob(Steering, frozen=True, kw_only=True, omit_defaults=True, tag="SignalJob"):
    """Send a signal to a job; the same `key` is the same signal."""

    job: UUID
    name: Name
    data: msgspec.Raw = msgspec.Raw(b"null")
    key: Key


class AdjustStep(Steering, frozen=True, kw_only=True, omit_defaults=True, tag="AdjustStep"):
    """Ask to change parameters of a step of a running job; None leaves one as it is."""

    job: UUID
    step: Path
    window: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    tolerated: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    retry: Annotated[tuple[RetryRule, ...], Meta(max_length=50)] | None = None


class AnswerUserAction(
    Steering, frozen=True, kw_only=True, omit_defaults=True, tag="AnswerUserAction"
):
    """Answer a request for help; `data` must fit its form. Every step that waits goes on.

    With `cause` it is a copy for a partition that has an own request about the same, perhaps.
    """

    request: UUID
    cause: Cause | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class ChangeLimit(Steering, frozen=True, kw_only=True, omit_defaults=True, tag="ChangeLimit"):
    """Ask to change a limit for everybody; what is None goes back to what definitions say."""

    name: Name
    slots: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    rate: Rate | None = None
    burst: Annotated[int, Meta(ge=1, le=10**9)] | None = None


class ChangeFlow(Steering, frozen=True, kw_only=True, omit_defaults=True, tag="ChangeFlow"):
    """Ask to release by another policy, or to do something else about starvation.

    What is None stays as it is. `weights` are those of fairness keys; they replace all others.
    """

    policy: Name | None = None
    weights: dict[str, Weight] | None = None
    mode: Mode | None = None
    bound_seconds: Annotated[float, Meta(ge=0.1, le=10**7)] | None = None
    intake: IntakeMode | None = None


class WaitJob(Command, frozen=True, kw_only=True, omit_defaults=True, tag="WaitJob"):
    """Ask for the outcome of a root job, now or when it ends. Ask again if no answer comes."""

    job: UUID


class CommandReply(Message, frozen=True, kw_only=True, omit_defaults=True, tag="CommandReply"):
    """The answer to a command, named by its message id. `error` says why it was refused.

    With the code `busy` the same command may be sent again after `retry_after` seconds.
    """

    command: str
    job: UUID | None = None
    error: Error | None = None
    retry_after: Annotated[int, Meta(ge=0)] | None = None


class JobOutcome(Message, frozen=True, kw_only=True, omit_defaults=True, tag="JobOutcome"):
    """How a root job ended: the answer to `WaitJob`. `steps` counts its tree's steps by state."""

    job: UUID
    name: str
    version: int
    state: str
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Error | None = None
    steps: dict[str, int] = {}
    elapsed_seconds: float = 0.0


class UserActionNotice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a person is asked for. `request` is what an answer names."""

    request: UUID
    action: str
    cause: str
    message: str = ""
    reminder: int = 0  # which reminder this is; 0: the request itself


class EventNotice(Message, frozen=True, kw_only=True, omit_defaults=True, tag="EventNotice"):
    """A fact from the log for other services, on the events exchange under `event`.

    At least once, in order for each job; `position` tells duplicates.
    """

    event: str  # such as job.succeeded, step.failed, user_action.requested
    position: int
    at: Time
    job: UUID
    root: UUID
    name: str  # of the job's definition
    path: str | None = None  # of the step
    labels: dict[str, str] = {}
    error: Error | None = None
    user_action: UserActionNotice | None = None


class StarvationNotice(
    Message, frozen=True, kw_only=True, omit_defaults=True, tag="StarvationNotice"
):
    """Steps of a queue wait too long, or do so no more: on the events exchange under `event`.

    At least once; `position` tells duplicates. `why` says why an incident has ended.
    """

    event: str  # starvation.detected or starvation.ended
    position: int
    at: Time
    incident: UUID
    queue: str
    diagnosis: Diagnosis
    victims: tuple[Victim, ...]  # when it was found
    since: Time
    why: str = ""


ControlMessage = CancelStep | CallWorkers | AdviseWorker
FleetMessage = WorkerHello | WorkerBeat | WorkerBye
SteeringMessage = (
    CancelJob
    | PauseJob
    | ResumeJob
    | RetryJob
    | RerunJob
    | SignalJob
    | AdjustStep
    | AnswerUserAction
    | ChangeLimit
    | ChangeFlow
)
InboxMessage = StepReport | Beat | SubmitJob | SteeringMessage | WaitJob | FleetMessage
ReplyMessage = CommandReply | JobOutcome


def decoder(kind: Any) -> Callable[[bytes], Any]:
    """Return the function that decodes messages from outside: a type of message, or a union.

    It raises an error of msgspec's family on everything else, be it too large, too deep, not UTF-8
    or of another version of the protocol.
    """
    decode = msgspec.json.Decoder(kind).decode

    def checked(body: bytes) -> Any:
        if len(body) > MESSAGE_BYTES_MAX:
            raise msgspec.ValidationError(f"{len(body)} bytes are over {MESSAGE_BYTES_MAX}")
        try:
            message = decode(body)
        except (RecursionError, UnicodeDecodeError) as error:
            raise msgspec.DecodeError(f"{type(error).__name__}: {error}") from error
        if message.v != PROTOCOL_VERSION:
            raise msgspec.ValidationError(f"unknown protocol version {message.v}")
        return message

    return checked
