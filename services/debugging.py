"""An attempt once more, here: on the input that the log has, reporting to nobody."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain.errors import UsageError
from warrener.domain.events import Error, JobSubmitted, event_of
from warrener.domain.messages import RunStep, StepReport
from warrener.domain.ports import Clock, EventStore
from warrener.projections.diff.values import ABSENT, Difference, first_difference
from warrener.services.active_job import payload_bytes
from warrener.services.bounded import bounded, bounded_json
from warrener.services.endpoints import Endpoint, Registry
from warrener.services.histories.rules import MARK
from warrener.services.perform import Pulse, perform
from warrener.services.places import Place
from warrener.services.recordings import Recording, recordings
from warrener.services.shapes import Error as ErrorShape
from warrener.services.shapes import Shape, Time, optional_time

TOKEN_PREFIX: Final = "debug-"
TOKEN_BYTES: Final = 16
WORKER: Final = "debug"
NUMBERS_SHOWN_MAX: Final = 10


class Recorded(Shape, frozen=True, kw_only=True):
    """What became of the attempt when it ran in the fleet; `outcome` as `show --attempts` has it.

    `user_action` is the cause that a parked attempt named.
    """

    outcome: str | None
    result: Any
    error: ErrorShape | None
    user_action: str | None
    worker: str | None
    started_at: Time | None
    ended_at: Time | None


class Unlike(Shape, frozen=True, kw_only=True):
    """The first difference: a place such as `result.groups[3]` or `error.code`.

    A value that is not there on one side is left out.
    """

    path: str
    recorded: Any = msgspec.UNSET
    here: Any = msgspec.UNSET


class Debugged(Shape, frozen=True, kw_only=True):
    """An attempt as it went here, beside what was recorded of it.

    `place` is file and line of the endpoint. Values over 64 KiB are told by their hash and size,
    the result excepted. `redacted` says that secrets were taken out of the input. `same` is None
    where there is nothing to compare with.
    """

    job: UUID
    step: UUID
    path: str
    attempt: int
    endpoint: str
    place: str
    args: Any
    redacted: bool
    outcome: str
    result: Any
    error: ErrorShape | None
    user_action: str | None
    retry_after: float | None
    recorded: Recorded
    same: bool | None
    difference: Unlike | None
    seconds: float


class Case(msgspec.Struct, frozen=True):
    """An attempt to run again: its order, what was recorded, and the labels of its job."""

    order: RunStep
    recording: Recording
    result: msgspec.Raw  # recorded
    labels: Mapping[str, str]


def case_of(log: EventStore, place: Place, number: int | None) -> Case | None:
    """Return attempt `number` of a step: by default the last that failed, else the last.

    None if the step never went out. Raises `UsageError` if it had no such attempt.
    """
    recording = _chosen(log, place, number)
    if recording is None:
        return None
    submitted = event_of(next(iter(log.stream(place.job)), None), JobSubmitted)
    labels = dict(submitted.labels) if submitted else {}
    root = submitted.root if submitted else place.job
    result = recording.result
    return Case(
        order=_order(log, recording, root, labels),
        recording=recording,
        result=msgspec.Raw(b"null" if result is None else payload_bytes(result, log)),
        labels=labels,
    )


def _chosen(log: EventStore, place: Place, number: int | None) -> Recording | None:
    last: Recording | None = None
    failed: Recording | None = None
    numbers: list[int] = []
    for recording in recordings(log, place.id):
        if recording.number == number:
            return recording
        last, failed = recording, recording if recording.failed else failed
        numbers.append(recording.number)
    if number is not None and numbers:
        raise UsageError(f"{place.path} has no attempt {number}: it has {_listed(numbers)}")
    return failed or last


def _listed(numbers: list[int]) -> str:
    if len(numbers) <= NUMBERS_SHOWN_MAX:
        return ", ".join(map(str, numbers))
    return f"{numbers[0]} to {numbers[-1]}"


def _order(log: EventStore, recording: Recording, root: UUID, labels: dict[str, str]) -> RunStep:
    """Return the order as it went out, but for its token, its deadline and who hears of it.

    The token is none that was ever given out. With the real one a ledger of effects would take this
    run for the attempt: it would hide an effect that was made, or have the attempt, if it is under
    way, believe that its own was.
    """
    released = recording.released
    context: dict[str, Any] = {"root": str(root), "labels": labels, "debugging": True}
    if recording.answer is not None:
        context["answer"] = msgspec.json.decode(payload_bytes(recording.answer, log))
    return RunStep(
        job=released.job,
        step=ids.step_id(released.job, released.path),
        path=released.path,
        endpoint=released.endpoint,
        attempt=released.attempt,
        token=TOKEN_PREFIX + secrets.token_hex(TOKEN_BYTES),
        args=msgspec.Raw(payload_bytes(released.args, log)),
        reply_to=WORKER,
        context=context,
    )


def endpoint_of(case: Case, registry: Registry) -> Endpoint[..., Any]:
    """Return the endpoint of an attempt; raises `UsageError` if it is not known here."""
    name = case.order.endpoint
    found = registry.get(name)
    if found is None:
        raise UsageError(
            f"the step calls {name}, which is not in the modules that are loaded:"
            f" {registry.nearest(name)}; name its module with --endpoints"
        )
    return found


def redacted(case: Case) -> bool:
    """Say whether secrets were taken out of the input, as they are in a history in a file."""
    return MARK.encode() in bytes(case.order.args)


def comparable(case: Case) -> bool:
    """Say whether there is an outcome to compare with."""
    return case.recording.outcome in ("succeeded", "failed", "retry", "timed_out", "parked")


def run_here(
    case: Case,
    registry: Registry,
    clock: Clock,
    on_error: Callable[[BaseException], None] | None = None,
) -> Debugged:
    """Run an attempt in this thread, as a worker does; nothing is recorded or sent.

    `on_error` hears what the endpoint raised, while it may still be looked at.
    """
    ended: list[float] = []

    def hear(error: BaseException) -> None:
        ended.append(time.monotonic())
        if on_error is not None:
            on_error(error)

    pulse = Pulse(on_error=hear)
    report = perform(case.order, WORKER, clock, registry, pulse)
    seconds = (ended[0] if ended else time.monotonic()) - (pulse.begun or 0.0)
    file, line, _ = endpoint_of(case, registry).place
    return _debugged(case, report, f"{file}:{line}", seconds)


def _debugged(case: Case, report: StepReport, place: str, seconds: float) -> Debugged:
    order, asked = case.order, report.user_action
    difference = compare(case, report)
    return Debugged(
        job=order.job,
        step=order.step,
        path=order.path,
        attempt=order.attempt,
        endpoint=order.endpoint,
        place=place,
        args=bounded_json(order.args),
        redacted=redacted(case),
        outcome=report.outcome,
        result=msgspec.json.decode(report.result),
        error=ErrorShape.of(report.error),
        user_action=None if asked is None else asked.cause,
        retry_after=report.retry_after,
        recorded=recorded_of(case),
        same=difference is None if comparable(case) else None,
        difference=None if difference is None else _unlike(difference),
        seconds=seconds,
    )


def recorded_of(case: Case) -> Recorded:
    """Return the shape of what was recorded."""
    recording = case.recording
    ended = recording.ended
    return Recorded(
        outcome=recording.outcome,
        result=bounded_json(case.result),
        error=ErrorShape.of(recording.error),
        user_action=None if recording.asked is None else recording.asked.subject,
        worker=recording.worker,
        started_at=optional_time(getattr(ended, "started_at", None)),
        ended_at=optional_time(getattr(ended, "ended_at", None) or getattr(ended, "at", None)),
    )


def compare(case: Case, report: StepReport) -> Difference | None:
    """Return how a report first differs from what was recorded, None if they agree.

    Results agree if they are the same JSON, failures if code and type of the error are the same,
    and requests for people if they name the same cause.
    """
    if not comparable(case):
        return None
    then, now = _facts(case.recording, case.result), _reported(report)
    found = first_difference(then, now)
    if found is None or "result" not in then or "result" not in now:
        return found
    was, given = (msgspec.json.decode(side["result"]) for side in (then, now))
    return first_difference(was, given, "result")


def _facts(recording: Recording, result: msgspec.Raw) -> dict[str, Any]:
    if recording.outcome == "succeeded":
        return {"outcome": "succeeded", "result": bytes(result)}
    if recording.outcome == "parked":
        asked = recording.asked
        return {"outcome": "parked", "user_action": asked.subject if asked else ""}
    return {"outcome": "failed", "error": _named(recording.error)}


def _reported(report: StepReport) -> dict[str, Any]:
    if report.outcome == "succeeded":
        return {"outcome": "succeeded", "result": bytes(report.result)}
    if report.user_action is not None:
        return {"outcome": "parked", "user_action": report.user_action.cause}
    return {"outcome": "failed", "error": _named(report.error)}


def _named(error: Error | None) -> dict[str, Any]:
    return {} if error is None else {"code": error.code, "type": error.type}


def _unlike(difference: Difference) -> Unlike:
    sides = {"recorded": difference.left, "here": difference.right}
    there = {name: bounded(value) for name, value in sides.items() if value is not ABSENT}
    return Unlike(path=difference.path, **there)
