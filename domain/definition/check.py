from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import Problem


def check(
    definition: JobDefinition,
    places: Mapping[str, int] | None = None,
    file: str = "",
    endpoints: Collection[str] | None = None,
    jobs: Collection[str] | None = None,
) -> list[Problem]:
    """Return every problem of a definition."""
    return []


def validate_params(definition: JobDefinition, params: Mapping[str, Any]) -> list[Problem]:
    """Return what of the parameters does not fit the definition's schema."""
    return []
