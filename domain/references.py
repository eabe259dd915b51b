"""Which blobs an event needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from warrener.domain.payloads import Payload

# Cheap and never too few: a label or a name of a job may look the same.
_MAYBE: Final = re.compile(rb'"blob":"([0-9a-f]{64})"')


def maybe_blobs(state: bytes) -> list[str]:
    """Return the names in the stored state of an event that may be those of blobs it needs."""
    return [name.decode() for name in _MAYBE.findall(state)]


def blobs_of(event: Any) -> Iterator[str]:
    """Yield the names of the blobs that an event needs."""
    if isinstance(event, Payload):
        if event.blob is not None:
            yield event.blob
    elif isinstance(event, msgspec.Struct):
        for name in event.__struct_fields__:
            yield from blobs_of(getattr(event, name))
    elif isinstance(event, Mapping):
        for value in event.values():
            yield from blobs_of(value)
    elif isinstance(event, tuple | list):
        for value in event:
            yield from blobs_of(value)
