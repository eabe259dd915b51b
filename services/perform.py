"""Performing an order: call the endpoint, and say in a report what became of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from datetime import timedelta
from types import TracebackType
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain.errors import (
    PayloadError,
    PermanentError,
    RetryLater,
    UsageError,
    UserActionRequired,
)
from warrener.domain.events import ERROR_CHARACTERS_MAX, TRACEBACK_CHARACTERS_MAX, Error
from warrener.domain.messages import RunStep, StepReport, UserActionAsked
from warrener.domain.payloads import decode_json, encode_json
from warrener.domain.ports import Clock
from warrener.domain.retry import WAIT_SECONDS_MAX
from warrener.services.endpoints import REGISTRY, Endpoint, Registry
from warrener.services.plans import Misfit
from warrener.services.step_context import bind_step, surroundings

CODE_CHARACTERS_MAX = 100
ACTION_CHARACTERS_MAX = 200
CAUSE_CHARACTERS_MAX = 500
NOTE_CHARACTERS_MAX = 200


class Pulse(msgspec.Struct, eq=False):
    """What an attempt says of itself while it runs, and what it is told. Threads share it."""

    begun: float | None = None  # on the clock of `time.monotonic`
    share: float | None = None
    note: str | None = None
    cancelled: bool = False
    on_error: Callable[[BaseException], None] | None = None  # hears what the endpoint raised


_running: ContextVar[tuple[RunStep, Pulse] | None] = ContextVar("warrener_running", default=None)


class CurrentStep(msgspec.Struct, frozen=True):
    """The step that is running here. `token` is the attempt's, for fencing effects outside.

    `answer` is what a person answered, if an attempt before this one asked for help. `debugging`
    says that this is `warrener debug`: nobody takes the result, and `token` is no attempt's.
    """

    job: UUID
    step: UUID
    path: str
    attempt: int
    token: str
    labels: dict[str, str]
    root: UUID
    answer: Any = None
    debugging: bool = False
    pulse: Pulse = msgspec.field(default_factory=Pulse)

    @property
    def cancelled(self) -> bool:
        """Say whether nobody waits for this attempt any more, so that it should end soon."""
        return self.pulse.cancelled

    def progress(self, share: float | None = None, note: str | None = None) -> None:
        """Tell how far the attempt has come: a share from 0 to 1, a few words, or both.

        It costs next to nothing; the worker hands the newest on with its next beat. Raises
        `ValueError` or `TypeError` for a share that is no number.
        """
        if share is not None:
            share = float(share)
            if math.isnan(share):
                raise ValueError("progress: the share is not a number")
            self.pulse.share = min(max(share, 0.0), 1.0)
        if note is not None:
            self.pulse.note = _bounded(note, NOTE_CHARACTERS_MAX)


class Fate(msgspec.Struct, frozen=True):
    """What became of one call."""

    outcome: str
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Error | None = None
    retry_after: float | None = None
    user_action: UserActionAsked | None = None


def current_step() -> CurrentStep:
    """Return the step that is running in this thread or task."""
    running = _running.get()
    if running is None:
        raise UsageError("current_step() was called outside a step: only a worker runs steps")
    order, pulse = running
    return CurrentStep(
        job=order.job,
        step=order.step,
        path=order.path,
        attempt=order.attempt,
        token=order.token,
        labels=dict(order.context.get("labels", {})),
        root=UUID(str(order.context.get("root", order.job))),
        answer=order.context.get("answer"),
        debugging=bool(order.context.get("debugging")),
        pulse=pulse,
    )


def perform(
    order: RunStep,
    worker: str,
    clock: Clock,
    registry: Registry = REGISTRY,
    pulse: Pulse | None = None,
) -> StepReport:
    """Run one attempt of a step and report it; only `KeyboardInterrupt` goes through.

    An attempt whose pulse says that it is cancelled is not begun.
    """
    started_at = clock.now()
    fate = _call(order, worker, registry, pulse or Pulse())
    return report(order, worker, fate, started_at=started_at, ended_at=clock.now())


async def perform_async(
    order: RunStep, worker: str, clock: Clock, registry: Registry, pulse: Pulse
) -> StepReport:
    """Run one attempt in the loop that runs this; whatever the endpoint raises is reported."""
    started_at = clock.now()
    fate = await _await(order, worker, registry, pulse)
    return report(order, worker, fate, started_at=started_at, ended_at=clock.now())


def report(
    order: RunStep, worker: str, fate: Fate, *, started_at: Any, ended_at: Any
) -> StepReport:
    """Return the report of an attempt."""
    return StepReport(
        job=order.job,
        step=order.step,
        attempt=order.attempt,
        token=order.token,
        worker=worker,
        outcome=fate.outcome,
        result=fate.result,
        error=fate.error,
        retry_after=fate.retry_after,
        user_action=fate.user_action,
        started_at=started_at,
        ended_at=ended_at,
    )


def _call(order: RunStep, worker: str, registry: Registry, pulse: Pulse) -> Fate:
    endpoint = registry.get(order.endpoint)
    if endpoint is None or pulse.cancelled:
        return _not_begun(order, registry, endpoint)
    pulse.begun = time.monotonic()
    context = copy_context()  # what is bound in it, by the endpoint too, ends with the attempt
    try:
        return Fate("succeeded", context.run(_inside, order, worker, pulse, endpoint))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit and cancellation of a task, too
        if pulse.on_error is not None:
            context.run(pulse.on_error, error)  # where the step is still the current one
        return fate_of(order, error)


def _inside(order: RunStep, worker: str, pulse: Pulse, endpoint: Endpoint[..., Any]) -> msgspec.Raw:
    _running.set((order, pulse))
    bind_step(order, worker)
    with surroundings(order):
        return endpoint.plan.call(order.args)


async def _await(order: RunStep, worker: str, registry: Registry, pulse: Pulse) -> Fate:
    endpoint = registry.get(order.endpoint)
    if endpoint is None or pulse.cancelled:
        return _not_begun(order, registry, endpoint)
    pulse.begun = time.monotonic()
    _running.set((order, pulse))  # in the context of this task alone
    bind_step(order, worker)
    try:
        with surroundings(order):
            return Fate("succeeded", await endpoint.plan.call_async(order.args))
    except BaseException as error:
        return fate_of(order, error)


def _not_begun(order: RunStep, registry: Registry, endpoint: Endpoint[..., Any] | None) -> Fate:
    if endpoint is not None:
        return failed(order, "failed", "cancelled", "the attempt was cancelled before it began")
    name = _bounded(order.endpoint, CODE_CHARACTERS_MAX)
    message = f"this worker knows no endpoint {name}: {registry.nearest(name)}"
    return failed(order, "failed", "unknown-endpoint", message)


def fate_of(order: RunStep, error: BaseException) -> Fate:
    """Return what becomes of a call that raised this."""
    text, kind = _message(error), type(error).__name__
    if isinstance(error, Misfit):
        return failed(order, "permanent", error.code, text)
    if isinstance(error, RetryLater):
        fate = failed(order, "retry_later", _code(error), text, type=kind)
        return msgspec.structs.replace(fate, retry_after=bounded_seconds(error.after))
    if isinstance(error, UserActionRequired):
        return _parked(order, error, text)
    outcome, code = "failed", "error"
    if isinstance(error, PermanentError):
        outcome, code = "permanent", _code(error)
    return failed(order, outcome, code, text, type=kind, traceback=_traceback(error))


def _parked(order: RunStep, error: UserActionRequired, text: str) -> Fate:
    """Return the fate of an attempt that only a person can help."""
    kind = type(error).__name__
    try:
        form = None if error.form is None else decode_json(encode_json(dict(error.form)))
    except (PayloadError, TypeError, ValueError) as problem:
        message = f"the form of user action {error.action}: {problem}"
        return failed(order, "permanent", "bad-form", _bounded(message, 500), type=kind)
    asked = UserActionAsked(
        action=_bounded(error.action, ACTION_CHARACTERS_MAX) or "user-action",
        cause=_bounded(error.cause, CAUSE_CHARACTERS_MAX) or "user-action",
        message=_bounded(error.message or "", ERROR_CHARACTERS_MAX),
        form=form,
    )
    fate = failed(order, "user_action", "user-action", text, type=kind)
    return msgspec.structs.replace(fate, user_action=asked)


def _code(error: RetryLater | PermanentError) -> str:
    return _bounded(error.code, CODE_CHARACTERS_MAX)


def failed(order: RunStep, outcome: str, code: str, message: str, **details: Any) -> Fate:
    """Return the fate of an attempt that did not succeed; `details` are `type` and `traceback`."""
    return Fate(outcome, error=Error(code=code, message=message, attempt=order.attempt, **details))


def bounded_seconds(after: Any) -> float | None:
    """Return what an endpoint asked for as seconds within bounds; None if it is no number."""
    if isinstance(after, timedelta):
        after = after.total_seconds()
    try:
        wait = float(after)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(wait) else min(max(wait, 0.0), WAIT_SECONDS_MAX)


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        text = "(the exception's own text cannot be had)"
    return _bounded(text or type(error).__name__, ERROR_CHARACTERS_MAX)


def _traceback(error: BaseException) -> str:
    import traceback

    try:
        text = "".join(traceback.format_exception(type(error), error, users_frames(error)))
    except Exception:
        text = "(the traceback cannot be had)"
    if len(text) > TRACEBACK_CHARACTERS_MAX:
        text = "...\n" + text[-TRACEBACK_CHARACTERS_MAX:]
    return _bounded(text, len(text))


def users_frames(error: BaseException) -> TracebackType | None:
    """Return the traceback of an error from the endpoint on, None if it was not in it."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__") in _ABOVE_ENDPOINTS:
        frames = frames.tb_next
    return frames


_ABOVE_ENDPOINTS = frozenset({__name__, "warrener.services.plans", "asyncio.base_events"})


def _bounded(text: Any, characters_max: int) -> str:
    """Return text that JSON can carry, cut where it is too long."""
    clean = str(text).encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= characters_max else clean[: characters_max - 3] + "..."
