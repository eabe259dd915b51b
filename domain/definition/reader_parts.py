"""Readers of the parts of a file: each takes a plain value and notes what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from warrener.domain.definition import durations
from warrener.domain.definition.findings import Findings, shown, unknown_hint
from warrener.domain.definition.model import Rate
from warrener.domain.expression_scope import kind

Read = Callable[[Findings, str, Any], Any]
T = TypeVar("T")

_MEANT = {
    "if": "when",
    "args": "with",
    "arguments": "with",
    "input": "with",
    "depends_on": "after",
    "foreach": "for_each",
    "retries": "retry",
    "name": "job",
    "timeouts": "timeout",
    "limit": "limits",
    "rescue": "catch",
    "finally": "always",
    "undo": "compensate",
    "delay": "sleep",
    "signal": "wait",
}


def fields(
    findings: Findings,
    path: str,
    value: Any,
    known: Mapping[str, Read],
    shape: str,
    *,
    needed: Sequence[str] = (),
) -> dict[str, Any]:
    """Read the known keys of a map; note unknown ones, and those that are needed and missing."""
    if not isinstance(value, dict):
        findings.add(path, f"{kind(value)} where a map is needed", shape)
        return {}
    found = {}
    for key, item in value.items():
        inner = f"{path}.{key}" if path else key
        if key in known:
            found[key] = known[key](findings, inner, item)
        else:
            meant = _MEANT.get(key)
            hint = f"did you mean {meant}?" if meant in known else unknown_hint(key, known)
            findings.add(inner, f"unknown key {shown(key)}", hint)
    for key in needed:
        if key not in value:
            findings.add(path, f"{key}: is missing", shape)
    return found


def lines(
    findings: Findings,
    path: str,
    value: Any,
    known: Mapping[str, Read],
    example: str,
    *,
    needed: str,
) -> list[dict[str, Any]]:
    """Read a list of maps; those without the key that is needed are noted and left out."""
    if not isinstance(value, list):
        wrong(findings, path, value, "a list", f"write - {example}")
        return []
    found = [
        fields(findings, f"{path}[{number}]", item, known, f"write {example}", needed=(needed,))
        for number, item in enumerate(value)
    ]
    return [line for line in found if needed in line]


def wrong(findings: Findings, path: str, value: Any, needed: str, hint: str = "") -> None:
    """Note a value of a wrong type."""
    name = path[path.rfind(".") + 1 :]
    findings.add(path, f"{shown(name)} must be {needed}, not {kind(value)}", hint)


def of(accepted: type[T], needed: str) -> Read:
    """Return a reader that takes values of one type."""

    def read(findings: Findings, path: str, value: Any) -> T | None:
        if isinstance(value, accepted) and (accepted is bool or not isinstance(value, bool)):
            return value
        wrong(findings, path, value, needed)
        return None

    return read


def anything(findings: Findings, path: str, value: Any) -> Any:  # noqa: ARG001
    """Take any value."""
    return value


def one_of(*choices: str) -> Read:
    """Return a reader that takes one of these words."""

    def read(findings: Findings, path: str, value: Any) -> Any:
        if isinstance(value, str) and value in choices:
            return value
        text = f"{shown(value)!r}" if isinstance(value, str) else kind(value)
        name = path[path.rfind(".") + 1 :]
        findings.add(path, f"{text} is no choice for {name}", f"say {' or '.join(choices)}")
        return None

    return read


def names(findings: Findings, path: str, value: Any) -> tuple[str, ...]:
    """Read a list of names."""
    if not isinstance(value, list):
        wrong(findings, path, value, "a list of names", "write [name, name]")
        return ()
    for number, name in enumerate(value):
        if not isinstance(name, str):
            findings.add(f"{path}[{number}]", f"{kind(name)} where a name is needed")
    return tuple(name for name in value if isinstance(name, str))


def duration(findings: Findings, path: str, value: Any) -> float | None:
    """Read a duration, in seconds."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        wrong(findings, path, value, "a duration", "write such as 500ms, 2s, 5m, 1h30m or 14d")
        return None
    try:
        return durations.seconds(value)
    except ValueError as error:
        findings.add(path, shown(error, 200))
        return None


def rate(findings: Findings, path: str, value: Any) -> Rate | None:
    """Read a rate."""
    if not isinstance(value, str):
        wrong(findings, path, value, "text such as 20/min, 5/s or 1/10s")
        return None
    try:
        return durations.rate(value)
    except ValueError as error:
        findings.add(path, shown(error, 200))
        return None


def number(findings: Findings, path: str, value: Any) -> float | None:
    """Read a number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    wrong(findings, path, value, "a number")
    return None


def tolerance(findings: Findings, path: str, value: Any) -> int | str | None:
    """Read how many items may fail."""
    if isinstance(value, int | str) and not isinstance(value, bool):
        return value
    wrong(findings, path, value, "a count or a share", "write such as 3 or 2%")
    return None


def source(findings: Findings, path: str, value: Any) -> Any:
    """Read what a fan-out goes over."""
    if isinstance(value, str | list | dict):
        return value
    wrong(findings, path, value, "a list, a map, or an expression that yields one")
    return None


def condition(findings: Findings, path: str, value: Any) -> str | None:
    """Read an expression that says yes or no."""
    if isinstance(value, str):
        return value
    wrong(findings, path, value, "an expression", 'write such as "${{ params.x != null }}"')
    return None


def pause(findings: Findings, path: str, value: Any) -> str | float | None:
    """Read how long, or until when, a step sleeps; what text means is for the check."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return duration(findings, path, value)
    needed = "a duration, an instant or an expression"
    wrong(findings, path, value, needed, "write such as 14d or 2026-03-01T08:00:00Z")
    return None


text = of(str, "text")
whole = of(int, "a whole number")
truth = of(bool, "true or false")
mapping: Read = of(dict, "a map")
