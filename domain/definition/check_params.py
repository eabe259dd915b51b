"""Checks of the parameters' schema, and of parameters against it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from warrener.domain.definition.findings import Findings, shown, strings, unknown_hint
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import Problem

SCHEMA_DEPTH_MAX = 50
PROBLEMS_MAX = 20
_REFUSED = ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary")
_VALUES = ("default", "const", "enum", "examples")  # data, not schemas
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


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
    _check_parts(findings, place, schema, schema, SCHEMA_DEPTH_MAX)
    if len(findings.problems) > before:
        return False
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        path = place + "".join(_part(part) for part in error.absolute_path)
        findings.add(path, f"not a valid JSON Schema: {shown(error.message, 200)}")
        return False
    return True


def form_problems(form: Any) -> list[Problem]:
    """Return what makes the form of a user action no usable JSON Schema; None is no form."""
    findings = Findings({}, "")
    check_form(findings, "form", form)
    return findings.all()


def check_form(findings: Findings, path: str, form: Any) -> None:
    """Note what makes the form of a user's answer no usable JSON Schema."""
    if form is not None:
        _check_schema(findings, path, form)


def _check_parts(findings: Findings, path: str, part: Any, root: Any, depth_left: int) -> None:
    """Go through a schema; it must stand on its own and be of bounded depth."""
    if depth_left == 0:
        findings.add(path, f"nested deeper than {SCHEMA_DEPTH_MAX} levels")
        return
    if isinstance(part, list):
        for number, item in enumerate(part):
            _check_parts(findings, f"{path}[{number}]", item, root, depth_left - 1)
    elif isinstance(part, dict):
        for key, item in part.items():
            place = f"{path}.{key}"
            if not isinstance(key, str):
                findings.add(place, f"the key {key!r} is not text")
            elif isinstance(item, str):
                _check_keyword(findings, place, key, item, root)
            elif key == "patternProperties" and isinstance(item, dict):
                for pattern in item:
                    _check_pattern(findings, f"{place}.{pattern}", str(pattern))
            if key not in _VALUES:
                _check_parts(findings, place, item, root, depth_left - 1)


def _check_keyword(findings: Findings, path: str, key: str, value: str, root: Any) -> None:
    if key in _REFUSED:
        findings.add(path, f"{key} is not supported", 'use {"$ref": "#/$defs/NAME"}')
    elif key == "$ref" and not value.startswith("#/"):
        findings.add(
            path,
            f"$ref to {shown(value)!r}",
            "only #/... in the same schema; nothing is fetched",
        )
    elif key == "$ref" and not _resolves(root, value):
        findings.add(path, f"$ref: there is nothing at {shown(value)!r}")
    elif key == "$schema" and value.rstrip("#") != _DIALECT:
        findings.add(path, "only JSON Schema draft 2020-12 is supported", f"it is {_DIALECT}")
    elif key == "pattern":
        _check_pattern(findings, path, value)


def _check_pattern(findings: Findings, path: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        findings.add(path, f"not a regular expression: {error}")


def _resolves(root: Any, reference: str) -> bool:
    for part in reference[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(root, dict) and key in root:
            root = root[key]
        elif isinstance(root, list) and key.isdecimal() and int(key) < len(root):
            root = root[int(key)]
        else:
            return False
    return isinstance(root, dict | bool)


def validate_params(definition: JobDefinition, params: Mapping[str, Any]) -> list[Problem]:
    """Return how the parameters do not fit the definition's schema; empty if they do."""
    return misfits(definition.params, dict(params), "params")


def misfits(schema: Mapping[str, Any] | None, value: Any, place: str) -> list[Problem]:
    """Return how a value does not fit a schema, if there is one; `place` names the value."""
    if not schema:
        return []
    validator = _validator(msgspec.json.encode(schema, order="sorted"))
    try:
        errors = list(islice(validator.iter_errors(value), PROBLEMS_MAX))
    except (RecursionError, Unresolvable) as error:
        return [Problem(message=f"the schema cannot be applied: {type(error).__name__}")]
    return [_problem(error, schema, place) for error in errors]


@lru_cache(256)
def _validator(schema: bytes) -> Draft202012Validator:
    return Draft202012Validator(msgspec.json.decode(schema), registry=Registry())


def _problem(error: ValidationError, schema: Mapping[str, Any], place: str) -> Problem:
    path = place + "".join(_part(part) for part in error.absolute_path)
    message, hint = shown(error.message, 300), ""
    given: Any = error.instance
    if path == place and error.validator == "required":
        missing = [name for name in schema.get("required", ()) if name not in given]
        message, hint = f"missing: {', '.join(missing)}", _similar(missing, given)
    elif path == place and error.validator == "additionalProperties":
        known = schema.get("properties", {})
        odd = sorted(name for name in given if name not in known)
        message, hint = f"unknown: {shown(', '.join(odd), 200)}", unknown_hint(odd[0], known)
    return Problem(message=message, hint=hint, path=path)


def _similar(missing: list[str], given: Mapping[str, Any]) -> str:
    near = get_close_matches(missing[0], given, n=1) if missing else []
    return f"given was {shown(near[0])}" if near else ""


def _part(part: str | int) -> str:
    return f"[{part}]" if isinstance(part, int) else f".{part}"
