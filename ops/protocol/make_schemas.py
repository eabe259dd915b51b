"""Makes the schemas and the AsyncAPI document from the types that the program itself uses.

python ops/protocol/make_schemas.py            writes schemas/*.json and asyncapi.yaml anew
python ops/protocol/make_schemas.py --check    says with its exit code whether they are current
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml
from document import as_yaml, asyncapi

from warrener.domain import messages
from warrener.domain.messages import PROTOCOL_VERSION, Message

FOLDER = Path(__file__).parent
DRAFT = "http://json-schema.org/draft-07/schema#"
WORDS = yaml.safe_load((FOLDER / "words.yaml").read_text("utf-8"))
_REFERENCE = "#/definitions/"
_CHOICE = re.compile(r"\^\(([a-z_|]+)\)\$")


def types() -> list[type[Message]]:
    """Return the types of messages that travel, in the order of the program."""
    found = [kind for kind in vars(messages).values() if isinstance(kind, type)]
    return [kind for kind in found if issubclass(kind, Message) and not kind.__subclasses__()]


def schema(kind: type[Message]) -> dict[str, Any]:
    """Return the JSON Schema of a type of messages, complete in itself."""
    (_,), parts = msgspec.json.schema_components(
        [_described(kind)], ref_template=_REFERENCE + "{name}"
    )
    done = {name: _finished(name, part) for name, part in sorted(parts.items())}
    main = done.pop(kind.__name__)
    main["properties"]["v"] |= {"const": PROTOCOL_VERSION}
    return {"$schema": DRAFT, **main} | ({"definitions": done} if done else {})


def _described(kind: type[Message]) -> type[msgspec.Struct]:
    """Return the same type for msgspec to describe, which it cannot where a default is raw JSON."""
    config = kind.__struct_config__
    fields: list[Any] = []
    for field in msgspec.structs.fields(kind):
        raw = field.type is msgspec.Raw
        default = (
            field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        )
        if default is msgspec.NODEFAULT:
            fields.append((field.name, Any if raw else field.type))
        else:
            fields.append((field.name, Any if raw else field.type, None if raw else default))
    made = msgspec.defstruct(
        kind.__name__, fields, kw_only=True, tag=config.tag, tag_field=config.tag_field
    )
    made.__doc__ = kind.__doc__
    return made


def _finished(name: str, part: dict[str, Any]) -> dict[str, Any]:
    """Say in words what each field is; a struct that travels as an array has places instead."""
    if "prefixItems" in part:
        words = WORDS["places"][name]
        places = [
            inner | {"description": text}
            for inner, text in zip(part["prefixItems"], words, strict=True)
        ]
        rest = {key: value for key, value in part.items() if key != "prefixItems"}
        return rest | {"items": places}  # as this draft of JSON Schema calls them
    fields = {}
    for field, inner in part["properties"].items():
        words = WORDS["fields"].get(f"{name}.{field}") or WORDS["fields"][field]
        fields[field] = _short(inner) | {"description": words.strip()}
    return part | {"properties": fields}


def _short(inner: dict[str, Any]) -> dict[str, Any]:
    """Write alternatives of bare types as a list of types, and a choice of words as that."""
    choices = inner.get("anyOf", ())
    if choices and all(set(choice) == {"type"} for choice in choices):
        rest = {key: value for key, value in inner.items() if key != "anyOf"}
        return {"type": [choice["type"] for choice in choices], **rest}
    if found := _CHOICE.match(inner.get("pattern", "")):
        return {"enum": found[1].split("|")}
    return inner


def files() -> Iterator[tuple[Path, str]]:
    """Yield path and text of all files that are made."""
    for kind in types():
        text = json.dumps(schema(kind), indent=2, ensure_ascii=False)
        yield FOLDER / "schemas" / f"{kind.__name__}.json", text + "\n"
    yield FOLDER / "asyncapi.yaml", as_yaml(asyncapi(WORDS, types()))


def main() -> int:
    """Write the files, or check them."""
    wanted = dict(files())
    there = {path for path in (FOLDER / "schemas").glob("*.json") if path not in wanted}
    stale = [p for p, text in wanted.items() if not p.exists() or p.read_text("utf-8") != text]
    if "--check" in sys.argv[1:]:
        for path in sorted({*stale, *there}):
            print(f"{path}: out of date: run {Path(__file__).name} without --check")
        return 1 if stale or there else 0
    for path in stale:
        path.write_text(wanted[path], "utf-8")
    for path in there:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
