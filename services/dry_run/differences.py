"""Where two JSON values, or two definitions of a step, first differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from warrener.domain.definition.model import JobDefinition, StepDefinition

SHOWN_CHARACTERS_MAX = 500
MISSING = msgspec.UNSET  # in place of what only one side has
HARMLESS = frozenset({"queue", "limits", "window"})  # that only say when, or where
OF_JOBS = ("params", "budget", "on_failure", "deadline", "result")


class Difference(msgspec.Struct, frozen=True):
    """The first difference: its JSON path, and what is there in each."""

    at: str
    old: Any
    new: Any


def first_difference(old: Any, new: Any, at: str = "$") -> Difference | None:
    """Return where two values first differ, None if they are equal. Order of keys is none."""
    todo = [(old, new, at)]
    while todo:
        one, other, place = todo.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            keys = dict.fromkeys([*one, *other])
            inner = [
                (one.get(key, MISSING), other.get(key, MISSING), f"{place}.{key}") for key in keys
            ]
            todo.extend(reversed(inner))
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            pairs = enumerate(zip(one, other, strict=True))
            todo.extend(reversed([(a, b, f"{place}[{index}]") for index, (a, b) in pairs]))
        elif not _same(one, other):
            return Difference(place, shown(one), shown(other))
    return None


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and (type(one) is type(other) or _is_number(one) is _is_number(other))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def shown(value: Any) -> Any:
    """Return a value, or the beginning of its text if it is long."""
    if value is MISSING:
        return value
    text = msgspec.json.encode(value).decode()
    if len(text) <= SHOWN_CHARACTERS_MAX:
        return value
    return f"{text[:SHOWN_CHARACTERS_MAX]}… ({len(text)} characters)"


def changed_fields(
    old: StepDefinition | None, new: StepDefinition | None
) -> Iterator[tuple[str, Difference]]:
    """Yield what differs in the definition of a step, by field; what matters more comes first."""
    before, after = _plain(old), _plain(new)
    if old is None or new is None:
        return
    names = sorted({*before, *after}, key=lambda name: (name in HARMLESS, name))
    for name in names:
        found = first_difference(before.get(name, MISSING), after.get(name, MISSING), name)
        if found is not None:
            yield name, found


def changed_in_job(old: JobDefinition, new: JobDefinition) -> Iterator[tuple[str, Difference]]:
    """Yield what differs between two definitions of a job beside their steps."""
    before, after = _plain(old), _plain(new)
    for name in OF_JOBS:
        found = first_difference(before.get(name, MISSING), after.get(name, MISSING), name)
        if found is not None:
            yield name, found


def _plain(definition: StepDefinition | JobDefinition | None) -> dict[str, Any]:
    if definition is None:
        return {}
    found: dict[str, Any] = msgspec.to_builtins(definition)
    return found


def told(place: str, found: Difference) -> str:
    """Return a difference between definitions as a line: `steps.a.with.x: 1 -> 2`."""
    return f"{place}{found.at}: {_short(found.old)} -> {_short(found.new)}"


def _short(value: Any) -> str:
    if value is MISSING:
        return "(nothing)"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 120 else f"{text[:117]}..."
