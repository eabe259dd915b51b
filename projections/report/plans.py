"""The plans of the definitions that a log has."""

from __future__ import annotations

import msgspec

from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import StoredDataError
from warrener.domain.events import DefinitionStored
from warrener.domain.plan import Plan, build_plan


class Plans:
    """Keeps definitions as they are stored, and works out those that are asked for."""

    def __init__(self) -> None:
        self._definitions: dict[str, str] = {}
        self._plans: dict[str, Plan] = {}

    def take(self, event: DefinitionStored) -> None:
        """Keep a definition."""
        self._definitions[event.hash] = event.json

    def plan(self, content_hash: str) -> Plan:
        """Return the plan of a definition; raises `StoredDataError` if it is not in the log."""
        if content_hash not in self._plans:
            text = self._definitions.get(content_hash)
            if text is None:
                raise StoredDataError(f"no definition with the hash {content_hash} is stored")
            self._plans[content_hash] = build_plan(msgspec.json.decode(text, type=JobDefinition))
        return self._plans[content_hash]
