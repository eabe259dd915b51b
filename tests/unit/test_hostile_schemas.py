"""Forms, answers and parameters from anybody: whatever they hold, checking them soon ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice, permutations
from time import perf_counter
from typing import Any

import pytest

from warrener.domain.definition.check import validate_params
from warrener.domain.definition.check_params import (
    ANSWER_BYTES_MAX,
    FORM_BYTES_MAX,
    form_misfits,
    form_problems,
    misfits_of_all,
)
from warrener.domain.definition.check_shape import CHAIN_MAX, PATTERNS_MAX
from warrener.domain.definition.model import JobDefinition

SECONDS_MAX = 2.0  # what takes time without a bound takes minutes or years
PARAMS_SECONDS_MAX = 5.0  # they may take four times the steps
FITS = ""
LONG = "it takes too long to check this against its schema"

Json = dict[str, Any]


def soon(work: Callable[[], Any], seconds_max: float = SECONDS_MAX) -> Any:
    began = perf_counter()
    done = work()
    seconds = perf_counter() - began
    assert seconds < seconds_max
    return done


def nested(levels: int, inner: Any, wrap: Callable[[Any], Any]) -> Any:
    for _ in range(levels):
        inner = wrap(inner)
    return inner


def doubled(levels: int, wrap: Callable[[Json], Json], last: str = "integer") -> Json:
    """Return a form whose parts refer twice to the next one."""
    parts = {f"d{n}": wrap({"$ref": f"#/$defs/d{n + 1}"}) for n in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**parts, f"d{levels}": {"type": last}}}


def itself(wrap: Callable[[Json], Json]) -> Json:
    """Return a form with a part that holds itself."""
    return {"$ref": "#/$defs/t", "$defs": {"t": wrap({"$ref": "#/$defs/t"})}}


def all_of_both(part: Json) -> Json:
    return {"allOf": [part, part]}


ANAGRAMS = ["".join(letters) for letters in islice(permutations("abcdefghijklmnopqrst"), 5_000)]
BIG_PATTERNS = [rf"(\pL\pN?){{{n}}}" for n in range(100, 900)]

REFUSED_FORMS: dict[str, tuple[Any, str]] = {
    "too large": (
        {"properties": {f"f{n}": {"type": "string", "minLength": 1} for n in range(12_000)}},
        f"over the limit of {FORM_BYTES_MAX} bytes for a form (ask for less",
    ),
    "references that double": (doubled(14, all_of_both), "schemas look at one value"),
    "references that double in anyOf": (
        doubled(14, lambda part: {"anyOf": [part, part, {"not": part}]}),
        "schemas look at one value",
    ),
    "references that double in if": (
        doubled(14, lambda part: {"if": part, "then": part, "else": part}),
        "schemas look at one value",
    ),
    "a reference to itself": (itself(lambda part: part), "leads back to itself"),
    "a reference to itself in oneOf": (
        itself(lambda part: {"oneOf": [part, {"type": "null"}]}),
        "leads back to itself",
    ),
    "a chain of references": (
        {"$defs": {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(400)} | {"d400": {}}},
        f"over {CHAIN_MAX} schemas in each other",
    ),
    "deep": (nested(60, {}, lambda part: {"not": part}), "nested deeper than"),
    "very deep": (nested(900, {}, lambda part: {"not": part}), "nested deeper than"),
    "deep data": ({"const": nested(90, 1, lambda part: [part])}, "nested deeper than"),
    "many patterns": (
        {"anyOf": [{"pattern": f"a{n}"} for n in range(PATTERNS_MAX + 1)]},
        f"more than {PATTERNS_MAX} different patterns",
    ),
    "large patterns": (
        {"anyOf": [{"pattern": each} for each in BIG_PATTERNS[:400]]},
        "not a regular expression: pattern too large",
    ),
    "repeats of repeats": ({"pattern": "(((a{99}){99}){99}){99}"}, "not a regular expression"),
    "look-ahead": ({"pattern": "^(?=.*[0-9]).{8,}$"}, "not a regular expression: invalid perl"),
    "look-behind": ({"properties": {"a": {"pattern": "(?<!x)y"}}}, "form.properties.a.pattern"),
    "back-reference": ({"patternProperties": {r"(a)\1": {}}}, "form.patternProperties.(a)"),
    "not a number": ({"minimum": math.nan}, "form.minimum: the number nan is no JSON value"),
    "infinite": ({"multipleOf": math.inf}, "form.multipleOf: the number inf is no JSON value"),
    "a huge number": ({"multipleOf": 10**400}, "beyond 64 bits"),
    "multiples of nothing": ({"multipleOf": 0}, "0 is not a number above 0"),
    "less than no letters": ({"minLength": -1}, "-1 is not a whole number from 0"),
    "no choice": ({"oneOf": []}, "[] is not a list with at least one schema"),
    "an unknown type": ({"type": ["string", "text"]}, "is not one of array, boolean"),
    "names twice": ({"required": ["a", "a"]}, "is not a list of different names"),
    "no schema": ({"properties": {"a": 3}}, "form.properties.a: not a valid JSON Schema"),
    "a field named like data": (
        {"properties": {"default": {"$ref": "http://x"}}},
        "form.properties.default.$ref: $ref to 'http://x'",
    ),
}


@pytest.mark.parametrize("name", REFUSED_FORMS)
def test_a_hostile_form_is_soon_refused(name: str) -> None:
    form, words = REFUSED_FORMS[name]

    problems = soon(lambda: form_problems(form))

    assert any(words in str(problem) for problem in problems), problems


MANY = 120_000  # values in a list that is as long as an answer may be

ANSWERS: dict[str, tuple[Json, Any, str]] = {
    "nested repeats": ({"pattern": "^(a+)+$"}, "a" * 200_000 + "!", "does not match"),
    "nested repeats of a name": (
        {"patternProperties": {"^(a+)+$": False}},
        {"a" * 200_000 + "!": 1},
        FITS,
    ),
    "nested repeats of extras": (
        {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False},
        {"a" * 200_000 + "!": 1},
        "unknown: aaa",
    ),
    "parentheses": ({"pattern": "(" * 4_000 + "a" + ")*" * 4_000 + "b"}, "a" * 9_000, "does not"),
    "a pattern of many states": ({"pattern": "[ab]*a[ab]{500}c"}, "ab" * 100_000, LONG),
    "optional repeats": ({"pattern": "(?:a{1,30}){1,33}$"}, "a" * 200_000, LONG),
    "any letters in any case": (
        {"items": {"pattern": "(?i)[\0-\U0010ffff]"}},
        ["a"] * 50_000,
        LONG,
    ),
    "different maps": ({"uniqueItems": True}, [{"a": n, "b": "x"} for n in range(4_000)], FITS),
    "different lists": ({"uniqueItems": True}, [[n, [n]] for n in range(15_000)], FITS),
    "different names": ({"uniqueItems": True}, [f"n{n}" for n in range(25_000)], FITS),
    "mixed values": (
        {"uniqueItems": True},
        [*range(20_000), *map(str, range(10_000)), None, True, 0.5, 1.0],
        "has non-unique elements",
    ),
    "a long list": ({"items": {"type": "integer"}}, [0] * MANY, FITS),
    "a long list of what does not fit": (
        {"items": {"type": "string"}},
        [0] * MANY,
        "data[19]: 0 is not of type 'string'",
    ),
    "a long list of choices": ({"items": {"anyOf": [{"type": "string"}, {}]}}, [0] * MANY, LONG),
    "a large enum": ({"items": {"enum": [*range(3_000)]}}, [2_999] * 50_000, FITS),
    "a large enum of lists": (
        {"items": {"enum": [[n] for n in range(2_000)]}},
        [[9]] * 40_000,
        FITS,
    ),
    "many alternatives": (
        {"items": {"oneOf": [{"const": n} for n in range(1_000)]}},
        [999] * 50_000,
        LONG,
    ),
    "what is contained": (
        {"contains": {"contains": {"const": 1}}, "minContains": 2},
        [[0] * 300] * 400,
        LONG,
    ),
    "many fields": (
        {"items": {"properties": {f"f{n}": True for n in range(1_000)}}},
        [{}] * 80_000,
        LONG,
    ),
    "many required fields": (
        {"items": {"anyOf": [{"required": [f"f{n}" for n in range(1_500)]}, {}]}},
        [{}] * 80_000,
        LONG,
    ),
    "many names and patterns": (
        {"patternProperties": {f"x{n}$": {} for n in range(PATTERNS_MAX)}},
        {f"n{n}": 1 for n in range(20_000)},
        LONG,
    ),
    "names of names": (
        {"propertyNames": {"pattern": "^[a-z][0-9]*$"}},
        {f"n{n}": 1 for n in range(20_000)},
        FITS,
    ),
    "twice for each level of the data": (
        itself(lambda part: {"allOf": [{"properties": {"a": part}}] * 2}),
        nested(90, 1, lambda part: {"a": part}),
        LONG,
    ),
    "twice for each level of a list": (
        itself(lambda part: {"items": part, "contains": part}),
        nested(60, 1, lambda part: [part]),
        LONG,
    ),
    "what nobody has looked at": (
        itself(lambda part: {"properties": {"a": part}, "unevaluatedProperties": part}),
        nested(60, 1, lambda part: {"a": part}),
        FITS,
    ),
    "what twice nobody has looked at": (
        doubled(11, lambda part: {**all_of_both(part), "unevaluatedProperties": True}, "object"),
        {"a": 1},
        LONG,
    ),
    "branches": (
        itself(
            lambda part: {"if": {"properties": {"a": part}}, "then": {"properties": {"a": part}}}
        ),
        nested(60, 1, lambda part: {"a": part}),
        LONG,
    ),
    "deep and recursive": (
        itself(lambda part: {"anyOf": [{"type": "null"}, {"properties": {"a": part}}]}),
        nested(90, None, lambda part: {"a": part}),
        FITS,
    ),
    "large values that are told": (
        {"items": {"not": {}}, "type": "string", "maxItems": 1, "enum": [1], "not": {}},
        ["x" * 10_000] * 25,
        "data[0]: 'xxx",
    ),
    "a large value": ({"maxLength": 10}, "x" * 250_000, "is too long"),
    "a long name": ({"additionalProperties": False}, {"\n" * 100_000: 1}, r"unknown: \n\n"),
    "a place of long names": (
        {"additionalProperties": {"type": "string"}},
        {"x" * 250_000: 1},
        "is not of type",
    ),
    "similar names": ({"required": [ANAGRAMS[0]]}, dict.fromkeys(ANAGRAMS[1:], 1), "missing: abc"),
    "similar long names": (
        {"required": ["ab" * 95]},
        {"ba" * 95 + str(n): 1 for n in range(1_200)},
        "missing: abab",
    ),
    "unknown and similar names": (
        {"properties": dict.fromkeys(ANAGRAMS[1:400], True), "additionalProperties": False},
        {ANAGRAMS[0]: 1},
        "unknown: abc",
    ),
    "small steps of a large number": ({"multipleOf": 5e-324}, 1.7976931348623157e308, FITS),
    "odd steps of a large number": ({"multipleOf": 1e-300}, 123456789e300, "not a multiple"),
    "formats": (
        {"items": {"format": "regex"}},
        ["(a+)+$" * 1_000] * 30,
        FITS,
    ),
    "not a number": ({"multipleOf": 0.5, "minimum": 1}, math.nan, "is not a multiple"),
    "too large": (
        {"type": "string"},
        "x" * ANSWER_BYTES_MAX,
        f"over the limit of {ANSWER_BYTES_MAX} bytes for an answer to a form (keep large data",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_hostile_answer_is_soon_checked(name: str) -> None:
    form, answer, words = ANSWERS[name]
    assert form_problems(form) == []

    problems = soon(lambda: form_misfits(form, answer, "data"))

    text = "\n".join(map(str, problems))
    assert bool(problems) is (words is not FITS), text[:1_000]
    assert words in text
    assert len(text) < 20_000


PARAMS: dict[str, tuple[Json, Any, str]] = {
    "a long list": ({"items": {"type": "integer"}}, [0] * 400_000, FITS),
    "many maps": (
        {"items": {"required": ["a"], "properties": {"a": {"type": "integer"}}}},
        [{"a": 1, "b": "x"}] * 100_000,
        FITS,
    ),
    "too many values": ({"items": {"type": "integer"}}, [0] * 2_000_000, f"params: {LONG}"),
    "one large text": ({"type": "string", "minLength": 1}, "x" * 10_000_000, FITS),
}


@pytest.mark.parametrize("name", PARAMS)
def test_hostile_params_are_soon_checked(name: str) -> None:
    schema, value, words = PARAMS[name]
    definition = JobDefinition(name="x", params={"properties": {"value": schema}}, steps={})

    problems = soon(lambda: validate_params(definition, {"value": value}), PARAMS_SECONDS_MAX)

    assert bool(problems) is (words is not FITS)
    assert words in "\n".join(map(str, problems))


def test_a_signal_that_many_may_wait_for_is_soon_checked() -> None:
    many = [{"items": {"type": "string", "maxLength": n}} for n in range(1_000)]

    problems = soon(lambda: misfits_of_all(many, [""] * 50_000 + [1], "data"))

    assert [str(problem) for problem in problems] == ["data[50000]: 1 is not of type 'string'"]
    assert misfits_of_all([*many, {"type": "array"}], ["x" * 2_000], "data") == []
    assert misfits_of_all([*many, None], 3, "data") == []


def test_a_form_that_was_accepted_once_and_cannot_be_matched_is_told_of() -> None:
    for form in ({"pattern": "(?=a)"}, {"$ref": "#/$defs/a"}, itself(lambda part: part)):
        (problem,) = form_misfits(form, "a", "data")
        assert str(problem).startswith("the schema cannot be applied")
