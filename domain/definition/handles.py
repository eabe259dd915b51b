"""Handles: what stands for a value while a job is traced. They only collect expression text.

A handle's text names steps by marks (`steps.<mark>.result`), which `tracing` replaces by the
final names when the trace ends, because a step may be named after it was used.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import msgspec

from warrener.domain.errors import DefinitionError, Problem
from warrener.domain.payloads import INTEGER_MAX, INTEGER_MIN

OR, AND, RELATION, SUM, PRODUCT, UNARY, MEMBER = range(1, 8)  # how tightly CEL's operators bind

_OWN_MODULES = frozenset(
    f"warrener.{name}"
    for name in (
        "domain.definition.handles",
        "domain.definition.step_handle",
        "domain.definition.tracing",
        "domain.definition.python_options",
        "domain.definition.words",
        "domain.definition.python_face",
        "domain.definition.python_schema",
        "services.endpoints",
    )
)
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
_NO_FIELDS = frozenset({"true", "false", "null", "in"})  # words that CEL does not take after a dot


def users_place() -> tuple[str, int | None]:
    """Return file and line of the innermost caller that is not part of the tracing itself."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") in _OWN_MODULES:
        frame = frame.f_back  # type: ignore[assignment]
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("", None)


def refuse(message: str, hint: str = "", path: str = "") -> NoReturn:
    """Raise a `DefinitionError` at the user's line."""
    file, line = users_place()
    raise DefinitionError(
        [Problem(message=message, hint=hint, file=file, line=line, path=path)]
    ) from None


def _refusing(message: str, hint: str) -> Callable[..., Any]:
    """Return a method that refuses."""

    def method(*_: Any, **__: Any) -> NoReturn:
        refuse(message, hint)

    return method


class Handle:
    """A value that will be known when the job runs. Attributes and operators make new handles."""

    __slots__ = ("_rank", "_text")

    def __init__(self, text: str, rank: int = MEMBER) -> None:
        self._text = text
        self._rank = rank

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f'{name}: write handle["{name}"] for a field of this name')
        if not _FIELD.match(name) or name in _NO_FIELDS:
            return self[name]
        return Handle(f"{inner(self, MEMBER)}.{name}")

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            refuse("a slice of a value that is known only at run time cannot be traced")
        return Handle(f"{inner(self, MEMBER)}[{as_handle(key)._text}]")

    def __eq__(self, other: object) -> Any:
        return _binary(self, "==", other, RELATION)

    def __ne__(self, other: object) -> Any:
        return _binary(self, "!=", other, RELATION)

    def __lt__(self, other: Any) -> Any:
        return _binary(self, "<", other, RELATION)

    def __le__(self, other: Any) -> Any:
        return _binary(self, "<=", other, RELATION)

    def __gt__(self, other: Any) -> Any:
        return _binary(self, ">", other, RELATION)

    def __ge__(self, other: Any) -> Any:
        return _binary(self, ">=", other, RELATION)

    def __add__(self, other: Any) -> Any:
        return _binary(self, "+", other, SUM)

    def __radd__(self, other: Any) -> Any:
        return _binary(other, "+", self, SUM)

    def __sub__(self, other: Any) -> Any:
        return _binary(self, "-", other, SUM)

    def __rsub__(self, other: Any) -> Any:
        return _binary(other, "-", self, SUM)

    def __mul__(self, other: Any) -> Any:
        return _binary(self, "*", other, PRODUCT)

    def __rmul__(self, other: Any) -> Any:
        return _binary(other, "*", self, PRODUCT)

    def __truediv__(self, other: Any) -> Any:
        return _binary(self, "/", other, PRODUCT)

    def __rtruediv__(self, other: Any) -> Any:
        return _binary(other, "/", self, PRODUCT)

    def __mod__(self, other: Any) -> Any:
        return _binary(self, "%", other, PRODUCT)

    def __rmod__(self, other: Any) -> Any:
        return _binary(other, "%", self, PRODUCT)

    def __and__(self, other: Any) -> Any:
        return _binary(self, "&&", other, AND)

    def __rand__(self, other: Any) -> Any:
        return _binary(other, "&&", self, AND)

    def __or__(self, other: Any) -> Any:
        return _binary(self, "||", other, OR)

    def __ror__(self, other: Any) -> Any:
        return _binary(other, "||", self, OR)

    def __invert__(self) -> Any:
        return Handle(f"!{inner(self, UNARY)}", UNARY)

    def __neg__(self) -> Any:
        return Handle(f"-{inner(self, UNARY)}", UNARY)

    def __repr__(self) -> str:
        return f"<handle {self._text!r}>"

    # What would need the value now is refused, with the way to say it instead.

    __bool__: Callable[..., bool] = _refusing(
        "the truth of a value that is known only at run time was asked for"
        " (`if`, `and`, `or`, `not`, `while` or a chained comparison)",
        "say it with .when(condition) on the step, or need(step, when=condition) on the edge;"
        " join conditions with & | ~ and put each in parentheses",
    )
    __iter__: Callable[..., Iterator[Any]] = _refusing(
        "a loop over a value that is known only at run time cannot be traced",
        "use each(source, lambda item: call(item)), and name fields one by one",
    )
    __len__: Callable[..., int] = _refusing(
        "the length of a value is known only at run time",
        'write expr("size({})", value) for its size, or each(...) to go through it',
    )
    __contains__: Callable[..., bool] = _refusing(
        "`in` on a value that is known only at run time cannot be traced",
        'write expr("{} in {}", item, value), and .when(...) with it',
    )
    __str__: Callable[..., str] = _refusing(
        "the text of a value is known only at run time (`str()` or an f-string)",
        'join text with +, such as "Hello " + name, or write expr("string({})", value)',
    )
    __format__: Callable[..., str] = __str__
    __int__: Callable[..., int] = _refusing(
        "the number is known only at run time", 'write expr("int({})", value)'
    )
    __index__: Callable[..., int] = __int__
    __float__: Callable[..., float] = _refusing(
        "the number is known only at run time", 'write expr("double({})", value)'
    )
    __call__: Callable[..., Any] = _refusing(
        "a value that is known only at run time cannot be called", "compute with it in an endpoint"
    )
    __hash__: Callable[..., int] = _refusing(
        "a value that is known only at run time cannot be a key or a member of a set",
        "use it as an argument, or inside a list or as a value of a dict",
    )


