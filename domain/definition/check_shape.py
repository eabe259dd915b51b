"""Checks that a value is a JSON Schema of draft 2020-12 which can be matched in bounded time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from warrener.domain.definition.findings import Findings, shown
from warrener.domain.definition.patterns import PATTERN_HINT, PatternError, compiled
from warrener.domain.definition.schema_match import resolved
from warrener.domain.definition.schema_rules import TYPES, is_list, is_map, is_number, is_text, told

PATTERNS_MAX = 100  # different ones in one schema
UNFOLDED_MAX = 10_000
CHAIN_MAX = 50
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFUSED = ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary")

# Where a schema holds further ones.
_ONE = (
    *("items", "contains", "unevaluatedItems", "additionalProperties", "unevaluatedProperties"),
    *("propertyNames", "not", "if", "then", "else", "contentSchema"),
)
_LISTED = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
# Those of them that look at the value that the schema itself looks at.
_SAME_VALUE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")


def _is_count(value: Any) -> bool:
    return is_number(value) and value >= 0 and value == int(value)


def _is_texts(value: Any) -> bool:
    return is_list(value) and all(map(is_text, value)) and len(set(value)) == len(value)


def _is_type(value: Any) -> bool:
    names = [value] if is_text(value) else value
    return _is_texts(names) and bool(names) and all(name in TYPES for name in names)


_COUNT = (_is_count, "a whole number from 0")
_NUMBER = (is_number, "a number")
_TEXT = (is_text, "text")
_FLAG = (lambda value: isinstance(value, bool), "true or false")
_LIST = (is_list, "a list")

_SHAPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "type": (_is_type, f"one of {', '.join(TYPES)}, or a list of different ones"),
    "required": (_is_texts, "a list of different names"),
    "dependentRequired": (
        lambda value: is_map(value) and all(map(_is_texts, value.values())),
        "a map with lists of different names",
    ),
    "multipleOf": (lambda value: is_number(value) and value > 0, "a number above 0"),
    "enum": _LIST,
    "examples": _LIST,
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _NUMBER),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), _COUNT),
    **dict.fromkeys(("minProperties", "maxProperties", "minContains", "maxContains"), _COUNT),
    **dict.fromkeys(("uniqueItems", "deprecated", "readOnly", "writeOnly"), _FLAG),
    **dict.fromkeys(("pattern", "format", "title", "description", "$comment", "$ref"), _TEXT),
    **dict.fromkeys(("$schema", "contentEncoding", "contentMediaType"), _TEXT),
    **dict.fromkeys(
        _LISTED, (lambda value: is_list(value) and bool(value), "a list with at least one schema")
    ),
    **dict.fromkeys(_NAMED, (is_map, "a map of schemas by name")),
}


class ShapeCheck:
    """Goes once through every part of a schema; the schema is JSON of bounded depth."""

    def __init__(self, findings: Findings, place: str, root: Any) -> None:
        self._findings = findings
        self._root = root
        self._to_check: deque[tuple[str, Any]] = deque([(place, root)])
        self._referred: deque[tuple[str, Any]] = deque()  # looked at last: most have a place, too
        self._checked: dict[int, tuple[str, Any]] = {}
        self._patterns: set[str] = set()

    def run(self) -> None:
        """Note what cannot be used."""
        before = len(self._findings.problems)
        while self._to_check or self._referred:
            self._check(*(self._to_check or self._referred).popleft())
        if len(self._findings.problems) == before:
            self._unfold()

    def _unfold(self) -> None:
        unfolding = _Unfolding(self._root)
        for path, schema in self._checked.values():
            try:
                unfolding.measure(schema)
            except ValueError as error:
                self._findings.add(path, str(error), "say the same with fewer references")
                return

    def _check(self, path: str, schema: Any) -> None:
        if isinstance(schema, bool) or id(schema) in self._checked:
            return
        if not isinstance(schema, dict):
            self._refuse(path, schema, "a map, true or false")
            return
        self._checked[id(schema)] = path, schema
        for keyword, value in schema.items():
            place = f"{path}.{keyword}"
            holds, what = _SHAPES.get(keyword, (None, ""))
            if keyword in _REFUSED:
                hint = 'use {"$ref": "#/$defs/NAME"}'
                self._findings.add(place, f"{keyword} is not supported", hint)
            elif holds is not None and not holds(value):
                self._refuse(place, value, what)
            else:
                self._check_words(place, keyword, value)
                self._to_check.extend(_inner(place, keyword, value))

    def _refuse(self, path: str, value: Any, what: str) -> None:
        text = f"not a valid JSON Schema: {shown(told(value))} is not {what}"
        self._findings.add(path, text)

    def _check_words(self, path: str, keyword: str, value: Any) -> None:
        if keyword == "$ref":
            self._check_reference(path, value)
        elif keyword == "$schema" and value.rstrip("#") != _DIALECT:
            text = "only JSON Schema draft 2020-12 is supported"
            self._findings.add(path, text, f"it is {_DIALECT}")
        elif keyword == "pattern":
            self._check_pattern(path, value)
        elif keyword == "patternProperties":
            for pattern in value:
                self._check_pattern(f"{path}.{pattern}", pattern)

    def _check_reference(self, path: str, reference: str) -> None:
        if not reference.startswith("#/"):
            hint = "only #/... in the same schema; nothing is fetched"
            self._findings.add(path, f"$ref to {shown(reference)!r}", hint)
            return
        target = resolved(self._root, reference)
        if target is None:
            self._findings.add(path, f"$ref: there is nothing at {shown(reference)!r}")
        else:
            self._referred.append((path, target))

    def _check_pattern(self, path: str, pattern: str) -> None:
        if pattern in self._patterns or len(self._patterns) > PATTERNS_MAX:
            return
        self._patterns.add(pattern)
        if len(self._patterns) > PATTERNS_MAX:
            text = f"more than {PATTERNS_MAX} different patterns in one schema"
            self._findings.add(path, text, "use enum, or minLength and maxLength")
            return
        try:
            compiled(pattern)
        except PatternError as error:
            self._findings.add(path, f"not a regular expression: {shown(error, 200)}", PATTERN_HINT)


def _inner(path: str, keyword: str, value: Any) -> Iterator[tuple[str, Any]]:
    if keyword in _ONE:
        yield path, value
    elif keyword in _LISTED:
        yield from ((f"{path}[{number}]", each) for number, each in enumerate(value))
    elif keyword in _NAMED:
        yield from ((f"{path}.{name}", each) for name, each in value.items())


class _Unfolding:
    """Counts how many parts of a schema look at one and the same value, references followed.

    A few references to each other can double that number with each of them.
    """

    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[int, tuple[int, int]] = {}  # parts, and how deep they are in each other
        self._open: set[int] = set()

    def measure(self, schema: Any, depth: int = 0) -> tuple[int, int]:
        """Return how many parts and how deep; raises `ValueError` if that is too much."""
        if isinstance(schema, bool):
            return 1, 1
        key = id(schema)
        if key in self._open:
            raise ValueError("a $ref leads back to itself, for the same value")
        if key not in self._known:
            self._open.add(key)
            inner = [self.measure(each, depth + 1) for each in self._parts(schema)]
            self._open.discard(key)
            parts = 1 + sum(parts for parts, _ in inner)
            self._known[key] = parts, 1 + max((deep for _, deep in inner), default=0)
        parts, deep = self._known[key]
        if parts > UNFOLDED_MAX:
            raise ValueError(f"with its references, over {UNFOLDED_MAX} schemas look at one value")
        if depth + deep > CHAIN_MAX:
            raise ValueError(f"over {CHAIN_MAX} schemas in each other look at one value")
        return parts, deep

    def _parts(self, schema: Mapping[str, Any]) -> Iterator[Any]:
        if "$ref" in schema:
            yield resolved(self._root, schema["$ref"])
        for keyword, value in schema.items():
            if keyword in _SAME_VALUE:
                yield from (each for _, each in _inner("", keyword, value))
