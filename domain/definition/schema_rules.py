"""The keywords of JSON Schema that look at one value alone, and how values are told and compared.

The words of the messages are those of the jsonschema library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec

TOLD_LENGTH_MAX = 120  # of a value in a message; the words follow it
_EXACT_MAX = 2.0**63


class Rule(NamedTuple):
    """A keyword: to which values it applies, whether one keeps it, and what to say if not."""

    applies: Callable[[Any], bool]
    holds: Callable[[Any, Any], bool]  # what the schema wants, and the value
    words: Callable[[Any, Any], str]


def is_number(value: Any) -> bool:
    """Say whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_text(value: Any) -> bool:
    """Say whether a value is text."""
    return isinstance(value, str)


def is_list(value: Any) -> bool:
    """Say whether a value is a list."""
    return isinstance(value, list)


def is_map(value: Any) -> bool:
    """Say whether a value is a map."""
    return isinstance(value, dict)


def _is_integer(value: Any) -> bool:
    return is_number(value) and (isinstance(value, int) or value.is_integer())


TYPES: Mapping[str, Callable[[Any], bool]] = {
    "array": is_list,
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "null": lambda value: value is None,
    "number": is_number,
    "object": is_map,
    "string": is_text,
}


def names_of(types: Any) -> list[str]:
    """Return the names of the types that a schema allows."""
    return [types] if isinstance(types, str) else types


def told(value: Any) -> str:
    """Return what `repr` says, or how that begins, without going through the rest of the value."""
    text = ""
    for piece in _pieces(value):
        text += piece
        if len(text) > TOLD_LENGTH_MAX:
            return text[:TOLD_LENGTH_MAX] + "..."
    return text


def listed(values: list[Any]) -> str:
    """Return values one after the other, as in the words `1, 'a' were unexpected`."""
    text = ", ".join(told(value) for value in values[:TOLD_LENGTH_MAX])
    return f"{text} {'was' if len(values) == 1 else 'were'} unexpected"


def _pieces(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield "{"
        for number, (key, item) in enumerate(value.items()):
            yield from (", " if number else "", told(key), ": ")
            yield from _pieces(item)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for number, item in enumerate(value):
            yield ", " if number else ""
            yield from _pieces(item)
        yield "]"
    else:
        yield repr(value[: TOLD_LENGTH_MAX + 1] if isinstance(value, str) else value)


def identity(value: Any) -> Any:
    """Return what is the same for equal JSON values alone, and can be put into a set.

    Lists and maps become text: the hash of text cannot be foreseen by who sends the value.
    """
    if isinstance(value, str) or is_number(value):
        return value
    return msgspec.json.encode(_plain(value), order="sorted")


def _plain(value: Any) -> Any:
    """Return a value with whole numbers for those that are equal to one: 1.0 is 1."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _EXACT_MAX else value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _is_multiple(wanted: Any, value: Any) -> bool:
    try:
        if not isinstance(wanted, float):
            return bool(value % wanted == 0)
        quotient = value / wanted
        return bool(int(quotient) == quotient)
    except OverflowError:  # a large value by a small step
        return (Fraction(value) / Fraction(wanted)).denominator == 1
    except ValueError:  # NaN
        return False


def _has_type(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, str):
        return TYPES[wanted](value)
    return any(TYPES[name](value) for name in wanted)


def _too_few(rest: str) -> Callable[[Any, Any], str]:
    return lambda wanted, value: f"{told(value)} {'should be non-empty' if wanted == 1 else rest}"


def _too_many(rest: str) -> Callable[[Any, Any], str]:
    return lambda wanted, value: (
        f"{told(value)} {'is expected to be empty' if wanted == 0 else rest}"
    )


def _beyond(what: str) -> Callable[[Any, Any], str]:
    return lambda wanted, value: f"{told(value)} is {what} of {told(wanted)}"


def _is_enough(wanted: Any, value: Any) -> bool:
    return bool(len(value) >= wanted)


def _is_not_more(wanted: Any, value: Any) -> bool:
    return bool(len(value) <= wanted)


RULES: Mapping[str, Rule] = {
    "type": Rule(
        lambda _: True,
        _has_type,
        lambda wanted, value: (
            f"{told(value)} is not of type {', '.join(map(repr, names_of(wanted)))}"
        ),
    ),
    "minimum": Rule(
        is_number, lambda wanted, value: value >= wanted, _beyond("less than the minimum")
    ),
    "maximum": Rule(
        is_number, lambda wanted, value: value <= wanted, _beyond("greater than the maximum")
    ),
    "exclusiveMinimum": Rule(
        is_number,
        lambda wanted, value: value > wanted,
        _beyond("less than or equal to the minimum"),
    ),
    "exclusiveMaximum": Rule(
        is_number,
        lambda wanted, value: value < wanted,
        _beyond("greater than or equal to the maximum"),
    ),
    "multipleOf": Rule(
        is_number,
        _is_multiple,
        lambda wanted, value: f"{told(value)} is not a multiple of {told(wanted)}",
    ),
    "minLength": Rule(is_text, _is_enough, _too_few("is too short")),
    "maxLength": Rule(is_text, _is_not_more, _too_many("is too long")),
    "minItems": Rule(is_list, _is_enough, _too_few("is too short")),
    "maxItems": Rule(is_list, _is_not_more, _too_many("is too long")),
    "minProperties": Rule(is_map, _is_enough, _too_few("does not have enough properties")),
    "maxProperties": Rule(is_map, _is_not_more, _too_many("has too many properties")),
}
