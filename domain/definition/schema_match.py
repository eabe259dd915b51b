"""Matching a value against a JSON Schema of draft 2020-12, in a bounded number of steps.

Schemas and values come from anybody and are matched where everything else waits for it, so each
schema that is applied, each name, choice and pattern that is looked at takes a step, and no more
steps are done than were given. The schema has gone through `check_schema` before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from functools import partial
from typing import Any

from warrener.domain.definition.patterns import Pattern, PatternError, compiled
from warrener.domain.definition.schema_parts import PARTS, Misfit, Place
from warrener.domain.definition.schema_rules import RULES, identity, told

_NAMES_PER_STEP = 8  # looked up in a map in the time of one step
_BYTES_PER_STEP = 4  # of the text by which values are compared


class TooManySteps(Exception):
    """A match takes more steps than it may."""


class UnusableSchema(Exception):
    """A schema refers to nothing, or has a pattern that cannot be matched."""


class Steps:
    """How many steps are left."""

    def __init__(self, steps_max: int) -> None:
        self.left = steps_max

    def take(self, count: int) -> None:
        """Take steps; raises `TooManySteps` where there are not so many left."""
        self.left -= count
        if self.left < 0:
            raise TooManySteps


class Schema:
    """A schema with what is known of it from matches before."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self._targets: dict[str, Any] = {}
        self._choices: dict[int, frozenset[Any]] = {}

    def target(self, reference: str) -> Any:
        """Return the part of the schema that a `$ref` names."""
        if reference not in self._targets:
            found = resolved(self.root, reference)
            if found is None:
                raise UnusableSchema(f"there is nothing at {told(reference)}")
            self._targets[reference] = found
        return self._targets[reference]

    def choices(self, values: list[Any]) -> frozenset[Any]:
        """Return the values of an `enum` of this schema, ready to be looked up."""
        key = id(values)
        if key not in self._choices:
            self._choices[key] = frozenset(map(identity, values))
        return self._choices[key]


def resolved(root: Any, reference: str) -> Any:
    """Return what a reference such as `#/$defs/NAME` leads to; None if it is no schema."""
    for part in reference.removeprefix("#/").split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(root, dict) and key in root:
            root = root[key]
        elif isinstance(root, list) and _is_place_in(root, key):
            root = root[int(key)]
        else:
            return None
    return root if isinstance(root, dict | bool) else None


def _is_place_in(items: list[Any], key: str) -> bool:
    return key.isascii() and key.isdecimal() and len(key) < 10 and int(key) < len(items)


def _nothing_told(value: Any) -> str:
    return f"False schema does not allow {told(value)}"


class Match:
    """One match of a value against a schema."""

    def __init__(self, schema: Schema, steps: Steps) -> None:
        self.schema = schema
        self.steps = steps

    def misfits(self, schema: Any, value: Any, place: Place = ()) -> Iterator[Misfit]:
        """Go through what does not fit."""
        if isinstance(schema, bool):
            self.steps.take(1)
            if not schema:
                yield Misfit(place, "", value, schema, partial(_nothing_told, value))
            return
        self.steps.take(1 + len(schema))
        for keyword, wanted in schema.items():
            if (rule := RULES.get(keyword)) is not None:
                if rule.applies(value) and not rule.holds(wanted, value):
                    words = partial(rule.words, wanted, value)
                    yield Misfit(place, keyword, value, schema, words)
            elif (part := PARTS.get(keyword)) is not None and part.applies(value):
                yield from part.misfits(self, schema, value, place)

    def fits(self, schema: Any, value: Any) -> bool:
        """Say whether a value fits."""
        self.steps.take(1)
        return next(self.misfits(schema, value), None) is None

    def is_among(self, value: Any, values: list[Any]) -> bool:
        """Say whether a value is one of those of an `enum`."""
        choices = self.schema.choices(values)
        return self.identity(value) in choices

    def identity(self, value: Any) -> Any:
        """Return what is the same for equal values."""
        found = identity(value)
        self.steps.take(1 + (len(found) // _BYTES_PER_STEP if isinstance(found, bytes) else 0))
        return found

    def is_found(self, pattern: str, text: str) -> bool:
        """Say whether a pattern is found in a text."""
        try:
            known: Pattern = compiled(pattern)
        except PatternError as error:
            raise UnusableSchema(f"the pattern {told(pattern)}: {error}") from error
        self.steps.take(known.steps(text))
        return known.found_in(text)

    def look_up(self, names: Sized) -> None:
        """Take the steps of looking up so many names."""
        self.steps.take(len(names) // _NAMES_PER_STEP)
