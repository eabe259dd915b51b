"""Matching schemas: what fits, and the words about what does not, are those of jsonschema."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warrener.domain.definition.check_params import form_misfits, form_problems
from warrener.domain.definition.schema_match import Match, Schema, Steps

LEAVES = st.sampled_from([None, True, False, 0, 1, -1, 2, 1.0, 0.5, 1e300, "", "a", "b", "ab", "1"])
NAMES = st.sampled_from(["a", "b", "ab", ""])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from(["array", "boolean", "integer", "null", "number", "object", "string"])
PATTERNS = st.sampled_from(["a", "^b", "a$", "^[ab]{2}$", "(a|b)+", ""])
COUNTS = st.integers(0, 3)
NUMBERS = st.sampled_from([-1, 0, 1, 0.5, 2, 1e300])
PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
    "enum": st.lists(VALUES, max_size=4),
    "const": VALUES,
    "multipleOf": st.sampled_from([1, 2, 0.5, 0.25, 1e-300]),
    "required": st.lists(NAMES, max_size=3, unique=True),
    "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True)),
    "pattern": PATTERNS,
    "uniqueItems": st.booleans(),
    "format": st.sampled_from(["date", "regex"]),
    **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"], NUMBERS),
    **dict.fromkeys(["minLength", "maxLength", "minItems", "maxItems"], COUNTS),
    **dict.fromkeys(["minProperties", "maxProperties", "minContains", "maxContains"], COUNTS),
}


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    one = ["items", "contains", "additionalProperties", "propertyNames", "not"]
    parts = {
        **PLAIN,
        **dict.fromkeys([*one, "if", "then", "else", "unevaluatedItems"], inner),
        "unevaluatedProperties": inner,
        **dict.fromkeys(["allOf", "anyOf", "oneOf", "prefixItems"], some),
        **dict.fromkeys(["properties", "dependentSchemas"], st.dictionaries(NAMES, inner)),
        "patternProperties": st.dictionaries(PATTERNS, inner, max_size=2),
        "$ref": st.sampled_from(["#/$defs/leaf", "#/$defs/tree"]),
    }
    keywords = st.lists(st.sampled_from(sorted(parts)), min_size=1, max_size=4, unique=True)
    return keywords.flatmap(lambda names: st.fixed_dictionaries({n: parts[n] for n in names}))


SCHEMAS = st.recursive(st.booleans() | st.just({}), schemas, max_leaves=6)
DEFS = {"leaf": {"type": ["integer", "string"]}, "tree": {"items": {"$ref": "#/$defs/tree"}}}


def told(schema: Any, value: Any) -> list[tuple[list[Any], str]]:
    match = Match(Schema(schema), Steps(100_000))
    return [(each.path, each.words()) for each in match.misfits(schema, value)]


def in_order(misfits: list[tuple[list[Any], str]]) -> list[tuple[str, str]]:
    """Return what does not fit; jsonschema does not know where a schema is that is just false."""
    false = "False schema"
    return sorted((str(path) if false not in words else "", words) for path, words in misfits)


@given(SCHEMAS, VALUES)
@settings(max_examples=200)
def test_what_fits_and_what_is_told_is_what_jsonschema_says(part: Any, value: Any) -> None:
    schema = {"allOf": [part], "$defs": DEFS}
    assert form_problems(schema) == []
    errors = jsonschema.Draft202012Validator(schema).iter_errors(value)

    ours = told(schema, value)

    theirs = [(list(error.absolute_path), error.message) for error in errors]
    assert bool(ours) == bool(theirs)
    if "unevaluated" not in str(schema) and not any(len(words) > 120 for _, words in theirs):
        assert in_order(ours) == in_order(theirs)


KEYWORDS = st.sampled_from(
    [
        *("type", "enum", "const", "multipleOf", "minimum", "maxLength", "minItems", "maxContains"),
        *("required", "dependentRequired", "pattern", "uniqueItems", "format", "title", "examples"),
        *("items", "contains", "additionalProperties", "propertyNames", "not", "if", "default"),
        *("allOf", "anyOf", "oneOf", "prefixItems", "properties", "dependentSchemas", "$defs"),
        *(
            "patternProperties",
            "unevaluatedItems",
            "$comment",
            "readOnly",
            "x-own",
            "contentSchema",
        ),
    ]
)
ODD = st.recursive(
    VALUES | TYPES | st.lists(NAMES),
    lambda inner: st.dictionaries(KEYWORDS | NAMES, inner, max_size=3) | st.lists(inner),
    max_leaves=6,
)


@given(st.dictionaries(KEYWORDS, ODD, min_size=1, max_size=3), VALUES)
@settings(max_examples=200)
def test_what_is_a_schema_is_what_jsonschema_says(schema: dict[str, Any], value: Any) -> None:
    metaschema = jsonschema.Draft202012Validator(jsonschema.Draft202012Validator.META_SCHEMA)

    problems = form_problems(schema)

    assert bool(problems) is not metaschema.is_valid(schema), problems
    if not problems:
        form_misfits(schema, value, "data")  # raises nothing


CASES = [
    ({"required": ["a", "b"]}, {}, ["data: missing: a, b"]),
    ({"required": ["token"]}, {"tokn": 1}, ["data: missing: token (given was tokn)"]),
    ({"allOf": [{"required": ["a"]}]}, {}, ["data: missing: a"]),
    (
        {"properties": {"a": {"required": ["b", "c"]}}},
        {"a": {}},
        ["data.a: 'b' is a required property", "data.a: 'c' is a required property"],
    ),
    (
        {"properties": {"token": {}}, "additionalProperties": False},
        {"tokn": 1},
        ["data: unknown: tokn (did you mean token?)"],
    ),
    (
        {"patternProperties": {"^x": {}}, "additionalProperties": False},
        {"x1": 1, "y": 1},
        ["data: unknown: y"],
    ),
    ({"items": {"type": "integer"}}, [1, "x"], ["data[1]: 'x' is not of type 'integer'"]),
    ({"pattern": "^a$"}, "a\n", [r"data: 'a\n' does not match '^a$'"]),
    ({"uniqueItems": True}, [[1], [1.0]], ["data: [[1], [1.0]] has non-unique elements"]),
    ({"uniqueItems": True}, [1, True, "1", [1], [True], None, 0, False], []),
    ({"enum": [1, [True]]}, True, ["data: True is not one of [1, [True]]"]),
    ({"const": {"a": 1}}, {"a": 1.0}, []),
    (
        {"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False},
        {"a": 1, "b": 2},
        ["data: Unevaluated properties are not allowed ('b' was unexpected)"],
    ),
    ({"maxLength": 3}, "x" * 200, [f"data: '{'x' * 119}... is too long"]),
]


@pytest.mark.parametrize(("schema", "value", "words"), CASES)
def test_a_misfit_is_told_with_its_place_and_a_hint(
    schema: Any, value: Any, words: list[str]
) -> None:
    assert [str(problem) for problem in form_misfits(schema, value, "data")] == words
