"""The ids that belong to a log line about a message."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from warrener.domain.ids import job_id
from warrener.domain.messages import Message, SubmitJob

_FIELDS: Final = ("job", "step", "path", "attempt", "request")


def facts_of(message: Message) -> dict[str, Any]:
    """Return job, step, path, attempt and request of a message, as far as it has them."""
    if isinstance(message, SubmitJob):
        return {"job": str(job_id(message.key))}
    found = {name: getattr(message, name, None) for name in _FIELDS}
    return {
        name: str(value) if isinstance(value, UUID) else value
        for name, value in found.items()
        if value is not None
    }
