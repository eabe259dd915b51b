"""From a definition and parameters to a `SubmitJob` message, with everything checked first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from warrener.domain.definition.durations import seconds
from warrener.domain.definition.model import JobDefinition
from warrener.domain.definition.params import complete
from warrener.domain.errors import ParameterError, PayloadError, UsageError
from warrener.domain.events import GivenStep, Selection
from warrener.domain.messages import DEFAULT_QUEUE, SubmitJob
from warrener.domain.payloads import encode_json
from warrener.domain.plan import build_plan
from warrener.services.admission import check_part, checked_params


class Source(msgspec.Struct, frozen=True):
    """A job and the jobs that it starts, by name, itself included where it recurs."""

    main: JobDefinition
    library: dict[str, JobDefinition] = {}

    def queues(self) -> list[str]:
        """Return the queues that any of the definitions sends orders to."""
        definitions = [self.main, *self.library.values()]
        steps = [step for definition in definitions for step in definition.steps.values()]
        return sorted({step.queue or DEFAULT_QUEUE for step in steps if step.call})


class Part(msgspec.Struct, frozen=True):
    """The part of a job to run alone, and what is given for the rest."""

    selection: Selection
    given: dict[str, GivenStep] = {}


def submission(
    source: Source,
    params: Mapping[str, Any],
    *,
    key: str,
    labels: Mapping[str, str] | None = None,
    priority: int = 0,
    fair: str | None = None,
    part: Part | None = None,
    deadline: datetime | None = None,
    traceparent: str | None = None,
) -> SubmitJob:
    """Return the message that submits a job; `traceparent` is the span of whoever does it.

    Raises `ParameterError` if the parameters do not fit, and `DefinitionError` if a definition is
    not valid.
    """
    plan = build_plan(source.main)
    for definition in source.library.values():
        build_plan(definition)
    data = _encoded(source.main, complete(source.main, dict(params)))
    checked_params(source.main, data)
    if part is not None:
        check_part(plan, part.selection, part.given)
    return SubmitJob(
        key=key,
        definition=source.main.to_json().decode(),
        params=msgspec.Raw(data),
        library={
            name: definition.to_json().decode() for name, definition in source.library.items()
        },
        labels=dict(labels or {}),
        priority=priority,
        fair=fair,
        selection=part.selection if part else None,
        given=part.given if part else {},
        deadline=deadline,
        traceparent=traceparent,
    )


def deadline_of(value: str | datetime | None, now: datetime) -> datetime | None:
    """Return a deadline from a duration such as "2h" from now, or from a time; None for none.

    Times are RFC 3339 text, in UTC unless they say otherwise. Raises `UsageError`.
    """
    if value is None or isinstance(value, datetime):
        return _zoned(value)
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        pass
    else:
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    try:
        return now + timedelta(seconds=seconds(value))
    except (ValueError, OverflowError):
        hint = "write a duration such as 90m, 2h30m or 14d, or a time such as 2026-01-31T08:00:00Z"
        raise UsageError(f"the deadline cannot be {value!r}: {hint}") from None


def _zoned(value: datetime | None) -> datetime | None:
    if value is not None and value.tzinfo is None:
        raise UsageError("the deadline has no time zone: write such as datetime.now(UTC)")
    return value


def _encoded(definition: JobDefinition, params: dict[str, Any]) -> bytes:
    try:
        return encode_json(params)
    except PayloadError as error:
        raise ParameterError(f"the parameters of job {definition.name}: {error}") from error
