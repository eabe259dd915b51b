"""The keywords of JSON Schema that apply further schemas, or take steps of their own.

Each goes through what of a value does not fit. The words are those of the jsonschema library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from warrener.domain.definition.schema_rules import is_list, is_map, is_text, listed, told

if TYPE_CHECKING:
    from warrener.domain.definition.schema_match import Match

Place = tuple[Any, ...]  # (place of what it is in, name or number); () is the whole value


class Misfit(NamedTuple):
    """A part of a value that does not fit: where it is, and the keyword that it does not fit.

    `schema` is what the keyword stands in. The words are made when somebody wants to read them.
    `extras` are the names that `additionalProperties` does not allow.
    """

    place: Place
    keyword: str
    value: Any
    schema: Any
    words: Callable[[], str]
    extras: Sequence[str] = ()

    @property
    def path(self) -> list[str | int]:
        """The names and numbers that lead to the part."""
        parts, place = [], self.place
        while place:
            place, part = place
            parts.append(part)
        return parts[::-1]


Found = Iterator[Misfit]


class Part(NamedTuple):
    """A keyword: to which values it applies, and what of one does not fit."""

    applies: Callable[[Any], bool]
    misfits: Callable[[Match, Any, Any, Place], Found]  # schema around the keyword, value


def _told_both(value: Any, text: str, wanted: Any) -> str:
    return f"{told(value)} {text} {told(wanted)}"


def _about(value: Any, text: str) -> Callable[[], str]:
    return lambda: f"{told(value)} {text}"


# --- any value ---------------------------------------------------------------------------------


def _ref(match: Match, schema: Any, value: Any, place: Place) -> Found:
    return match.misfits(match.schema.target(schema["$ref"]), value, place)


def _const(match: Match, schema: Any, value: Any, place: Place) -> Found:
    wanted = schema["const"]
    if match.identity(value) != match.identity(wanted):
        yield Misfit(place, "const", value, schema, _about(wanted, "was expected"))


def _enum(match: Match, schema: Any, value: Any, place: Place) -> Found:
    wanted = schema["enum"]
    if match.identity(value) not in match.schema.choices(wanted):
        words = partial(_told_both, value, "is not one of", wanted)
        yield Misfit(place, "enum", value, schema, words)


def _all_of(match: Match, schema: Any, value: Any, place: Place) -> Found:
    for each in schema["allOf"]:
        yield from match.misfits(each, value, place)


def _any_of(match: Match, schema: Any, value: Any, place: Place) -> Found:
    if not any(match.fits(each, value) for each in schema["anyOf"]):
        yield _of_none(schema, "anyOf", value, place)


def _one_of(match: Match, schema: Any, value: Any, place: Place) -> Found:
    first, *more = [each for each in schema["oneOf"] if match.fits(each, value)] or [None]
    if first is None:
        yield _of_none(schema, "oneOf", value, place)
    elif more:
        yield Misfit(place, "oneOf", value, schema, partial(_many_told, value, [*more, first]))


def _many_told(value: Any, schemas: list[Any]) -> str:
    return f"{told(value)} is valid under each of {', '.join(map(told, schemas))}"


def _of_none(schema: Any, keyword: str, value: Any, place: Place) -> Misfit:
    text = "is not valid under any of the given schemas"
    return Misfit(place, keyword, value, schema, _about(value, text))


def _not(match: Match, schema: Any, value: Any, place: Place) -> Found:
    if match.fits(schema["not"], value):
        text, wanted = "should not be valid under", schema["not"]
        yield Misfit(place, "not", value, schema, partial(_told_both, value, text, wanted))


def _if(match: Match, schema: Any, value: Any, place: Place) -> Found:
    branch = "then" if match.fits(schema["if"], value) else "else"
    return match.misfits(schema.get(branch, True), value, place)


# --- text --------------------------------------------------------------------------------------


def _pattern(match: Match, schema: Any, value: Any, place: Place) -> Found:
    pattern = schema["pattern"]
    if not match.is_found(pattern, value):
        words = partial(_told_both, value, "does not match", pattern)
        yield Misfit(place, "pattern", value, schema, words)


# --- maps --------------------------------------------------------------------------------------


def _properties(match: Match, schema: Any, value: Any, place: Place) -> Found:
    wanted = schema["properties"]
    match.look_up(wanted)
    for name, each in wanted.items():
        if name in value:
            yield from match.misfits(each, value[name], (place, name))


def _pattern_properties(match: Match, schema: Any, value: Any, place: Place) -> Found:
    for pattern, each in schema["patternProperties"].items():
        for name, item in value.items():
            if match.is_found(pattern, name):
                yield from match.misfits(each, item, (place, name))


def _additional_properties(match: Match, schema: Any, value: Any, place: Place) -> Found:
    wanted = schema["additionalProperties"]
    match.look_up(value)
    extras = [name for name in value if not _is_named(match, schema, name)]
    if wanted is not False:
        for name in extras:
            yield from match.misfits(wanted, value[name], (place, name))
    elif extras:
        words = partial(_extras_told, extras, schema)
        yield Misfit(place, "additionalProperties", value, schema, words, extras)


def _is_named(match: Match, schema: Any, name: str) -> bool:
    if name in schema.get("properties", ()):
        return True
    return any(match.is_found(pattern, name) for pattern in schema.get("patternProperties", ()))


def _extras_told(extras: list[str], schema: Any) -> str:
    if "patternProperties" not in schema:
        return f"Additional properties are not allowed ({listed(sorted(extras))})"
    names = ", ".join(map(told, sorted(extras)))
    patterns = ", ".join(map(told, sorted(schema["patternProperties"])))
    verb = "does" if len(extras) == 1 else "do"
    return f"{names} {verb} not match any of the regexes: {patterns}"


def _property_names(match: Match, schema: Any, value: Any, place: Place) -> Found:
    for name in value:
        yield from match.misfits(schema["propertyNames"], name, place)


def _required(match: Match, schema: Any, value: Any, place: Place) -> Found:
    match.look_up(schema["required"])
    for name in schema["required"]:
        if name not in value:
            words = _about(name, "is a required property")
            yield Misfit(place, "required", value, schema, words)


def _dependent_required(match: Match, schema: Any, value: Any, place: Place) -> Found:
    match.look_up(schema["dependentRequired"])
    for name, needed in schema["dependentRequired"].items():
        if name in value:
            match.look_up(needed)
            for each in needed:
                if each not in value:
                    words = partial(_told_both, each, "is a dependency of", name)
                    yield Misfit(place, "dependentRequired", value, schema, words)


def _dependent_schemas(match: Match, schema: Any, value: Any, place: Place) -> Found:
    match.look_up(schema["dependentSchemas"])
    for name, each in schema["dependentSchemas"].items():
        if name in value:
            yield from match.misfits(each, value, place)


# --- lists -------------------------------------------------------------------------------------


def _prefix_items(match: Match, schema: Any, value: Any, place: Place) -> Found:
    for number, (each, item) in enumerate(zip(schema["prefixItems"], value, strict=False)):
        yield from match.misfits(each, item, (place, number))


def _items(match: Match, schema: Any, value: Any, place: Place) -> Found:
    wanted, prefix = schema["items"], len(schema.get("prefixItems", ()))
    if wanted is not False:
        for number in range(prefix, len(value)):
            yield from match.misfits(wanted, value[number], (place, number))
    elif len(value) > prefix:
        yield Misfit(place, "items", value, schema, partial(_more_told, value, prefix))


def _more_told(value: list[Any], prefix: int) -> str:
    extra = len(value) - prefix
    rest = told(value[prefix:] if extra != 1 else value[prefix])
    noun = "items" if prefix != 1 else "item"
    return f"Expected at most {prefix} {noun} but found {extra} extra: {rest}"


def _contains(match: Match, schema: Any, value: Any, place: Place) -> Found:
    least, most = schema.get("minContains", 1), schema.get("maxContains", len(value))
    count = 0
    for item in value:
        count += match.fits(schema["contains"], item)
        if count > most:
            break
    if count > most:
        text = f"Too many items match the given schema (expected at most {most})"
        yield Misfit(place, "maxContains", value, schema, partial(str, text))
    elif count < least and count:
        few = "Too few items match the given schema"
        text = f"{few} (expected at least {least} but only {count} matched)"
        yield Misfit(place, "minContains", value, schema, partial(str, text))
    elif count < least:
        text = "does not contain items matching the given schema"
        yield Misfit(place, "contains", value, schema, _about(value, text))


def _unique_items(match: Match, schema: Any, value: Any, place: Place) -> Found:
    if not schema["uniqueItems"]:
        return
    seen = set()
    for item in value:
        identity = match.identity(item)
        if identity in seen:
            words = _about(value, "has non-unique elements")
            yield Misfit(place, "uniqueItems", value, schema, words)
            return
        seen.add(identity)


# --- what no other keyword has looked at -------------------------------------------------------


def _unevaluated_properties(match: Match, schema: Any, value: Any, place: Place) -> Found:
    wanted = schema["unevaluatedProperties"]
    seen = _seen(match, schema, value, "unevaluatedProperties")
    bad = [
        name for name, item in value.items() if name not in seen and not match.fits(wanted, item)
    ]
    if bad:
        words = partial(_unevaluated_told, bad, wanted)
        yield Misfit(place, "unevaluatedProperties", value, schema, words)


def _unevaluated_told(names: list[str], wanted: Any) -> str:
    if wanted is False:
        return f"Unevaluated properties are not allowed ({listed(sorted(names))})"
    text = listed(names).replace(" unexpected", " unevaluated and invalid")
    return f"Unevaluated properties are not valid under the given schema ({text})"


def _unevaluated_items(match: Match, schema: Any, value: Any, place: Place) -> Found:
    wanted = schema["unevaluatedItems"]
    seen = _seen(match, schema, value, "unevaluatedItems")
    bad = [
        item
        for number, item in enumerate(value)
        if number not in seen and not match.fits(wanted, item)
    ]
    if bad:
        words = partial(_more_items_told, bad)
        yield Misfit(place, "unevaluatedItems", value, schema, words)


def _more_items_told(items: list[Any]) -> str:
    return f"Unevaluated items are not allowed ({listed(items)})"


def _seen(match: Match, schema: Any, value: Any, but: str = "") -> set[Any]:
    """Return the names or numbers in a value at which a schema has looked."""
    if isinstance(schema, bool):
        return set()
    match.steps.take(1 + len(schema))
    match.look_up(value)
    own = _own_names if isinstance(value, dict) else _own_numbers
    found = own(match, {key: each for key, each in schema.items() if key != but}, value)
    for each in _applied(match, schema, value):
        found |= _seen(match, each, value)
    return found


def _own_names(match: Match, schema: Any, value: Any) -> set[Any]:
    if "additionalProperties" in schema or "unevaluatedProperties" in schema:
        return set(value)
    return {name for name in value if _is_named(match, schema, name)}


def _own_numbers(match: Match, schema: Any, value: Any) -> set[Any]:
    if "items" in schema or "unevaluatedItems" in schema:
        return set(range(len(value)))
    found = set(range(len(schema.get("prefixItems", ()))))
    if "contains" in schema:
        found.update(n for n, item in enumerate(value) if match.fits(schema["contains"], item))
    return found


def _applied(match: Match, schema: Any, value: Any) -> Iterator[Any]:
    """Go through the schemas in a schema that look at the same value, and which it fits."""
    if "$ref" in schema:
        yield match.schema.target(schema["$ref"])
    for keyword in ("allOf", "anyOf", "oneOf"):
        for each in schema.get(keyword, ()):
            if match.fits(each, value):
                yield each
    for name, each in schema.get("dependentSchemas", {}).items():
        if isinstance(value, dict) and name in value:
            yield each
    if "if" in schema:
        fits = match.fits(schema["if"], value)
        if fits:
            yield schema["if"]
        yield schema.get("then" if fits else "else", True)


def _any(_: Any) -> bool:
    return True


PARTS: Mapping[str, Part] = {
    "$ref": Part(_any, _ref),
    "const": Part(_any, _const),
    "enum": Part(_any, _enum),
    "allOf": Part(_any, _all_of),
    "anyOf": Part(_any, _any_of),
    "oneOf": Part(_any, _one_of),
    "not": Part(_any, _not),
    "if": Part(_any, _if),
    "pattern": Part(is_text, _pattern),
    "properties": Part(is_map, _properties),
    "patternProperties": Part(is_map, _pattern_properties),
    "additionalProperties": Part(is_map, _additional_properties),
    "propertyNames": Part(is_map, _property_names),
    "required": Part(is_map, _required),
    "dependentRequired": Part(is_map, _dependent_required),
    "dependentSchemas": Part(is_map, _dependent_schemas),
    "prefixItems": Part(is_list, _prefix_items),
    "items": Part(is_list, _items),
    "contains": Part(is_list, _contains),
    "uniqueItems": Part(is_list, _unique_items),
    "unevaluatedProperties": Part(is_map, _unevaluated_properties),
    "unevaluatedItems": Part(is_list, _unevaluated_items),
}
