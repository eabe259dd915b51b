"""Messages for tests: examples of every type of message, right ones and all sorts of wrong ones."""

from __future__ import annotations

import json
import re
import string
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

from warrener.domain import messages
from warrener.domain.topology import results_queue

TYPES: dict[str, type[messages.Message]] = {
    kind.__name__: kind
    for kind in vars(messages).values()
    if isinstance(kind, type)
    and issubclass(kind, messages.Message)
    and not kind.__subclasses__()  # the bases do not travel
}
TIMES = ("2024-02-29T23:59:59Z", "2030-01-01T00:00:00.123456+05:30", "1970-01-01T00:00:00-00:00")
OUTCOMES = ("succeeded", "failed", "retry_later", "permanent", "user_action")
REPLIES = ("warrener.reply.me", "warrener.reply.client_7-b.2")
TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.text(string.printable, max_size=40)
ODD_NUMBERS = (0, -1, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400, 1e300, float("nan"))

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from(ODD_NUMBERS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=4,
)
PLAIN_VALUES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT


def examples(kind: type[messages.Message]) -> st.SearchStrategy[dict[str, Any]]:
    """Return messages of a type as JSON objects, as its fields and their bounds allow them."""
    return _objects(inspect.type_info(kind))


def encoded(value: Any) -> bytes:
    """Return JSON as careless programs write it: with NaN, and with numbers of any length."""
    return json.dumps(value).encode()


def whole(kind: type[messages.Message]) -> dict[str, Any]:
    """Return the one fixed message of a type that has all of its fields."""
    made: dict[str, Any] = _fixed(inspect.type_info(kind))
    return made | ({"reply_to": results_queue()} if kind is messages.RunStep else {})


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a message in which some fields are missing, of other types, new, or there twice."""
    fields = draw(st.sampled_from(WHOLE)).copy()
    for name in draw(st.lists(st.sampled_from([*fields, "v", "extra"]), min_size=1, max_size=3)):
        match draw(st.sampled_from(["drop", "replace", "replace", "inside"])):
            case "drop":
                fields.pop(name, None)
            case "inside" if isinstance(fields.get(name), dict):
                fields[name] = {**fields[name], draw(TEXT): draw(JSON_VALUES)}
            case _:
                fields[name] = draw(_NEW_VALUES.get(name, JSON_VALUES))
    twice = draw(st.sampled_from([None, None, *fields]))
    again = b"" if twice is None else b"," + encoded({twice: draw(JSON_VALUES)})[1:-1]
    return encoded(fields)[:-1] + again + b"}"


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """Draw a valid message of which some bytes were changed, cut off or put in."""
    body = bytearray(draw(st.sampled_from(WHOLE_ENCODED)))
    for place in draw(st.lists(st.integers(0, len(body)), min_size=1, max_size=3)):
        length = draw(st.sampled_from([0, 1, 1, 2, len(body)]))
        body[place : place + length] = draw(_PIECES)
    return bytes(body)


_PIECES = st.binary(max_size=3) | st.sampled_from(
    [b"\xef\xbb\xbf", b"\xff", b"\\ud800", b"\0", b"[" * 50, b"{", b'"', b"1e999", b"NaN"]
)
_NEW_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(list(TYPES)) | JSON_VALUES,
    "v": st.sampled_from([0, 1, 2, -1, 1.0, True, "1", None, 10**30]),
}


def _objects(info: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects with all required fields and some of the others."""
    required = {f.encode_name: _values(f.type) for f in info.fields if f.required}
    others = {f.encode_name: _values(f.type) for f in info.fields if not f.required}
    others.pop("v", None)
    tag = {} if info.tag is None else {info.tag_field: st.just(info.tag)}
    return st.fixed_dictionaries({**tag, **required}, optional=others)


def _values(info: Any) -> st.SearchStrategy[Any]:
    match info:
        case inspect.StructType(array_like=True):
            return st.tuples(*(_values(f.type) for f in info.fields)).map(list)
        case inspect.StructType():
            return _objects(info)
        case inspect.UnionType():
            return st.one_of(*map(_values, info.types))
        case inspect.NoneType():
            return st.none()
        case inspect.UUIDType():
            return st.uuids().map(str)
        case inspect.DateTimeType():
            return st.sampled_from(TIMES)
        case inspect.IntType():
            return st.integers(_or(info.ge, -(2**63)), _or(info.le, 2**63 - 1))
        case inspect.FloatType():
            return st.floats(info.ge, info.le, allow_nan=False, allow_infinity=False)
        case inspect.LiteralType():
            return st.sampled_from(info.values)
        case inspect.StrType():
            return _texts(info)
        case inspect.VarTupleType():
            return st.lists(_values(info.item_type), max_size=3)
        case inspect.DictType():
            return st.dictionaries(TEXT, _values(info.value_type), max_size=3)
        case inspect.RawType() | inspect.AnyType():
            return PLAIN_VALUES | st.lists(PLAIN_VALUES, max_size=2)
    raise NotImplementedError(f"no examples for {info}")


def _texts(info: inspect.StrType) -> st.SearchStrategy[str]:
    if info.pattern is not None:
        return st.sampled_from(_words(info.pattern))
    return TEXT.filter(lambda text: len(text) >= (info.min_length or 0))


def _words(pattern: str) -> list[str]:
    return [word for word in (*OUTCOMES, *REPLIES) if re.search(pattern, word)]


def _or(bound: int | None, otherwise: int) -> int:
    return otherwise if bound is None else bound


def _fixed(info: Any) -> Any:
    match info:
        case inspect.StructType(array_like=True):
            return [_fixed(f.type) for f in info.fields]
        case inspect.StructType():
            tag = {} if info.tag is None else {info.tag_field: info.tag}
            return tag | {f.encode_name: _fixed(f.type) for f in info.fields}
        case inspect.UnionType():
            return next(_fixed(kind) for kind in info.types if kind != inspect.NoneType())
        case inspect.UUIDType():
            return "6f1d8a3e-52a4-5c0e-9b1d-0d7a0c6c2b11"
        case inspect.DateTimeType():
            return TIMES[0]
        case inspect.IntType() | inspect.FloatType():
            return 1
        case inspect.LiteralType():
            return info.values[0]
        case inspect.StrType():
            return "x" if info.pattern is None else _words(info.pattern)[0]
        case inspect.VarTupleType():
            return [_fixed(info.item_type)]
        case inspect.DictType():
            return {"x": _fixed(info.value_type)}
    return {"any": [1, None, "text"]}


WHOLE = [whole(kind) for kind in TYPES.values()]
WHOLE_ENCODED = list(map(encoded, WHOLE))
