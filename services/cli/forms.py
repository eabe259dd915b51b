"""Forms: the answer to a request for help, asked for field by field on a terminal."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from warrener.domain.definition.check_params import form_misfits
from warrener.domain.errors import ParameterError, PayloadError, Problem, UsageError
from warrener.domain.payloads import decode_json
from warrener.services.cli.output import clean, one_line

TRIES_MAX: Final = 10
CHOICES_SHOWN_MAX: Final = 50
REFERENCES_MAX: Final = 10
_YES: Final = {"y": True, "yes": True, "true": True, "n": False, "no": False, "false": False}

Ask = Callable[[str, bool], str]  # a prompt, and whether the answer is a secret, to a line


def ask_on_terminal(prompt: str, secret: bool) -> str:
    """Ask on the terminal; raises `UsageError` when nobody will say any more."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    try:
        return getpass.getpass("") if secret else input()
    except EOFError:
        raise UsageError("no answer was given") from None


def fill_in(form: Mapping[str, Any], ask: Ask, say: Callable[[str], None]) -> Any:
    """Return an answer that fits a form, asked for with `ask`; `say` tells what does not fit."""
    for _ in range(TRIES_MAX):
        answer = _answer(form, ask, say)
        problems = form_misfits(form, answer, "answer")
        if not problems:
            return answer
        for problem in problems:
            say(str(problem))
    raise UsageError(f"no answer fitted the form in {TRIES_MAX} tries")


def check_fits(form: Mapping[str, Any] | None, answer: Any) -> None:
    """Raise `ParameterError` if an answer does not fit its form."""
    problems = form_misfits(form, answer, "data")
    if problems:
        raise ParameterError("\n".join(str(problem) for problem in problems))


def fields_text(form: Mapping[str, Any]) -> str:
    """Return the fields of a form in one line, such as `token (text), days (1|7, default 7)`."""
    properties = _properties(form)
    if not properties:
        return f"a JSON value, {_kind(form)}"
    parts = []
    for name, field in properties.items():
        notes = [_kind(field)]
        if "default" in field:
            notes.append(f"default {_json(field['default'])}")
        elif name not in _required(form):
            notes.append("may be left out")
        parts.append(f"{clean(name)} ({', '.join(notes)})")
    return ", ".join(parts)


def _answer(form: Mapping[str, Any], ask: Ask, say: Callable[[str], None]) -> Any:
    properties = _properties(form)
    if not properties:
        return _value("answer", form, (ask, say), lambda value: form_misfits(form, value, "answer"))
    answer = {}
    for name, field in properties.items():
        check = partial(_field_misfits, form, name)
        optional = name not in _required(form)
        value = _value(name, field, (ask, say), check, optional=optional)
        if value is not msgspec.UNSET:
            answer[name] = value
    return answer


def _field_misfits(form: Mapping[str, Any], name: str, value: Any) -> list[Problem]:
    """Return how one field does not fit; it may refer to other parts of the form."""
    place = f"answer.{name}"
    found = form_misfits({**form, "required": []}, {name: value}, "answer")
    return [problem for problem in found if problem.path.startswith(place)]


def _value(
    name: str,
    field: Mapping[str, Any],
    person: tuple[Ask, Callable[[str], None]],
    check: Callable[[Any], list[Problem]],
    *,
    optional: bool = False,
) -> Any:
    """Return the value of one field, UNSET if it is left out."""
    ask, say = person
    _explain(field, say)
    default = f" [{_json(field['default'])}]" if "default" in field else ""
    note = " (may be left out)" if optional and not default else ""
    prompt = f"{one_line(field.get('title') or name)} ({_kind(field)}){note}{default}: "
    secret = field.get("format") == "password" or field.get("writeOnly") is True
    for _ in range(TRIES_MAX):
        text = ask(prompt, secret).strip()
        if not text and "default" in field:
            return field["default"]
        if not text and optional:
            return msgspec.UNSET
        if not text and "null" not in _kinds(field):
            say(f"{name}: an answer is needed")
            continue
        try:
            value = _read(field, text)
        except (PayloadError, ValueError) as error:
            say(f"{name}: {error}")
            continue
        problems = check(value)
        if not problems:
            return value
        say("; ".join(problem.message for problem in problems))
    raise UsageError(f"{name}: no value fitted in {TRIES_MAX} tries")


def _explain(field: Mapping[str, Any], say: Callable[[str], None]) -> None:
    if field.get("description"):
        say(one_line(field["description"]))
    for number, choice in enumerate(_choices(field)[:CHOICES_SHOWN_MAX], 1):
        say(f"  {number}  {_json(choice)}")


def _read(field: Mapping[str, Any], text: str) -> Any:
    """Return the value that a line stands for, by the types that the field allows."""
    if _choices(field):
        return _choice(_choices(field), text)
    kinds = _kinds(field)
    if not text and "null" in kinds:
        return None
    if "boolean" in kinds and text.lower() in _YES:
        return _YES[text.lower()]
    if kinds == {"boolean"}:
        raise ValueError("say y or n")
    if "string" in kinds and kinds <= {"string", "null"}:
        return text
    try:
        return decode_json(text)
    except PayloadError:
        if "string" in kinds or not kinds:
            return text
        if kinds <= {"integer", "number", "null"}:
            raise ValueError(f"write a {_kind(field)}") from None
        raise


def _choices(field: Mapping[str, Any]) -> list[Any]:
    found = field.get("enum")
    return found if isinstance(found, list) else []


def _choice(choices: list[Any], text: str) -> Any:
    """Return the choice that a line names, by its value or by its number in the list."""
    named = [choice for choice in choices if text in (choice, _json(choice))]
    if named:
        return named[0]
    if text.isdecimal() and len(text) < 10 and 1 <= int(text) <= len(choices):
        return choices[int(text) - 1]
    raise ValueError("say one of the choices, or its number")


def _properties(form: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found = form.get("properties")
    if not isinstance(found, dict):
        return {}
    return {name: _resolved(form, field) for name, field in found.items()}


def _resolved(form: Mapping[str, Any], field: Any) -> dict[str, Any]:
    """Return what a field says of itself, or the part of the form that it refers to."""
    for _ in range(REFERENCES_MAX):
        if not isinstance(field, dict) or not isinstance(field.get("$ref"), str):
            break
        part: Any = form
        for key in field["$ref"].removeprefix("#/").split("/"):
            name = key.replace("~1", "/").replace("~0", "~")
            part = part.get(name) if isinstance(part, dict) else None
        field = part
    return field if isinstance(field, dict) else {}


def _required(form: Mapping[str, Any]) -> list[Any]:
    found = form.get("required")
    return found if isinstance(found, list) else []


def _kinds(field: Mapping[str, Any]) -> set[str]:
    kinds = field.get("type")
    listed = kinds if isinstance(kinds, list) else [kinds]
    return {kind for kind in listed if isinstance(kind, str)}


def _kind(field: Mapping[str, Any]) -> str:
    if _choices(field):
        return one_line("|".join(map(_json, _choices(field))), 80)
    names = {"string": "text", "integer": "whole number", "boolean": "y/n"}
    return " or ".join(names.get(kind, kind) for kind in sorted(_kinds(field))) or "JSON"


def _json(value: Any) -> str:
    return clean(value) if isinstance(value, str) else clean(msgspec.json.encode(value).decode())
