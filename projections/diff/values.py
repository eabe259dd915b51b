"""The first place at which two JSON values differ."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z", re.ASCII)


class Absent(msgspec.Struct, frozen=True):
    """Stands for a value that is not there, which is another thing than null."""


ABSENT: Final = Absent()


class Difference(msgspec.Struct, frozen=True):
    """A place such as `groups[3].name`, "" for the whole, and what is there on either side."""

    path: str
    left: Any
    right: Any


def first_difference(left: Any, right: Any, path: str = "") -> Difference | None:
    """Return the first difference, in the order of the left value; None if they are the same.

    The order of an object's members does not count. Values of different types differ, so 1 is not
    1.0 and not true. Values come from JSON that was checked, so they are not nested deeply.
    """
    if type(left) is not type(right):
        return Difference(path, left, right)
    if isinstance(left, dict):
        return _of_objects(left, right, path)
    if isinstance(left, list):
        return _of_lists(left, right, path)
    return None if left == right else Difference(path, left, right)


def _of_objects(left: dict[str, Any], right: dict[str, Any], path: str) -> Difference | None:
    for name in (*left, *(name for name in right if name not in left)):
        mine, other = left.get(name, ABSENT), right.get(name, ABSENT)
        found = first_difference(mine, other, member(path, name))
        if found is not None:
            return found
    return None


def _of_lists(left: list[Any], right: list[Any], path: str) -> Difference | None:
    for index in range(max(len(left), len(right))):
        mine, other = (side[index] if index < len(side) else ABSENT for side in (left, right))
        found = first_difference(mine, other, f"{path}[{index}]")
        if found is not None:
            return found
    return None


def member(path: str, name: str) -> str:
    """Return the place of a member of the object at a place."""
    if not _NAME.match(name):
        return f"{path}[{msgspec.json.encode(name).decode()}]"
    return f"{path}.{name}" if path else name
