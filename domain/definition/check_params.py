"""Checks of the parameters' schema, and of parameters against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec

from warrener.domain.definition.check_shape import ShapeCheck
from warrener.domain.definition.findings import Findings, shown, strings, unknown_hint
from warrener.domain.definition.model import JobDefinition
from warrener.domain.definition.schema_match import (
    Match,
    Schema,
    Steps,
    TooManySteps,
    UnusableSchema,
)
from warrener.domain.definition.schema_parts import Misfit
from warrener.domain.errors import Problem

FORM_BYTES_MAX = 16 * 1024
ANSWER_BYTES_MAX = 256 * 1024
PROBLEMS_MAX = 20
FORM_STEPS_MAX = 250_000  # about 0.2 seconds
PARAMS_STEPS_MAX = 1_000_000
_SIMILAR_LENGTH_MAX = 40
_SIMILAR_MAX = 100
_PATH_LENGTH_MAX = 200


def check_schema(findings: Findings, schema: Any) -> None:
    """Note what makes a definition's `params` no usable JSON Schema."""
    if schema is None or not _check_schema(findings, "params", schema):
        return
    kinds = schema.get("type", "object")
    if "object" not in ([kinds] if isinstance(kinds, str) else kinds):
        findings.add("params.type", "parameters are a map by name", "write type: object")


def _check_schema(findings: Findings, place: str, schema: Any) -> bool:
    """Note what makes a value no usable JSON Schema; say whether it is one."""
    if not isinstance(schema, dict):
        findings.add(place, f"{place} must be a JSON Schema, a map")
        return False
    before = len(findings.problems)
    list(strings(findings, place, schema))  # what is no JSON, or too deep
    if len(findings.problems) == before:
        ShapeCheck(findings, place, schema).run()
    return len(findings.problems) == before


def form_problems(form: Any) -> list[Problem]:
    """Return what makes the form of a user action no usable JSON Schema; None is no form."""
    findings = Findings({}, "")
    check_form(findings, "form", form)
    return findings.all()


def check_form(findings: Findings, path: str, form: Any) -> None:
    """Note what makes the form of a user's answer no usable JSON Schema."""
    if form is None:
        return
    size = _size(form)
    if size > FORM_BYTES_MAX:
        text = f"{size} bytes are over the limit of {FORM_BYTES_MAX} bytes for a form"
        findings.add(path, text, "ask for less, and put long texts into the message")
        return
    _check_schema(findings, path, form)


def _size(value: Any) -> int:
    """Return the bytes of a value as JSON, 0 if it is none: that is told by other checks."""
    try:
        return len(msgspec.json.encode(value))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        return 0


def validate_params(definition: JobDefinition, params: Mapping[str, Any]) -> list[Problem]:
    """Return how the parameters do not fit the definition's schema; empty if they do."""
    if not definition.params:
        return []
    schema, steps = _text(definition.params), Steps(PARAMS_STEPS_MAX)
    return _misfits(schema, dict(params), "params", steps)


def form_misfits(form: Mapping[str, Any] | None, value: Any, place: str) -> list[Problem]:
    """Return how an answer does not fit its form, if there is one; `place` names the answer."""
    return misfits_of_all([form], value, place)


def misfits_of_all(
    forms: Sequence[Mapping[str, Any] | None], value: Any, place: str
) -> list[Problem]:
    """Return how an answer does not fit the first of some forms; empty if it fits any of them."""
    if not all(forms):
        return []
    size = _size(value)
    if size > ANSWER_BYTES_MAX:
        limit = f"the limit of {ANSWER_BYTES_MAX} bytes for an answer to a form"
        hint = "keep large data where it is and hand on a reference"
        return [Problem(message=f"{size} bytes are over {limit}", hint=hint, path=place)]
    steps = Steps(FORM_STEPS_MAX)
    first: list[Problem] = []
    for form in dict.fromkeys(map(_text, forms)):
        found = _misfits(form, value, place, steps)
        if not found:
            return []
        first = first or found
    return first


def _text(schema: Mapping[str, Any] | None) -> bytes:
    return msgspec.json.encode(schema, order="sorted")


@lru_cache(256)
def _schema(text: bytes) -> Schema:
    return Schema(msgspec.json.decode(text))


def _misfits(text: bytes, value: Any, place: str, steps: Steps) -> list[Problem]:
    """Return how a value does not fit the schema with this text."""
    schema = _schema(text)
    try:
        found = list(islice(Match(schema, steps).misfits(schema.root, value), PROBLEMS_MAX))
    except TooManySteps:
        message = "it takes too long to check this against its schema"
        hint = "make it smaller, or the schema simpler"
        return [Problem(message=message, hint=hint, path=place)]
    except UnusableSchema as error:
        return [Problem(message=f"the schema cannot be applied: {shown(error, 300)}")]
    except RecursionError:
        return [Problem(message="the schema cannot be applied: RecursionError")]
    return list(dict.fromkeys(_problem(misfit, place) for misfit in found))


def _problem(misfit: Misfit, place: str) -> Problem:
    path = shown(place + "".join(_part(part) for part in misfit.path), _PATH_LENGTH_MAX)
    given, schema = misfit.value, misfit.schema
    if not misfit.place and misfit.keyword == "required":
        missing = [name for name in schema["required"] if name not in given]
        message, hint = f"missing: {shown(', '.join(missing), 300)}", _similar(missing[0], given)
    elif not misfit.place and misfit.extras:
        known, odd = schema.get("properties", {}), sorted(misfit.extras)
        message = f"unknown: {shown(', '.join(odd), 200)}"
        hint = shown(unknown_hint(odd[0][:_SIMILAR_LENGTH_MAX], _few(known)), 300)
    else:
        message, hint = shown(misfit.words(), 300), ""
    return Problem(message=message, hint=hint, path=path)


def _similar(missing: str, given: Mapping[str, Any]) -> str:
    near = get_close_matches(missing[:_SIMILAR_LENGTH_MAX], _few(given), n=1)
    return f"given was {shown(near[0])}" if near else ""


def _few(names: Iterable[str]) -> list[str]:
    """Return names to look for similar ones in: that takes the square of their length for each."""
    short = (name for name in names if len(name) <= _SIMILAR_LENGTH_MAX)
    return list(islice(short, _SIMILAR_MAX))


def _part(part: str | int) -> str:
    return f"[{part}]" if isinstance(part, int) else f".{part}"
