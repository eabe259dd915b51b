"""What Python says of failures, waiting and limits: as a person writes it, durations as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import msgspec

from warrener.domain.definition import durations, model
from warrener.domain.definition.handles import refuse

T = TypeVar("T")


class Called:
    """Base of endpoints: what a step can call by its name."""

    name: str


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a `retry` list; see `RetryRule`. Durations are text such as "2s", or seconds."""

    on: str = "*"
    max: int | None = None
    first: str | float = 1.0
    factor: float = 2.0
    cap: str | float = 300.0
    jitter: Literal["full", "none"] = "full"
    wait: Literal["backoff", "retry-after"] = "backoff"

    def rule(self) -> model.RetryRule:
        """Return the rule as the definition keeps it; raises `ValueError`."""
        fields = msgspec.structs.asdict(self)
        first, cap = durations.seconds(self.first), durations.seconds(self.cap)
        fields.update(first=first, cap=cap, factor=float(self.factor))
        return msgspec.convert(fields, model.RetryRule)


class Timeout(msgspec.Struct, frozen=True, kw_only=True):
    """How long a step may take. Durations are text such as "60s", or seconds.

    `queue` is from an attempt's order to its first sign of life, `run` from there to its report,
    `beat` from one sign of life to the next, `total` from the first order to the end of the step.
    """

    queue: str | float | None = None
    run: str | float | None = None
    beat: str | float | None = None
    total: str | float | None = None

    def bounds(self) -> model.Timeout:
        """Return the bounds as the definition keeps them; raises `ValueError`."""
        return model.Timeout(
            **{
                name: None if value is None else durations.seconds(value)
                for name, value in msgspec.structs.asdict(self).items()
            }
        )


class Limit(msgspec.Struct, frozen=True):
    """A limit shared by all steps that name it with the same key, in whatever job.

    `key` names an argument of the endpoint, and its value is the key; a text with `${{ }}` is taken
    as it is, and so is a handle. `rate` is text such as "20/min", `burst` how many may go at once.
    """

    name: str
    key: Any = None
    rate: str | None = None
    burst: int | None = None
    slots: int | None = None

    def with_key(self, key: str | None) -> model.Limit:
        """Return the limit as the definition keeps it; raises `ValueError`."""
        return model.Limit(
            name=self.name,
            key=key,
            slots=self.slots,
            rate=None if self.rate is None else durations.rate(self.rate),
            burst=self.burst,
        )


class UserActionRule(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a step that waits for a person: reminders, and the end of patience."""

    expire: str | float | None = None
    remind: str | float | None = None
    then: Literal["retry", "fail", "skip"] = "fail"

    def rule(self) -> model.UserActionRule:
        """Return the rule as the definition keeps it; raises `ValueError`."""
        fields = msgspec.structs.asdict(self)
        for name in ("expire", "remind"):
            fields[name] = None if fields[name] is None else durations.seconds(fields[name])
        return msgspec.convert(fields, model.UserActionRule)


def seconds(what: str, value: Any) -> float | None:
    """Return a duration in seconds, None as it is; refuses what is none."""
    try:
        return None if value is None else durations.seconds(value)
    except ValueError as error:
        refuse(f"{what}: {error}")


def retry(what: str, lines: Sequence[Retry]) -> tuple[model.RetryRule, ...]:
    """Return rules as the definition keeps them; refuses what is none."""
    return tuple(_made(f"{what}: retry", line, Retry, "rule") for line in lines)


def timeout(what: str, value: Any) -> model.Timeout | None:
    """Return the bounds of a step, None as it is; one duration bounds the run of an attempt."""
    if value is None:
        return None
    given = Timeout(run=value) if isinstance(value, str | int | float) else value
    made: model.Timeout = _made(f"{what}: timeout", given, Timeout, "bounds")
    return made


def user_action(what: str, value: Any) -> model.UserActionRule | None:
    """Return what becomes of a step that waits for a person, None as it is."""
    if value is None:
        return None
    made: model.UserActionRule = _made(f"{what}: on_user_action", value, UserActionRule, "rule")
    return made


def limits(what: str, lines: Sequence[Limit]) -> tuple[Limit, ...]:
    """Return limits as they were given; refuses what is none."""
    for line in lines:
        if not isinstance(line, Limit):
            refuse(f"{what}: limits: {line!r} is not a Limit(...)")
        limit(what, line, None)
    return tuple(lines)


def limit(what: str, line: Limit, key: str | None) -> model.Limit:
    """Return a limit as the definition keeps it; refuses a rate that is none."""
    try:
        return line.with_key(key)
    except ValueError as error:
        refuse(f"{what}: limit {line.name}: {error}")


def endpoint_name(what: str, endpoint: Any) -> str:
    """Return the name of an endpoint, which may be given itself."""
    if isinstance(endpoint, Called):
        return endpoint.name
    if not isinstance(endpoint, str):
        refuse(f"{what}: {endpoint!r} is not an endpoint", 'give one, or its name: "crm.release"')
    return endpoint


def _made(what: str, value: Any, kind: type[Any], method: str) -> Any:
    """Return what the word says as the definition keeps it."""
    if not isinstance(value, kind):
        refuse(f"{what}: {value!r} is not a {kind.__name__}(...)")
    try:
        return getattr(value, method)()
    except (ValueError, TypeError, msgspec.ValidationError) as error:
        refuse(f"{what}: {error}")
