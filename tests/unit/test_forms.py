"""Forms of requests for help: what fits them, and how a person is asked field by field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from warrener.domain.errors import ParameterError, UsageError
from warrener.services.cli.forms import TRIES_MAX, check_fits, fields_text, fill_in

RECONNECT: dict[str, Any] = {
    "type": "object",
    "required": ["token"],
    "properties": {
        "token": {"type": "string", "minLength": 3, "description": "From the settings page"},
        "days": {"enum": [1, 7, 30], "default": 7},
        "renew": {"type": "boolean"},
        "note": {"type": ["string", "null"]},
        "limits": {"type": "array", "items": {"type": "integer"}},
    },
}


class Person:
    """Answers one line after the other, and remembers what was asked and said."""

    def __init__(self, *lines: str) -> None:
        self._lines: Iterator[str] = iter(lines)
        self.asked: list[str] = []
        self.secrets: list[str] = []
        self.heard: list[str] = []

    def ask(self, prompt: str, secret: bool) -> str:
        (self.secrets if secret else self.asked).append(prompt)
        return next(self._lines)

    def fill_in(self, form: dict[str, Any]) -> Any:
        return fill_in(form, self.ask, self.heard.append)


def test_every_field_is_asked_for_with_its_type_choices_default_and_description() -> None:
    person = Person("t-1", "30", "y", "", "")

    answer = person.fill_in(RECONNECT)

    assert answer == {"token": "t-1", "days": 30, "renew": True}
    assert person.asked == [
        "token (text): ",
        "days (1|7|30) [7]: ",
        "renew (y/n) (may be left out): ",
        "note (null or text) (may be left out): ",
        "limits (array) (may be left out): ",
    ]
    assert person.heard == ["From the settings page", "  1  1", "  2  7", "  3  30"]


def test_an_empty_line_takes_the_default() -> None:
    assert Person("t-1", "", "", "", "").fill_in(RECONNECT) == {"token": "t-1", "days": 7}


def test_what_does_not_fit_is_told_and_asked_for_again() -> None:
    person = Person("", "ab", "abc", "8", "30", "perhaps", "no", "", "[1, x]", "[true]", "[1, 2]")

    answer = person.fill_in(RECONNECT)

    assert answer == {"token": "abc", "days": 30, "renew": False, "limits": [1, 2]}
    assert [prompt.partition(" ")[0] for prompt in person.asked] == [
        *("token", "token", "token", "days", "days", "renew", "renew", "note"),
        *("limits", "limits", "limits"),
    ]
    assert "token: an answer is needed" in person.heard
    assert "days: say one of the choices, or its number" in person.heard
    assert "renew: say y or n" in person.heard
    assert any("limits: not JSON" in said for said in person.heard)


@pytest.mark.parametrize(
    ("field", "line", "value"),
    [
        ({"type": "string"}, "12", "12"),
        ({"type": "integer"}, "12", 12),
        ({"type": "number"}, "1.5", 1.5),
        ({"type": "boolean"}, "No", False),
        ({"type": ["boolean", "null"]}, "null", None),
        ({"type": ["string", "null"]}, "", None),
        ({"type": ["integer", "string"]}, "12", 12),
        ({"type": ["integer", "string"]}, "twelve", "twelve"),
        ({}, '{"a": [1]}', {"a": [1]}),
        ({}, "plain words", "plain words"),
        ({"enum": ["red", "green"]}, "green", "green"),
        ({"enum": ["red", "green"]}, "2", "green"),
        ({"enum": [2, 1]}, "2", 2),
        ({"enum": [None, True]}, "true", True),
        ({"type": "object"}, '{"a": 1}', {"a": 1}),
    ],
)
def test_a_line_is_read_by_the_type_of_its_field(
    field: dict[str, Any], line: str, value: Any
) -> None:
    assert Person(line).fill_in({"properties": {"x": field}, "required": ["x"]}) == {"x": value}
    assert Person(line).fill_in(field) == value


def test_what_is_no_number_is_told_so() -> None:
    person = Person("seven", "7.5", "7")

    assert person.fill_in({"type": "integer"}) == 7
    assert person.heard[0] == "answer: write a whole number"


def test_secrets_are_asked_for_without_showing_them() -> None:
    form = {
        "properties": {
            "password": {"type": "string", "format": "password"},
            "token": {"type": "string", "writeOnly": True},
        }
    }
    person = Person("p", "t")

    assert person.fill_in(form) == {"password": "p", "token": "t"}
    assert len(person.secrets) == 2


def test_what_only_the_whole_form_refuses_begins_anew() -> None:
    form = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "minProperties": 1,
    }
    person = Person("", "", "1", "")

    assert person.fill_in(form) == {"a": 1}
    assert len(person.heard) == 1


def test_asking_has_an_end() -> None:
    with pytest.raises(UsageError, match=f"no value fitted in {TRIES_MAX} tries"):
        Person(*["x"] * 100).fill_in({"type": "integer"})
    with pytest.raises(UsageError, match=f"no answer fitted the form in {TRIES_MAX} tries"):
        Person(*[""] * 100).fill_in({"properties": {"a": {}}, "minProperties": 1})


def test_hostile_text_of_a_form_does_not_steer_the_terminal() -> None:
    field = {"title": "x\x1b[2J", "description": "d\x1b[2J", "enum": ["a\x1b[2J"]}
    person = Person("1")

    person.fill_in({"properties": {"x": field}})

    assert "\x1b" not in "".join([*person.asked, *person.heard])


@pytest.mark.parametrize(
    "form", [{}, {"properties": {"x": True}}, {"enum": []}, {"title": 5}, {"properties": {}}]
)
def test_an_odd_form_is_asked_for_all_the_same(form: dict[str, Any]) -> None:
    if "enum" not in form:  # nothing fits that one
        assert Person("1").fill_in(form) in (1, {"x": 1})
    assert fields_text(form)


def test_a_field_may_refer_to_another_part_of_its_form() -> None:
    form = {
        "$defs": {"colour": {"enum": ["red", "green"]}, "alias": {"$ref": "#/$defs/colour"}},
        "properties": {
            "front": {"$ref": "#/$defs/alias"},
            "sizes": {"type": "array", "items": {"$ref": "#/$defs/colour"}},
        },
        "required": ["front", "sizes"],
    }
    person = Person("blue", "2", '["blue"]', '["red"]')

    assert person.fill_in(form) == {"front": "green", "sizes": ["red"]}
    assert person.asked[0] == "front (red|green): "


def test_a_given_answer_is_held_against_the_form() -> None:
    check_fits(RECONNECT, {"token": "t-1"})
    check_fits(None, ["whatever"])

    with pytest.raises(ParameterError, match="data: missing: token"):
        check_fits(RECONNECT, {})
    with pytest.raises(ParameterError, match=r"data.limits\[1\]: 'x' is not of type 'integer'"):
        check_fits(RECONNECT, {"token": "abc", "limits": [1, "x"]})
    with pytest.raises(ParameterError, match="is not of type 'object'"):
        check_fits(RECONNECT, 1)


def test_the_fields_of_a_form_are_told_in_one_line() -> None:
    assert fields_text(RECONNECT) == (
        "token (text), days (1|7|30, default 7), renew (y/n, may be left out),"
        " note (null or text, may be left out), limits (array, may be left out)"
    )
    assert fields_text({"type": "integer"}) == "a JSON value, whole number"
