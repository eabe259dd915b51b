"""Collecting problems with their places."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from warrener.domain.errors import Problem
from warrener.domain.expression_scope import kind, why_not_json
from warrener.domain.expression_text import OPEN, nearest

PROBLEMS_MAX = 100
TEMPLATE_DEPTH_MAX = 50
_SHOWN_MAX = 60
_KNOWN_SHOWN_MAX = 10


class Findings:
    """The problems of one definition, with the lines at which its parts stand.

    A part without a line of its own gets that of what it stands in.
    """

    def __init__(self, places: Mapping[str, int] | None = None, file: str = "") -> None:
        self.problems: list[Problem] = []
        self._places = places or {}
        self._file = file
        self._left_out = 0

    def add(self, path: str, message: str, hint: str = "") -> None:
        """Note a problem at a path such as `steps.merge.with.posts`."""
        if len(self.problems) >= PROBLEMS_MAX:
            self._left_out += 1
            return
        line = self.line(path)
        self.problems.append(
            Problem(message=message, hint=hint, file=self._file, line=line, path=shown(path, 200))
        )

    def has_place(self, path: str) -> bool:
        """Say whether the definition's text has this part."""
        return path in self._places

    def line(self, path: str) -> int | None:
        """Return the line of a part, or of the innermost part around it that has one."""
        while path and path not in self._places:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self._places.get(path)

    def all(self) -> list[Problem]:
        """Return the problems in the order of their lines."""
        ordered = sorted(self.problems, key=lambda problem: problem.line or 0)
        if self._left_out:
            text = f"{self._left_out} more problems are not shown"
            ordered.append(Problem(message=text, file=self._file))
        return ordered


def shown(name: object, length_max: int = _SHOWN_MAX) -> str:
    """Return a text of the user for a message: bounded, control characters escaped."""
    text = str(name)
    text = text if len(text) <= length_max else text[:length_max] + "..."
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def unknown_hint(name: str, known: Collection[str]) -> str:
    """Return the most similar known name, or some of those that are known."""
    near = nearest(name, known)
    if near or not known:
        return near
    names = sorted(known)
    more = ", ..." if len(names) > _KNOWN_SHOWN_MAX else ""
    return f"known: {', '.join(names[:_KNOWN_SHOWN_MAX])}{more}"


def is_whole(value: Any, lowest: int, highest: int) -> bool:
    """Say whether a value is a whole number within bounds."""
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def matches(pattern: re.Pattern[str], name: Any, length_max: int) -> bool:
    """Say whether a value is a name of this form and not too long."""
    return isinstance(name, str) and len(name) <= length_max and bool(pattern.fullmatch(name))


def strings(
    findings: Findings, path: str, value: Any, depth_left: int = TEMPLATE_DEPTH_MAX
) -> Iterator[tuple[str, str]]:
    """Go through the strings of a template with their paths; note what is not JSON on the way."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list | tuple):
        if depth_left == 0:
            findings.add(path, f"nested deeper than {TEMPLATE_DEPTH_MAX} levels")
            return
        for inner, item in _items(findings, path, value):
            yield from strings(findings, inner, item, depth_left - 1)
    elif (reason := why_not_json(value)) is not None:
        findings.add(path, reason)


def _items(
    findings: Findings, path: str, value: dict[Any, Any] | list[Any] | tuple[Any, ...]
) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield from ((f"{path}[{number}]", item) for number, item in enumerate(value))
        return
    for key, item in value.items():
        inner = f"{path}.{key}"
        if not isinstance(key, str):
            findings.add(path, f"{kind(key)} as a key: JSON has text only")
        elif OPEN in key:
            findings.add(inner, "an expression as a key", "keys are text, only values are computed")
        yield inner, item
