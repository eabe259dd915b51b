"""Look-ups of expressions: values are fetched only where an expression reads them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from warrener.domain.expression_text import Chain, nearest
from warrener.domain.payloads import DEPTH_MAX, INTEGER_MAX, INTEGER_MIN

_KEYS_SHOWN_MAX = 10
_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "a truth value",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    bytes: "bytes",
}


def kind(value: Any) -> str:
    """Return what a value is in the words of JSON, such as `a list`."""
    if isinstance(value, Mapping):
        return "a map"
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def why_missing(scope: Mapping[str, Any], chain: Chain) -> str | None:
    """Return why a chain cannot be looked up, or None if it can."""
    value: Any = scope
    for depth, key in enumerate(chain):
        place = ".".join(chain[:depth]) or "the scope"
        if not isinstance(value, Mapping):
            return f"{place} is {kind(value)}, it has no field {key}"
        try:
            value = value[key]
        except KeyError:
            return f"{place} has no key {key!r}; {_keys(value, key)}"
    return None


def _keys(value: Mapping[str, Any], key: str) -> str:
    near = nearest(key, value)
    if near:
        return near
    names = [repr(name) for _, name in zip(range(_KEYS_SHOWN_MAX), value, strict=False)]
    rest = len(value) - len(names)
    more = f" and {rest} more" if rest else ""
    return f"it has {', '.join(names)}{more}" if names else "it is empty"


def shortest(chains: Iterable[Chain]) -> tuple[Chain, ...]:
    """Leave out the chains that lie inside what another chain reads whole."""
    kept: list[Chain] = []
    for chain in sorted(chains):  # a chain sorts before all that begin with it
        if not kept or chain[: len(kept[-1])] != kept[-1]:
            kept.append(chain)
    return tuple(kept)


def pruned(scope: Mapping[str, Any], chains: Iterable[Chain]) -> dict[str, Any]:
    """Return a copy of the scope that holds only what the chains read, as far as it exists.

    What is missing stays absent, so that CEL's own short-circuits and has() decide.
    """
    context: dict[str, Any] = {}
    for chain in chains:
        _place(context, scope, chain)
    return context


def _place(context: dict[str, Any], scope: Mapping[str, Any], chain: Chain) -> None:
    value: Any = scope
    last = len(chain) - 1
    for depth, key in enumerate(chain):
        try:
            value = value[key]
        except KeyError:
            return
        if depth == last:
            context[key] = plain(value)
        elif isinstance(value, Mapping):
            context = context.setdefault(key, {})
        else:  # selecting a field of it fails, whatever a list holds
            context[key] = [] if isinstance(value, list) else value
            return


def plain(value: Any) -> Any:
    """Turn a mapping that makes its values on demand into a dict, which CEL takes."""
    if isinstance(value, Mapping) and not isinstance(value, dict):
        return {key: plain(value[key]) for key in value}
    return value


def size(value: Any) -> int:
    """Return how many values a JSON value holds, itself included."""
    count, open_values = 0, [value]
    while open_values:
        value = open_values.pop()
        count += 1
        if isinstance(value, dict):
            open_values.extend(value.values())
        elif isinstance(value, list):
            open_values.extend(value)
    return count


def why_not_json(value: Any, depth_left: int = DEPTH_MAX) -> str | None:
    """Return why a value is not JSON, or None if it is."""
    if value is None or isinstance(value, str | bool):
        return None
    if isinstance(value, int):
        fits = INTEGER_MIN <= value <= INTEGER_MAX
        return None if fits else f"the whole number {value} is beyond 64 bits"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"the number {value} is no JSON value"
    if isinstance(value, list | dict) and depth_left > 0:
        return _inner_not_json(value, depth_left - 1)
    if isinstance(value, list | dict):
        return f"it is nested deeper than {DEPTH_MAX} levels"
    return f"{kind(value)} is no JSON value, string(...) makes it text"


def _inner_not_json(value: list[Any] | dict[Any, Any], depth_left: int) -> str | None:
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                return f"a map has {kind(key)} as a key, JSON has text only"
    inner = value.values() if isinstance(value, dict) else value
    return next(filter(None, (why_not_json(item, depth_left) for item in inner)), None)
