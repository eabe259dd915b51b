"""Takes secrets out of definitions and schemas: out of constants, never out of expressions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from warrener.domain.expression_text import OPEN, end_of
from warrener.services.histories.values import Path, Values

_CONSTANTS: Final = frozenset({"default", "const", "enum", "example", "examples"})
_PROPERTIES: Final = frozenset({"properties", "patternProperties"})


def without_secrets(text: str, values: Values) -> str:
    """Return the text of a definition without secrets; the same text if there are none."""
    before = values.counts.total()
    found = msgspec.json.decode(text)
    for name, step in found.get("steps", {}).items():
        for field in ("with", "set"):
            if field in step:
                step[field] = template(step[field], values, (name, field))
        if isinstance(step.get("for_each"), dict | list):
            step["for_each"] = template(step["for_each"], values, (name, "for_each"))
        if "form" in (step.get("wait") or {}):
            step["wait"]["form"] = schema(step["wait"]["form"], values)
    if found.get("params") is not None:
        found["params"] = schema(found["params"], values)
    if "result" in found:
        found["result"] = template(found["result"], values, ("result",))
    if values.counts.total() == before:
        return text
    return msgspec.json.encode(found, order="sorted").decode()


def template(value: Any, values: Values, path: Path) -> Any:
    """Return a value of a definition; of a text with expressions in it they stay."""

    def leaf(text: str, rule: str | None) -> str:
        if OPEN not in text:
            return values.leaf(text, rule)
        pieces = _pieces(text)
        return "".join(
            piece if expression or not piece.strip() else values.leaf(piece, rule)
            for piece, expression in pieces
        )

    return values.json(value, path, leaf=leaf)


def schema(value: Any, values: Values, rule: str | None = None) -> Any:
    """Return a JSON Schema; `rule` says that the value it describes is a secret."""
    if isinstance(value, list):
        return [schema(inner, values, rule) for inner in value]
    if isinstance(value, str):
        return values.text(value)
    if not isinstance(value, dict):
        return value
    found = {}
    for key, inner in value.items():
        if key in _CONSTANTS:
            found[key] = values.json(inner, (key,), rule)
        elif key in _PROPERTIES and isinstance(inner, dict):
            found[key] = {
                name: schema(below, values, rule or values.rule(name, ()))
                for name, below in inner.items()
            }
        elif key in ("required", "pattern", "$ref", "type"):
            found[key] = inner
        elif not isinstance(inner, dict) and values.rule(key, ()):
            found[key] = values.json(inner, (), values.rule(key, ()))  # no word of a schema
        else:
            found[key] = schema(inner, values, rule)
    return found


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a text, and whether each is an expression."""
    at = 0
    while (start := text.find(OPEN, at)) >= 0:
        end = end_of(text, start + len(OPEN))
        if end < 0:
            break
        yield text[at:start], False
        yield text[start : end + 2], True
        at = end + 2
    yield text[at:], False
