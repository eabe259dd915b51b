"""The JSON Schema of a job's parameters, from the annotations of its function."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import msgspec

from warrener.domain.definition.handles import refuse

_REFERENCE = "#/$defs/"
_MERGED = {"type"}  # an alternative that says no more than this is one of a list of types


def params_schema(name: str, function: Any, signature: inspect.Signature) -> dict[str, Any] | None:
    """Return the schema that parameters must meet; None if the function takes none.

    A parameter with a default may be left out; the default is noted for submissions to fill in.
    """
    if not signature.parameters:
        return None
    hints = _hints(name, function)
    properties: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        schema = type_schema(hints.get(parameter.name, Any), f"{name}: parameter {parameter.name}")
        if parameter.default is not parameter.empty:
            schema = {**schema, "default": _default(name, parameter)}
        properties[parameter.name] = schema
    required = [p.name for p in signature.parameters.values() if p.default is p.empty]
    found: dict[str, Any] = {"type": "object", "properties": properties}
    return {"type": "object", "required": required, "properties": properties} if required else found


def type_schema(hint: Any, what: str) -> dict[str, Any]:
    """Return the schema of one type as a person would write it, without references."""
    try:
        (schema,), components = msgspec.json.schema_components(
            (hint,), ref_template=_REFERENCE + "{name}"
        )
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        refuse(f"{what}: its annotation has no JSON Schema", str(error).splitlines()[0])
    result: dict[str, Any] = _plain(schema, components, (), what)
    return result


def _plain(schema: Any, components: dict[str, Any], within: tuple[str, ...], what: str) -> Any:
    """Put the parts in place of references to them, and short forms for long ones."""
    if isinstance(schema, list):
        return [_plain(item, components, within, what) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REFERENCE)
        if name in within:
            refuse(f"{what}: the type {name} contains itself", "annotate it as a dict")
        part = {k: v for k, v in components[name].items() if k not in {"title", "description"}}
        return _plain(part, components, (*within, name), what)
    done = {key: _plain(item, components, within, what) for key, item in schema.items()}
    return _merged(done)


def _merged(schema: dict[str, Any]) -> dict[str, Any]:
    """Write `anyOf` of bare types as a list of types."""
    choices = schema.get("anyOf")
    if not choices or any(set(choice) != _MERGED for choice in choices):
        return schema
    rest = {key: item for key, item in schema.items() if key != "anyOf"}
    return {"type": [choice["type"] for choice in choices], **rest}


def _default(name: str, parameter: inspect.Parameter) -> Any:
    try:
        return msgspec.to_builtins(parameter.default, str_keys=True, order="sorted")
    except (TypeError, ValueError, msgspec.MsgspecError):
        refuse(f"{name}: the default of parameter {parameter.name} is not a JSON value")


def _hints(name: str, function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        refuse(f"{name}: its annotations cannot be read: {error}")
