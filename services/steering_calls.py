"""The calls by which people steer jobs: the same over a broker and on a store without one."""

from __future__ import annotations

import getpass
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import msgspec

from warrener.domain.definition.durations import rate as rate_of
from warrener.domain.definition.model import RetryRule
from warrener.domain.errors import UsageError
from warrener.domain.flow.settings import IntakeMode, Mode
from warrener.domain.messages import (
    AdjustStep,
    AnswerUserAction,
    CancelJob,
    ChangeFlow,
    ChangeLimit,
    PauseJob,
    RerunJob,
    ResumeJob,
    RetryJob,
    SignalJob,
    SteeringMessage,
    decoder,
)
from warrener.domain.payloads import check_size, encode_json

if TYPE_CHECKING:
    from warrener.domain.definition.python_options import Retry

_decode = decoder(SteeringMessage)


class SteeringCalls(ABC):
    """Makes a command of each call and has it carried out.

    `by` says who asks, by default the login name; `reason` is kept in the history. Every call
    returns True once the command is carried out, False if nobody has answered yet: then the
    broker keeps the command. Raises `UsageError` if it is refused.
    """

    @abstractmethod
    def steer(self, command: SteeringMessage, name: str) -> bool:
        """Have a checked command carried out; `name` is its message id, the same for the same."""

    def cancel(self, job: UUID, reason: str = "", *, by: str | None = None) -> bool:
        """Stop a root job and everything below it."""
        return self._ask(CancelJob(job=job, by=_who(by), reason=reason), f"cancel/{uuid4()}")

    def pause(self, job: UUID, *, by: str | None = None, reason: str = "") -> bool:
        """Let nothing more of a job and of what is below it go out."""
        return self._ask(PauseJob(job=job, by=_who(by), reason=reason), f"pause/{uuid4()}")

    def resume(self, job: UUID, *, by: str | None = None, reason: str = "") -> bool:
        """Let a paused job go on."""
        return self._ask(ResumeJob(job=job, by=_who(by), reason=reason), f"resume/{uuid4()}")

    def retry(
        self, job: UUID, path: str | None = None, *, by: str | None = None, reason: str = ""
    ) -> bool:
        """Try again now what failed or waits for another attempt: one step, or all there are."""
        command = RetryJob(job=job, path=path, by=_who(by), reason=reason)
        return self._ask(command, f"retry/{uuid4()}")

    def rerun(
        self,
        job: UUID,
        step: str,
        key: str | None = None,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        """Run a step of a root job and all below it once more; the same key does so once."""
        key = str(uuid4()) if key is None else key
        command = RerunJob(job=job, step=step, key=key, by=_who(by), reason=reason)
        return self._ask(command, f"rerun/{job}/{key}")

    def signal(
        self,
        job: UUID,
        name: str,
        data: Any = None,
        key: str | None = None,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        """Send a signal to a job, with a JSON value; the same key is the same signal."""
        key = str(uuid4()) if key is None else key
        raw = _encoded(data)
        command = SignalJob(job=job, name=name, data=raw, key=key, by=_who(by), reason=reason)
        return self._ask(command, f"signal/{job}/{key}")

    def answer(
        self, request: UUID, data: Any = None, *, by: str | None = None, reason: str = ""
    ) -> bool:
        """Answer a request for help with a JSON value that fits its form."""
        command = AnswerUserAction(request=request, data=_encoded(data), by=_who(by), reason=reason)
        return self._ask(command, f"answer/{uuid4()}")

    def adjust(
        self,
        job: UUID,
        step: str,
        *,
        window: int | None = None,
        tolerated: int | None = None,
        retry: Sequence[RetryRule | Retry] | None = None,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        """Change parameters of a step of a running job; what is None stays as it is."""
        command = AdjustStep(
            job=job,
            step=step,
            window=window,
            tolerated=tolerated,
            retry=None if retry is None else tuple(map(_rule, retry)),
            by=_who(by),
            reason=reason,
        )
        return self._ask(command, f"adjust/{uuid4()}")

    def change_limit(
        self,
        name: str,
        *,
        slots: int | None = None,
        rate: str | None = None,
        burst: int | None = None,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        """Change a limit for everybody; what is None goes back to what definitions say.

        `rate` is text such as "20/min".
        """
        try:
            wanted = None if rate is None else rate_of(rate)
        except ValueError as error:
            raise UsageError(f"cannot change the limit {name}: {error}") from None
        command = ChangeLimit(
            name=name, slots=slots, rate=wanted, burst=burst, by=_who(by), reason=reason
        )
        return self._ask(command, f"limit/{uuid4()}")

    def change_flow(
        self,
        *,
        policy: str | None = None,
        weights: Mapping[str, float] | None = None,
        mode: Mode | None = None,
        bound_seconds: float | None = None,
        intake: IntakeMode | None = None,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        """Release by another policy, or do something else about starvation; None stays as it is.

        `weights` are those of fairness keys and replace all others.
        """
        command = ChangeFlow(
            policy=policy,
            weights=None if weights is None else dict(weights),
            mode=mode,
            bound_seconds=bound_seconds,
            intake=intake,
            by=_who(by),
            reason=reason,
        )
        return self._ask(command, f"flow/{uuid4()}")

    def _ask(self, command: SteeringMessage, name: str) -> bool:
        return self.steer(checked(command), name)


def checked(command: SteeringMessage) -> SteeringMessage:
    """Return a command as whoever carries it out will read it; raises `UsageError`."""
    try:
        found: SteeringMessage = _decode(msgspec.json.encode(command))
    except (msgspec.MsgspecError, UnicodeEncodeError, TypeError) as error:
        raise UsageError(f"cannot send {type(command).__name__}: {error}") from None
    return found


def login_name() -> str:
    """Return the name of the user whom this process belongs to, "" if it has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def _who(by: str | None) -> str:
    return login_name() if by is None else by


def _encoded(data: Any) -> msgspec.Raw:
    encoded = encode_json(data)
    check_size(len(encoded))
    return msgspec.Raw(encoded)


def _rule(rule: RetryRule | Retry) -> RetryRule:
    try:
        return rule if isinstance(rule, RetryRule) else rule.rule()
    except ValueError as error:
        raise UsageError(f"retry: {error}") from None
