"""The job definition as data. Both faces produce it; its content hash is its identity.

Expressions stay text here (`"${{ params.account }}"`); `domain.plan` compiles them.
Durations are seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import msgspec

from warrener.domain.ids import content_hash

Template = Any  # a JSON value whose strings may hold ${{ expressions }}


class Join(StrEnum):
    """When a step with dependencies runs."""

    ALL_OK = "all_ok"
    ALL_DONE = "all_done"
    ANY_OK = "any_ok"
    ANY_FAILED = "any_failed"
    ALL_FAILED = "all_failed"


class Budget(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bounds of the whole tree of jobs under one root."""

    depth: int = 16
    steps: int = 100_000


class Need(msgspec.Struct, frozen=True, omit_defaults=True):
    """An edge to a dependency; with `when` it is conditional."""

    when: str | None = None


class RetryRule(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of a `retry:` list: which failures it answers, how often, and how long to wait.

    `on` is an error code, the class name of an exception, or `*`. `max` counts attempts of this
    rule, the first one included; None is without end. Attempt n + 1 waits `first * factor**(n-1)`
    seconds, at most `cap`, and with `jitter` "full" a random part of that.
    `wait` "retry-after" takes the seconds that the endpoint's `RetryLater` names instead.
    """

    on: str = "*"
    max: int | None = None
    first: float = 1.0
    factor: float = 2.0
    cap: float = 300.0
    jitter: Literal["full", "none"] = "full"
    wait: Literal["backoff", "retry-after"] = "backoff"


DEFAULT_RETRY = (RetryRule(on="*", max=4),)


class Timeout(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How long a step may take, in seconds; None is without end.

    `queue` is from an attempt's order to its first sign of life, `run` from there to its report,
    `beat` from one sign of life to the next, `total` from the first order to the end of the step.
    """

    queue: float | None = None
    run: float | None = None
    beat: float | None = None
    total: float | None = None


class Rate(msgspec.Struct, frozen=True, array_like=True):
    """So many orders in so many seconds."""

    count: float
    seconds: float


class Limit(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A limit that all steps share which name it with the same `key`, in whatever job.

    `slots` bounds how many of them are out at once. `rate` bounds how many go out: a bucket of
    `burst` tokens (default 1) is filled at that rate, and each order takes one.
    """

    name: str
    key: str | None = None  # a template; None: one for all
    slots: int | None = None
    rate: Rate | None = None
    burst: int | None = None


class UserActionRule(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What becomes of a step that waits for a person: reminders, and the end of patience."""

    expire: float | None = None
    remind: float | None = None
    then: Literal["retry", "fail", "skip"] = "fail"


class Wait(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Wait for a signal of this name; with `form` (JSON Schema) for a person's answer that fits.

    The data that comes with it is the step's result. After `expire` seconds the step fails.
    """

    signal: str = msgspec.field(name="for")
    form: dict[str, Any] | None = None
    expire: float | None = None


class Catch(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Which failures of a step another step answers for: `on` as in `RetryRule`."""

    on: str = "*"
    go: str


class StepDefinition(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One step. Exactly one of `call`, `job`, `wait`, `sleep`, `set` (by `sets`) is given."""

    call: str | None = None
    job: str | None = None
    version: int | None = None  # of the sub-job
    wait: Wait | None = None
    sleep: str | float | None = None  # a duration, an instant (RFC 3339), or an expression
    sets: Template = msgspec.field(default=msgspec.UNSET, name="set")
    with_: dict[str, Template] = msgspec.field(default_factory=dict, name="with")
    for_each: str | list[Template] | dict[str, Template] | None = None
    window: int | None = None
    tolerate: int | str | None = None  # a count, or a share such as "2%"
    needs: dict[str, Need] = msgspec.field(default_factory=dict)
    after: tuple[str, ...] = ()
    when: str | None = None
    join: Join = Join.ALL_OK
    cancel_rest: bool = False
    eager: bool = False
    may_fail: bool = False
    always: bool = False  # clean-up: runs last, whatever happened
    retry: tuple[RetryRule, ...] | None = None  # None: DEFAULT_RETRY; (): never
    timeout: Timeout | None = None
    limits: tuple[Limit, ...] = ()
    catch: tuple[Catch, ...] = ()
    compensate: str | None = None  # endpoint that undoes the step if its job fails
    on_user_action: UserActionRule | None = None
    queue: str | None = None  # None: "default"


class JobDefinition(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A whole job."""

    name: str = msgspec.field(name="job")
    version: int = 1
    params: dict[str, Any] | None = None  # JSON Schema of the input
    budget: Budget = Budget()
    on_failure: Literal["continue", "stop"] = "continue"
    deadline: float | None = None  # seconds from the submission; sub-jobs have their root's
    steps: dict[str, StepDefinition]
    result: Template = None

    def to_json(self) -> bytes:
        """Return the canonical text: sorted keys, defaults left out, always the same bytes."""
        return msgspec.json.encode(self, order="sorted")

    @property
    def hash(self) -> str:
        """Return the content hash of the canonical text."""
        return content_hash(self.to_json())
