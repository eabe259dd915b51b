"""Plain values of a file to a `JobDefinition`: known keys and right types, else a problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from warrener.domain.definition.durations import seconds
from warrener.domain.definition.findings import Findings, shown, unknown_hint
from warrener.domain.definition.model import (
    Budget,
    JobDefinition,
    Join,
    Need,
    RetryRule,
    StepDefinition,
)
from warrener.domain.expression_scope import kind

Read = Callable[[Findings, str, Any], Any]
T = TypeVar("T")

_LATER = ("wait", "sleep", "catch", "always", "compensate", "timeout", "limits", "on_user_action")
_MEANT = {
    "if": "when",
    "args": "with",
    "arguments": "with",
    "input": "with",
    "depends_on": "after",
    "foreach": "for_each",
    "retries": "retry",
    "name": "job",
}


def read_job(findings: Findings, value: Any) -> JobDefinition | None:
    """Return the definition that a document describes, or None and what is wrong with it."""
    before = len(findings.problems)
    fields = _fields(findings, "", value, _JOB, "a job is a map with job: and steps:")
    for needed in ("job", "steps"):
        if isinstance(value, dict) and needed not in value:
            findings.add("", f"{needed}: is missing", "a job is a map with job: and steps:")
    if len(findings.problems) > before:
        return None
    fields["name"] = fields.pop("job")
    fields.pop("endpoints", None)
    return JobDefinition(**fields)


def endpoint_modules(value: Any) -> tuple[str, ...]:
    """Return the modules that a document, read without problems, names."""
    return tuple(value.get("endpoints", ()))


def _fields(
    findings: Findings, path: str, value: Any, known: Mapping[str, Read], shape: str
) -> dict[str, Any]:
    """Read the known keys of a map; note unknown ones."""
    if not isinstance(value, dict):
        findings.add(path, f"{kind(value)} where a map is needed", shape)
        return {}
    found = {}
    for key, item in value.items():
        inner = f"{path}.{key}" if path else key
        if key in known:
            found[key] = known[key](findings, inner, item)
        elif key in _LATER:
            findings.add(inner, f"{key}: is not supported yet")
        else:
            meant = _MEANT.get(key)
            hint = f"did you mean {meant}?" if meant in known else unknown_hint(key, known)
            findings.add(inner, f"unknown key {shown(key)}", hint)
    return found


def _wrong(findings: Findings, path: str, value: Any, needed: str, hint: str = "") -> None:
    name = path[path.rfind(".") + 1 :]
    findings.add(path, f"{shown(name)} must be {needed}, not {kind(value)}", hint)


def _of(accepted: type[T], needed: str) -> Read:
    """Return a reader that takes values of one type."""

    def read(findings: Findings, path: str, value: Any) -> T | None:
        if isinstance(value, accepted) and (accepted is bool or not isinstance(value, bool)):
            return value
        _wrong(findings, path, value, needed)
        return None

    return read


def _any(findings: Findings, path: str, value: Any) -> Any:  # noqa: ARG001
    return value


def _one_of(*choices: str) -> Read:
    def read(findings: Findings, path: str, value: Any) -> Any:
        if isinstance(value, str) and value in choices:
            return value
        text = f"{shown(value)!r}" if isinstance(value, str) else kind(value)
        name = path[path.rfind(".") + 1 :]
        findings.add(path, f"{text} is no choice for {name}", f"say {' or '.join(choices)}")
        return None

    return read


def _names(findings: Findings, path: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        _wrong(findings, path, value, "a list of names", "write [name, name]")
        return ()
    for number, name in enumerate(value):
        if not isinstance(name, str):
            findings.add(f"{path}[{number}]", f"{kind(name)} where a name is needed")
    return tuple(name for name in value if isinstance(name, str))


def _duration(findings: Findings, path: str, value: Any) -> float | None:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        _wrong(findings, path, value, "a duration", "write such as 500ms, 2s, 5m, 1h30m or 14d")
        return None
    try:
        return seconds(value)
    except (ValueError, OverflowError) as error:
        findings.add(path, shown(error, 200))
        return None


def _number(findings: Findings, path: str, value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    _wrong(findings, path, value, "a number")
    return None


def _tolerance(findings: Findings, path: str, value: Any) -> int | str | None:
    if isinstance(value, int | str) and not isinstance(value, bool):
        return value
    _wrong(findings, path, value, "a count or a share", "write such as 3 or 2%")
    return None


def _source(findings: Findings, path: str, value: Any) -> Any:
    if isinstance(value, str | list | dict):
        return value
    _wrong(findings, path, value, "a list, a map, or an expression that yields one")
    return None


def _condition(findings: Findings, path: str, value: Any) -> str | None:
    if isinstance(value, str):
        return value
    _wrong(findings, path, value, "an expression", 'write such as "${{ params.x != null }}"')
    return None


def _needs(findings: Findings, path: str, value: Any) -> dict[str, Need]:
    if isinstance(value, list):
        return {name: Need() for name in _names(findings, path, value)}
    if not isinstance(value, dict):
        _wrong(findings, path, value, "a map of names, or a list", "write {name: {when: ...}}")
        return {}
    return {
        name: Need()
        if need is None
        else Need(**_fields(findings, f"{path}.{name}", need, _NEED, "write {when: ...}"))
        for name, need in value.items()
    }


def _retry(findings: Findings, path: str, value: Any) -> tuple[RetryRule, ...]:
    if value == "never":
        return ()
    if not isinstance(value, list):
        _wrong(findings, path, value, "a list of rules, or never", "write - {on: CODE, max: 3}")
        return ()
    shape = "a rule is a map such as {on: CODE, max: 3}"
    rules = [
        _fields(findings, f"{path}[{number}]", rule, _RULE, shape)
        for number, rule in enumerate(value)
    ]
    return tuple(RetryRule(**rule) for rule in rules)


def _budget(findings: Findings, path: str, value: Any) -> Budget:
    return Budget(**_fields(findings, path, value, _BUDGET, "write {depth: 16, steps: 100000}"))


def _join(findings: Findings, path: str, value: Any) -> Join | None:
    text = _one_of(*Join)(findings, path, value)
    return None if text is None else Join(text)


def _step(findings: Findings, path: str, value: Any) -> StepDefinition | None:
    before = len(findings.problems)
    shape = "a step is a map with call:, job: or set:"
    fields = _fields(findings, path, value, _STEP, shape)
    if len(findings.problems) > before:
        return None
    renamed = {"with": "with_", "set": "sets"}
    return StepDefinition(**{renamed.get(key, key): item for key, item in fields.items()})


def _steps(findings: Findings, path: str, value: Any) -> dict[str, StepDefinition | None]:
    if not isinstance(value, dict):
        _wrong(findings, path, value, "a map of steps by name")
        return {}
    return {name: _step(findings, f"{path}.{name}", step) for name, step in value.items()}


_text = _of(str, "text")
_whole = _of(int, "a whole number")
_truth = _of(bool, "true or false")
_map: Read = _of(dict, "a map")

_JOB: dict[str, Read] = {
    "job": _text,
    "version": _whole,
    "params": _map,
    "budget": _budget,
    "on_failure": _one_of("continue", "stop"),
    "endpoints": _names,
    "steps": _steps,
    "result": _any,
}
_BUDGET: dict[str, Read] = {"depth": _whole, "steps": _whole}
_NEED: dict[str, Read] = {"when": _condition}
_RULE: dict[str, Read] = {
    "on": _text,
    "max": _whole,
    "first": _duration,
    "factor": _number,
    "cap": _duration,
    "jitter": _one_of("full", "none"),
    "wait": _one_of("backoff", "retry-after"),
}
_STEP: dict[str, Read] = {
    "call": _text,
    "job": _text,
    "version": _whole,
    "set": _any,
    "with": _map,
    "for_each": _source,
    "window": _whole,
    "tolerate": _tolerance,
    "needs": _needs,
    "after": _names,
    "when": _condition,
    "join": _join,
    "cancel_rest": _truth,
    "eager": _truth,
    "may_fail": _truth,
    "retry": _retry,
    "queue": _text,
}
