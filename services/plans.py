"""Plans: how an endpoint's function is called with JSON arguments and gives a JSON result."""

from __future__ import annotations

import inspect
import re
import threading
import typing
from collections.abc import Callable
from pathlib import PurePath
from types import CoroutineType, NoneType
from typing import Any

import msgspec

from warrener.domain.errors import PayloadError, PermanentError, UsageError
from warrener.domain.payloads import check_size, decode_json, encode_json

_PLACE = re.compile(r"(?P<text>.*) - at `\$\.?(?P<path>.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`\Z")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`\Z")
_MISFITS = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)
_NULL = msgspec.Raw(b"null")
_local = threading.local()


class Misfit(PermanentError):
    """Arguments or result do not fit; `code` is `bad-input`, `bad-result` or a payload's."""


class Plan:
    """The converters of one function, made once. Raises `UsageError` on odd annotations."""

    def __init__(
        self, name: str, function: Callable[..., Any], signature: inspect.Signature
    ) -> None:
        self._name = name
        self._function = function
        self._signature = signature
        self.is_async = inspect.iscoroutinefunction(function)
        hints = _hints(name, function)
        self._result_type = hints.get("return", Any)
        parameters = signature.parameters.values()
        self._positional = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY]
        rest = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
        self._rest = None if rest is None else dict[str, hints.get(rest, Any)]  # type: ignore[misc]
        self._struct = _arguments_struct(name, signature, hints, open_ended=rest is not None)

    def call(self, args: bytes | msgspec.Raw) -> msgspec.Raw:
        """Call the function with encoded arguments; return its encoded result.

        Raises `Misfit`, and whatever the function raises.
        """
        result = self._begin(args)
        if isinstance(result, CoroutineType):
            result = _loop().run_until_complete(result)
        return self._encoded(result)

    async def call_async(self, args: bytes | msgspec.Raw) -> msgspec.Raw:
        """Do what `call` does in the running event loop."""
        result = self._begin(args)
        if isinstance(result, CoroutineType):
            result = await result
        return self._encoded(result)

    def _begin(self, args: bytes | msgspec.Raw) -> Any:
        """Call the function; what a coroutine function returns is still to be awaited."""
        positional, named = self._arguments(args)
        return self._function(*positional, **named)

    def _arguments(self, args: bytes | msgspec.Raw) -> tuple[list[Any], dict[str, Any]]:
        try:
            given = decode_json(bytes(args))
            bound = msgspec.convert(given, self._struct, dec_hook=_from_json)
            named = msgspec.structs.asdict(bound)
            if self._rest is not None:
                rest = {key: item for key, item in given.items() if key not in named}
                named.update(msgspec.convert(rest, self._rest, dec_hook=_from_json))
        except PayloadError as error:
            raise Misfit(_code(error, "bad-input"), f"arguments: {error}") from None
        except msgspec.ValidationError as error:
            raise Misfit("bad-input", self._argument_problem(str(error))) from None
        return [named.pop(name) for name in self._positional], named

    def _encoded(self, result: Any) -> msgspec.Raw:
        try:
            if result is not None or self._result_type not in (None, NoneType, Any):
                plain = msgspec.to_builtins(result, str_keys=True, enc_hook=_to_json)
                if self._result_type is not Any:
                    msgspec.convert(plain, self._result_type, str_keys=True, dec_hook=_from_json)
                encoded = encode_json(plain)
                check_size(len(encoded))
                decode_json(encoded)
                return msgspec.Raw(encoded)
        except PayloadError as error:
            raise Misfit(_code(error, "bad-result"), f"result: {error}") from None
        except _MISFITS as error:
            raise Misfit("bad-result", _result_problem(error)) from None
        return _NULL

    def _argument_problem(self, text: str) -> str:
        takes = f"{self._name}{self._signature}"
        if missing := _MISSING.match(text):
            return f"missing argument `{missing['name']}` of {takes}"
        if unknown := _UNKNOWN.match(text):
            return f"unknown argument `{unknown['name']}` of {takes}"
        if place := _PLACE.match(text):
            return f"argument `{place['path']}` of {self._name}: {place['text']}"
        return f"arguments of {self._name}: {text}"


def _result_problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "result: nested too deeply"
    place = _PLACE.match(str(error))
    return f"result `{place['path']}`: {place['text']}" if place else f"result: {error}"


def _code(error: PayloadError, otherwise: str) -> str:
    return otherwise if error.code == "bad-json" else error.code


def _hints(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(inspect.unwrap(function), include_extras=True)
    except Exception as error:
        raise UsageError(f"endpoint {name}: its annotations cannot be read: {error}") from error


def _arguments_struct(
    name: str, signature: inspect.Signature, hints: dict[str, Any], *, open_ended: bool
) -> type[msgspec.Struct]:
    """Return a struct whose fields are the parameters, so that one call checks them all."""
    fields: list[Any] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        hint = hints.get(parameter.name, Any)
        if parameter.default is parameter.empty:
            fields.append((parameter.name, hint))
        else:
            fields.append((parameter.name, hint, _default(parameter.default)))
    try:
        struct = msgspec.defstruct(
            "Arguments", fields, kw_only=True, forbid_unknown_fields=not open_ended
        )
        msgspec.json.Decoder(struct)
        msgspec.json.Decoder(hints.get("return", Any))
    except (TypeError, ValueError) as error:
        raise UsageError(f"endpoint {name}: its annotations cannot be checked: {error}") from error
    return struct


def _default(value: Any) -> Any:
    return msgspec.field(default_factory=lambda: value)


def _from_json(wanted: type, value: Any) -> Any:
    """Convert to a type that msgspec does not know: paths, and values that fit already."""
    if isinstance(wanted, type):
        if isinstance(value, wanted):
            return value
        if issubclass(wanted, PurePath) and isinstance(value, str):
            return wanted(value)
    raise TypeError(f"Expected `{getattr(wanted, '__name__', wanted)}`, which JSON cannot carry")


def _to_json(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"a value of type `{type(value).__name__}` cannot be written as JSON")


def _loop() -> Any:
    """Return the event loop that this thread keeps for `async def` endpoints."""
    import asyncio

    loop = getattr(_local, "loop", None)
    if loop is None or loop.is_closed():
        loop = _local.loop = asyncio.new_event_loop()
    return loop


def close_loop() -> None:
    """Close this thread's event loop, if it has one."""
    loop = getattr(_local, "loop", None)
    if loop is not None:
        loop.close()
