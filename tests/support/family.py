"""The few expressions that generated definitions use, evaluated without CEL.

The family is closed on purpose: whatever it evaluates can be checked by reading these lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


class Broken(Exception):
    """The expression fails on the values it is given."""


@dataclass(frozen=True)
class View:
    """What an expression sees of a step: `steps.NAME.result`, `.status` and `.error`."""

    result: Any
    status: str
    error: str | None  # code of the error


Views = Mapping[str, View]
_EXPRESSION = re.compile(r"\$\{\{ (.*) \}\}")
_STEP_READ = re.compile(r"\bsteps\.(\w+)\.")


def reads(template: Any) -> set[str]:
    """Return the steps that a template (any JSON value, or None) reads."""
    if isinstance(template, str):
        return set(_STEP_READ.findall(template)) if _EXPRESSION.fullmatch(template) else set()
    parts = template.values() if isinstance(template, dict) else template
    return set().union(*map(reads, parts)) if isinstance(template, dict | list) else set()


def render(template: Any, params: Mapping[str, Any], views: Views) -> Any:
    """Return the template with its expressions replaced by their values; raises `Broken`."""
    if isinstance(template, dict):
        return {key: render(inner, params, views) for key, inner in template.items()}
    if isinstance(template, list):
        return [render(inner, params, views) for inner in template]
    if isinstance(template, str) and (match := _EXPRESSION.fullmatch(template)):
        return evaluate(match.group(1), params, views)
    return template


def condition(template: str, params: Mapping[str, Any], views: Views) -> bool:
    """Return the value of a condition; anything but a boolean is `Broken`."""
    value = render(template, params, views)
    if not isinstance(value, bool):
        raise Broken(f"{template} gives {value!r}")
    return value


def evaluate(expression: str, params: Mapping[str, Any], views: Views) -> Any:
    """Return the value of one expression of the family."""
    for pattern, value in _FAMILY:
        if match := re.fullmatch(pattern, expression):
            return value(params, views, *match.groups())
    raise ValueError(f"not one of the family: {expression}")


def _flag(result: Any) -> Any:
    if not isinstance(result, dict) or "flag" not in result:
        raise Broken(f"no flag in {result!r}")
    return result["flag"]


def _guarded_flag(result: Any) -> bool:
    if result is None:
        return False
    flag = _flag(result)
    if not isinstance(flag, bool):
        raise Broken(f"true && {flag!r}")
    return flag


_FAMILY: list[tuple[str, Callable[..., Any]]] = [
    (r"params\.(\w+)", lambda p, v, name: p[name]),
    (r"params\.(\w+) != true", lambda p, v, name: p[name] is not True),
    (r"steps\.(\w+)\.result", lambda p, v, name: v[name].result),
    (r"steps\.(\w+)\.result\.flag", lambda p, v, name: _flag(v[name].result)),
    (
        r"steps\.(\w+)\.result != null && steps\.\1\.result\.flag",
        lambda p, v, name: _guarded_flag(v[name].result),
    ),
    (r"steps\.(\w+)\.status", lambda p, v, name: v[name].status),
    (r"steps\.(\w+)\.status == '(\w+)'", lambda p, v, name, state: v[name].status == state),
    (r"steps\.(\w+)\.error != null", lambda p, v, name: v[name].error is not None),
]
