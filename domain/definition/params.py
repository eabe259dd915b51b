"""Parameters of a job: defaults filled in, and the digest that tells recursion loops."""

from __future__ import annotations

from typing import Any

import msgspec

from warrener.domain.definition.model import JobDefinition
from warrener.domain.ids import content_hash


def complete(definition: JobDefinition, params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters with the schema's top-level defaults filled in."""
    properties = (definition.params or {}).get("properties", {})
    defaults = {
        name: schema["default"]
        for name, schema in properties.items()
        if isinstance(schema, dict) and "default" in schema
    }
    return {**defaults, **params}


def digest(definition_hash: str, params: Any) -> str:
    """Return what is equal exactly for the same definition on the same parameters."""
    text = msgspec.json.encode([definition_hash, params], order="sorted")
    return content_hash(text)
