"""Expressions in CEL, compiled: single ones, and templates of JSON that hold some.

A scope maps `params`, `steps`, `job`, and in fan-outs `item` and `index` to their values. `steps`
and each step may be mappings that fetch values on demand; only what is read is looked up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from warrener.domain.errors import ExpressionError
from warrener.domain.expression_engine import compiled
from warrener.domain.expression_scope import kind, pruned, shortest, size, why_missing, why_not_json
from warrener.domain.expression_text import (
    OPEN,
    TEXT_LENGTH_MAX,
    Chain,
    ExpressionSyntaxError,
    check_nesting,
    end_of,
    normalised,
    read,
)
from warrener.domain.payloads import DEPTH_MAX

__all__ = [
    "Expression",
    "ExpressionSyntaxError",
    "Template",
    "compile_expression",
    "compile_template",
    "is_expression",
    "normalise_template",
]

WORK_MAX = 10_000_000  # values that nested loops of one expression may visit
_COMPILED_MAX = 20_000
_SHOWN_MAX = 200


class Expression:
    """One compiled expression.

    `text` is its normalised text, `steps` the names of the steps it reads, `fields` those with
    what is read of them (`("load", "result")`), `variables` the variables it reads.
    """

    __slots__ = ("_chains", "_loops", "_path", "_program", "fields", "steps", "text", "variables")

    def __init__(self, text: str) -> None:
        self.text = text
        self._program = _compiled(text)
        reading = read(text)
        self._path: Chain | None = reading.path
        self._chains = shortest(reading.chains)
        self._loops = (
            reading.looped and shortest(reading.chains - reading.looped),
            reading.looped and shortest(reading.looped),
        )
        self.variables = frozenset(chain[0] for chain in reading.chains)
        self.fields = frozenset(chain[1:3] for chain in reading.chains if chain[0] == "steps")
        self.steps = frozenset(name for name, _ in self.fields)

    def __repr__(self) -> str:
        return f"<expression {self.text!r}>"

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """Return the value, which is JSON; raises `ExpressionError`."""
        path = self._path
        if path is None:
            return self._execute(scope)
        value: Any = scope
        try:
            for key in path:
                value = value[key]
        except (KeyError, TypeError):
            reason = why_missing(scope, path)
            if reason is None:
                raise
            raise self._error(reason) from None
        return value

    def _execute(self, scope: Mapping[str, Any]) -> Any:
        context = pruned(scope, self._chains)
        if self._loops[1]:
            self._check_work(scope)
        try:
            value = self._program.execute(context)
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise self._error(self._reason(error, scope)) from None
        reason = why_not_json(value)
        if reason is not None:
            raise self._error(reason)
        return value

    def _check_work(self, scope: Mapping[str, Any]) -> None:
        """Refuse loops in loops over large values, which would hold up every other job."""
        outer, inner = ([pruned(scope, [chain]) for chain in chains] for chains in self._loops)
        work = max(sum(map(size, outer)), 1)
        for value in inner:
            work *= max(size(value) - 1, 1)
        if work > WORK_MAX:
            raise self._error(f"loops in loops would visit {work} values: use an endpoint for it")

    def _reason(self, error: BaseException, scope: Mapping[str, Any]) -> str:
        """Say in the words of the definition what CEL refused."""
        missing = [reason for chain in self._chains if (reason := why_missing(scope, chain))]
        if missing and isinstance(error, KeyError | TypeError | RuntimeError):
            return missing[0]
        if isinstance(error, KeyError):
            return f"there is no key {error.args[0]!r}"
        text = str(error).split("\n", 1)[0]
        if text.startswith("Undefined variable or function"):
            text = f"{text.split(': ', 1)[1].split('.')[0]} does not take such values"
        elif text.startswith("No such overload"):
            text = "an operation does not take such values; types are never converted on their own"
        values = (f"{'.'.join(chain)} is {kind(_get(scope, chain))}" for chain in self._chains[:5])
        return "; ".join([text, *values])

    def _error(self, reason: str) -> ExpressionError:
        shown = self.text if len(self.text) <= _SHOWN_MAX else self.text[:_SHOWN_MAX] + "..."
        return ExpressionError(f"${{{{ {shown} }}}}: {reason}")


def _get(scope: Mapping[str, Any], chain: Chain) -> Any:
    value: Any = scope
    for key in chain:
        value = value[key]
    return value


def _compiled(text: str) -> Any:
    check_nesting(text)
    try:
        return compiled(text)
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ExpressionSyntaxError(_syntax(str(error))) from None


def _syntax(message: str) -> str:
    """Turn the parser's message into one line with the column."""
    _, found, rest = message.partition("ERROR: <input>:")
    if not found:
        return f"syntax error: {message.splitlines()[0][:_SHOWN_MAX]}"
    line = rest.splitlines()[0]
    _, column, reason = line.split(":", 2)
    reason = reason.strip().removeprefix("Syntax error: ")
    if "expecting" in reason:
        reason = reason.split(" expecting")[0]
    reason = reason.replace("'<EOF>'", "the end of the expression")
    return f"syntax error at column {column} of the expression: {reason[:_SHOWN_MAX]}"


