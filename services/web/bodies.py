"""What clients send: the bodies of requests, checked before any handler sees them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from warrener.domain.flow.settings import IntakeMode, Mode

Reason = Annotated[str, Meta(max_length=2_000)]
Key = Annotated[str, Meta(min_length=1, max_length=200)]
StepPath = Annotated[str, Meta(min_length=1, max_length=300)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what clients send; unknown fields are refused."""


class LogInBody(Body, frozen=True, kw_only=True):
    """A token to begin a session with."""

    token: Annotated[str, Meta(min_length=1, max_length=200)]


class ReasonBody(Body, frozen=True, kw_only=True):
    """Why something is asked for; it is kept in the history."""

    reason: Reason = ""


class RetryBody(ReasonBody, frozen=True, kw_only=True):
    """With `step` only that one is tried again."""

    step: StepPath | None = None


class RerunBody(ReasonBody, frozen=True, kw_only=True):
    """The step to run again; the same key does so once."""

    step: StepPath
    key: Key | None = None


class SignalBody(ReasonBody, frozen=True, kw_only=True):
    """The signal; the same key is the same signal."""

    name: Name
    data: Any = None
    key: Key | None = None


class AdjustBody(ReasonBody, frozen=True, kw_only=True):
    """New parameters of a step; null leaves one as it is. `retry` is as in a definition."""

    step: StepPath
    window: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    tolerated: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    retry: list[dict[str, Any]] | None = None


class AnswerBody(ReasonBody, frozen=True, kw_only=True):
    """The answer to a request for help, as its form wants it."""

    data: Any = None


class RateBody(Body, frozen=True, kw_only=True):
    """So many orders in so many seconds."""

    count: Annotated[float, Meta(gt=0, le=10**9)]
    seconds: Annotated[float, Meta(ge=0.001, le=10**8)]

    def text(self) -> str:
        """Return it as it is written elsewhere, such as 20/60s."""
        return f"{Decimal(repr(self.count)):f}/{Decimal(repr(self.seconds)):f}s"


class LimitBody(ReasonBody, frozen=True, kw_only=True):
    """All parts of a limit; null is what definitions say. `rate` may be text such as 20/min."""

    slots: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    rate: RateBody | Annotated[str, Meta(max_length=50)] | None = None
    burst: Annotated[int, Meta(ge=1, le=10**9)] | None = None


class FlowBody(ReasonBody, frozen=True, kw_only=True):
    """What to change about the flow; null stays as it is. `weights` replace all others."""

    policy: Name | None = None
    weights: dict[str, Annotated[float, Meta(ge=0.001, le=10**6)]] | None = None
    mode: Mode | None = None
    bound_seconds: Annotated[float, Meta(gt=0, le=10**8)] | None = None
    intake: IntakeMode | None = None


class DefinitionBody(Body, frozen=True, kw_only=True):
    """A definition as JSON or as the text of a YAML file, with those of the jobs that it starts."""

    definition: dict[str, Any] | str
    library: dict[str, Any] = {}


class SubmitBody(DefinitionBody, frozen=True, kw_only=True):
    """A job to be run; the same key gives the same job. `deadline` is such as 2h, or a time."""

    params: dict[str, Any] = {}
    key: Key | None = None
    labels: Annotated[dict[str, str], Meta(max_length=100)] = {}
    priority: Annotated[int, Meta(ge=-1_000, le=1_000)] = 0
    fair: Annotated[str, Meta(max_length=200)] | None = None
    deadline: Annotated[str, Meta(max_length=50)] | None = None
