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


class StepDefinition(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One step. Exactly one of `call`, `job`, `set` is given (`set` by `sets`)."""

    call: str | None = None
    job: str | None = None
    version: int | None = None  # of the sub-job
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
    retry: tuple[RetryRule, ...] | None = None  # None: DEFAULT_RETRY; (): never
    queue: str | None = None  # None: "default"


class JobDefinition(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A whole job."""

    name: str = msgspec.field(name="job")
    version: int = 1
    params: dict[str, Any] | None = None  # JSON Schema of the input
    budget: Budget = Budget()
    on_failure: Literal["continue", "stop"] = "continue"
    steps: dict[str, StepDefinition]
    result: Template = None

    def to_json(self) -> bytes:
        """Return the canonical text: sorted keys, defaults left out, always the same bytes."""
        return msgspec.json.encode(self, order="sorted")

    @property
    def hash(self) -> str:
        """Return the content hash of the canonical text."""
        return content_hash(self.to_json())