def text_of(handle: Handle) -> str:
    """Return the expression text of a handle."""
    return handle._text


def inner(handle: Handle, rank: int) -> str:
    """Return the text of an operand, in parentheses where it binds less tightly than `rank`."""
    return handle._text if handle._rank >= rank else f"({handle._text})"


def _binary(left: Any, operator: str, right: Any, rank: int) -> Handle:
    first, second = as_handle(left), as_handle(right)
    return Handle(f"{inner(first, rank)} {operator} {inner(second, rank + 1)}", rank)


def as_handle(value: Any) -> Handle:
    """Return a handle as it is, and any other value as a handle on its CEL literal."""
    if isinstance(value, Handle):
        return value
    negative = isinstance(value, int | float) and value < 0
    return Handle(literal(value), UNARY if negative else MEMBER)


def literal(value: Any) -> str:
    """Write a plain value (or handles inside lists and dicts) as CEL."""
    if isinstance(value, Handle):
        return value._text
    if isinstance(value, list | tuple):
        return f"[{', '.join(literal(item) for item in value)}]"
    if isinstance(value, dict):
        pairs = (f"{_string(_key(key))}: {literal(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}".replace("}}", "} }")
    if isinstance(value, str):
        return _string(value)
    return json.dumps(number(value))


def number(value: Any) -> int | float | bool | None:
    """Return a number, bool or None that JSON and CEL can carry; refuses anything else."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not INTEGER_MIN <= value <= INTEGER_MAX:
            refuse(f"the whole number {value} is beyond 64 bits")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            refuse(f"{value} is not a JSON number")
        return value
    refuse(
        f"a value of type {type(value).__name__} cannot stand in a job",
        "give JSON values: text, numbers, true, false, null, lists and dicts",
    )


def plain(value: Any) -> Any:
    """Turn a dataclass, a struct, a date and the like into JSON values."""
    try:
        return msgspec.to_builtins(value, str_keys=True, order="sorted")
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        refuse(
            f"a value of type {type(value).__name__} cannot stand in a job",
            "give JSON values; hand on results as arguments, or inside lists and dicts",
        )


def _key(key: Any) -> str:
    return key if isinstance(key, str) else refuse(f"the key {key!r} of a dict is not text")


def _string(text: str) -> str:
    """Quote text for CEL; `${{` and `}}` are broken up, as they would end the expression."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        refuse("half a surrogate pair is not text that JSON can carry")
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted.replace("${{", "$\\u007b{").replace("}}", "}\\u007d")
