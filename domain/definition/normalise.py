"""One form for definitions that mean the same, so that both faces give the same content hash."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from warrener.domain.definition.durations import instant_text, pause
from warrener.domain.definition.model import (
    DEFAULT_RETRY,
    JobDefinition,
    Limit,
    Need,
    RetryRule,
    StepDefinition,
    Timeout,
    UserActionRule,
)
from warrener.domain.definition.reading import read_step
from warrener.domain.expression_text import OPEN
from warrener.domain.expressions import (
    ExpressionSyntaxError,
    compile_expression,
    normalise_template,
)
from warrener.domain.messages import DEFAULT_QUEUE

S = TypeVar("S", bound=msgspec.Struct)
_SPACED_SHARE = re.compile(r"\s*%\s*\Z")


def normalise(definition: JobDefinition) -> JobDefinition:
    """Return the definition in its normal form.

    White space in expressions does not count, nor does what is said twice (a plain need of a step
    that is read anyway) or is the default. What cannot be compiled stays as it is, for `check`.
    """
    return _without_defaults(
        msgspec.structs.replace(
            definition,
            params=definition.params or None,
            budget=_without_defaults(definition.budget),
            steps={name: _step(step) for name, step in definition.steps.items()},
            result=_template(definition.result),
        )
    )


def _step(step: StepDefinition) -> StepDefinition:
    step = msgspec.structs.replace(
        step,
        sets=step.sets if step.sets is msgspec.UNSET else _template(step.sets),
        with_=_template(step.with_),
        for_each=_template(step.for_each),
        when=_condition(step.when),
        needs={name: Need(when=_condition(need.when)) for name, need in step.needs.items()},
        tolerate=_tolerate(step.tolerate),
        retry=_retry(step.retry),
        sleep=_sleep(step.sleep),
        wait=None if step.wait is None else _without_defaults(step.wait),
        timeout=_said(step.timeout, Timeout()),
        on_user_action=_said(step.on_user_action, UserActionRule()),
        limits=tuple(_limit(limit) for limit in step.limits),
        catch=tuple(_without_defaults(rule) for rule in step.catch),
        queue=None if step.queue == DEFAULT_QUEUE else step.queue,
    )
    return _without_defaults(_one_way_of_depending(step))


def _one_way_of_depending(step: StepDefinition) -> StepDefinition:
    """Leave conditions in `needs`; the rest goes to `after` unless it is read anyway."""
    try:
        reads = read_step(step).reads
    except ExpressionSyntaxError:
        reads = frozenset()
    conditional = {name: need for name, need in step.needs.items() if need.when is not None}
    plain = {*step.after, *step.needs} - conditional.keys()
    contradicting = conditional.keys() & set(step.after)
    return msgspec.structs.replace(
        step, needs=conditional, after=tuple(sorted(plain - reads | contradicting))
    )


def _tolerate(tolerate: int | str | None) -> int | str | None:
    if isinstance(tolerate, str):
        return _SPACED_SHARE.sub("%", tolerate.strip())
    return tolerate or None


def _retry(rules: tuple[RetryRule, ...] | None) -> tuple[RetryRule, ...] | None:
    if rules is None or tuple(rules) == DEFAULT_RETRY:
        return None
    return tuple(_without_defaults(rule) for rule in rules)


def _sleep(value: str | float | None) -> str | float | None:
    """Return a duration in seconds, an instant in UTC, an expression in its normal form."""
    if value is None or (isinstance(value, str) and OPEN in value):
        return _template(value)  # type: ignore[no-any-return]
    try:
        found = pause(value)
    except ValueError:
        return value
    return instant_text(found) if isinstance(found, datetime) else found


def _limit(limit: Limit) -> Limit:
    burst = None if limit.burst == 1 else limit.burst
    return _without_defaults(msgspec.structs.replace(limit, key=_template(limit.key), burst=burst))


def _said(value: S | None, nothing: S) -> S | None:
    """Leave out what says nothing."""
    return None if value is None or value == nothing else _without_defaults(value)


def _template(value: Any) -> Any:
    try:
        return normalise_template(value)
    except (ExpressionSyntaxError, RecursionError):
        return value


def _condition(text: str | None) -> str | None:
    try:
        return text if text is None else f"${{{{ {compile_expression(text).text} }}}}"
    except ExpressionSyntaxError:
        return text


def _without_defaults(value: S) -> S:
    """Put the default objects themselves where a value equals one: only these are left out.

    `omit_defaults` compares by identity, so that an explicit `factor: 2.0` would be written.
    """
    fields = [
        field
        for field in msgspec.structs.fields(value)
        if field.default is not msgspec.NODEFAULT and getattr(value, field.name) == field.default
    ]
    return msgspec.structs.replace(value, **{field.name: field.default for field in fields})