@lru_cache(_COMPILED_MAX)
def compile_expression(text: str) -> Expression:
    """Compile an expression given with or without `${{ }}` around it.

    Raises `ExpressionSyntaxError`.
    """
    inner = text.strip()
    if inner.startswith(OPEN):
        end = end_of(inner, len(OPEN))
        if end != len(inner) - 2:
            raise ExpressionSyntaxError(
                "this must be one expression and nothing else", "write ${{ ... }} around all of it"
            )
        inner = inner[len(OPEN) : -2]
    if len(inner) > TEXT_LENGTH_MAX:
        raise ExpressionSyntaxError(
            f"an expression of {len(inner)} characters is over the limit of {TEXT_LENGTH_MAX}",
            "compute this in an endpoint",
        )
    if not inner.strip():
        raise ExpressionSyntaxError("the expression is empty")
    return Expression(normalised(inner))


class _Text:
    """A string with expressions in it."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[str | Expression, ...]) -> None:
        self.parts = parts

    def render(self, scope: Mapping[str, Any]) -> str:
        return "".join(
            part if isinstance(part, str) else _as_text(part.evaluate(scope)) for part in self.parts
        )


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Template:
    """A JSON value whose strings may hold expressions, compiled.

    `steps`, `fields` and `variables` are those of all its expressions together; `constant` says
    that there are none.
    """

    __slots__ = ("_root", "constant", "fields", "steps", "variables")

    def __init__(self, value: Any) -> None:
        expressions: list[Expression] = []
        self._root = _compile(value, expressions, DEPTH_MAX)
        self.constant = not expressions
        self.fields = frozenset(field for found in expressions for field in found.fields)
        self.steps = frozenset(name for found in expressions for name in found.steps)
        self.variables = frozenset(name for found in expressions for name in found.variables)

    def render(self, scope: Mapping[str, Any]) -> Any:
        """Return the JSON value with every expression evaluated; raises `ExpressionError`.

        A string that is one expression gives its typed value; in a longer string, text stands as
        it is and any other value as its JSON.
        """
        return self._root if self.constant else _render(self._root, scope)


def _render(node: Any, scope: Mapping[str, Any]) -> Any:
    if isinstance(node, Expression):
        return node.evaluate(scope)
    if isinstance(node, dict):
        return {key: _render(item, scope) for key, item in node.items()}
    if isinstance(node, list):
        return [_render(item, scope) for item in node]
    return node.render(scope) if isinstance(node, _Text) else node


def _compile(value: Any, expressions: list[Expression], depth_left: int) -> Any:
    if isinstance(value, str):
        found = _compile_text(value) if OPEN in value else value
        if isinstance(found, Expression):
            expressions.append(found)
        elif isinstance(found, _Text):
            expressions.extend(part for part in found.parts if isinstance(part, Expression))
        return found
    if not isinstance(value, dict | list | tuple):
        return value
    if depth_left == 0:
        raise ExpressionSyntaxError(f"nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, dict):
        return {key: _compile(item, expressions, depth_left - 1) for key, item in value.items()}
    return [_compile(item, expressions, depth_left - 1) for item in value]


@lru_cache(_COMPILED_MAX)
def _compile_text(text: str) -> str | Expression | _Text:
    parts = split(text)
    compiled = tuple(compile_expression(part) if code else part for code, part in parts)
    if len(compiled) == 1:
        return compiled[0]
    if all(isinstance(part, str) for part in compiled):
        return "".join(part for part in compiled if isinstance(part, str))
    return _Text(compiled)


def split(text: str) -> list[tuple[bool, str]]:
    """Split a string into text and code: `(is it an expression, its text)`.

    `$${{` stands for a literal `${{`.
    """
    parts: list[tuple[bool, str]] = []
    at = 0
    while (start := text.find(OPEN, at)) >= 0:
        if start > at and text[start - 1] == "$":
            parts.append((False, text[at : start - 1] + OPEN))
            at = start + len(OPEN)
            continue
        end = end_of(text, start + len(OPEN))
        if end < 0:
            raise ExpressionSyntaxError("${{ without }}", "write $${{ for the three signs as text")
        if start > at:
            parts.append((False, text[at:start]))
        parts.append((True, text[start + len(OPEN) : end]))
        at = end + 2
    if at < len(text) or not parts:
        parts.append((False, text[at:]))
    return parts


def is_expression(text: str) -> bool:
    """Say whether a string is one expression and nothing else, so that its value keeps its type."""
    return [code for code, _ in split(text)] == [True]


def compile_template(value: Any) -> Template:
    """Compile a JSON value whose strings may hold expressions; raises `ExpressionSyntaxError`."""
    return Template(value)


def normalise_template(value: Any) -> Any:
    """Return a template with the white space of its expressions normalised."""
    if isinstance(value, str):
        return _normalise_text(value) if OPEN in value else value
    if isinstance(value, dict):
        return {key: normalise_template(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [normalise_template(item) for item in value]
    return value


def _normalise_text(text: str) -> str:
    return "".join(
        f"${{{{ {normalised(part)} }}}}" if code else part.replace(OPEN, f"${OPEN}")
        for code, part in split(text)
    )
