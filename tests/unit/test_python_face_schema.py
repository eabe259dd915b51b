"""The schema of a job's parameters, as its annotations give it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pytest

from warrener import DefinitionError, job
from warrener.domain.definition.python_schema import type_schema


@dataclass
class Page:
    """A page."""

    url: str
    size: int | None = None


class Tree(msgspec.Struct):
    children: list[Tree] = []


def test_the_schema_is_the_one_of_the_definitions_page():
    @job("social-report")
    def social_report(account: str, twitter: str | None): ...

    assert social_report.definition.params == {
        "type": "object",
        "required": ["account", "twitter"],
        "properties": {"account": {"type": "string"}, "twitter": {"type": ["string", "null"]}},
    }


def test_a_parameter_with_a_default_is_not_required():
    @job("defaults")
    def defaults(a: int, b: list[int] = [1], *, c: str | None = None): ...  # noqa: B006

    schema = defaults.definition.params

    assert schema["required"] == ["a"]
    assert schema["properties"]["b"] == {
        "type": "array",
        "items": {"type": "integer"},
        "default": [1],
    }
    assert schema["properties"]["c"] == {"type": ["string", "null"], "default": None}


def test_a_job_without_parameters_has_no_schema():
    @job("nothing")
    def nothing(): ...

    assert nothing.definition.params is None


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Any, {}),
        (int | str | None, {"type": ["integer", "string", "null"]}),
        (list[str | None], {"type": "array", "items": {"type": ["string", "null"]}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (Literal["a", "b"], {"enum": ["a", "b"]}),
        (Annotated[int, msgspec.Meta(ge=3)], {"type": "integer", "minimum": 3}),
        (
            list[Page],
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "url": {"type": "string"},
                        "size": {"type": ["integer", "null"], "default": None},
                    },
                    "required": ["url"],
                },
            },
        ),
    ],
)
def test_a_type_has_the_schema_that_a_person_would_write(hint, schema):
    assert type_schema(hint, "x") == schema


def test_an_unannotated_parameter_takes_anything():
    @job("free")
    def free(x): ...

    assert free.definition.params["properties"] == {"x": {}}


def test_a_type_that_contains_itself_is_refused():
    with pytest.raises(DefinitionError, match="Tree contains itself"):
        type_schema(Tree, "parameter x")


def test_a_type_without_schema_is_refused():
    with pytest.raises(DefinitionError, match="parameter x"):
        type_schema(complex, "parameter x")
