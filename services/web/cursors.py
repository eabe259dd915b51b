"""Where a list goes on, as opaque text that a client hands back."""

from __future__ import annotations

import base64
import binascii
from typing import TypeVar

import msgspec

from warrener.domain.errors import UsageError

T = TypeVar("T")
LENGTH_MAX = 2_048


def cursor_of(place: msgspec.Struct) -> str:
    """Return a place in a list as text."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place_in(cursor: str, kind: type[T]) -> T:
    """Return the place that a cursor stands for; raises `UsageError` if it is none of ours."""
    try:
        if len(cursor) > LENGTH_MAX:
            raise ValueError(len(cursor))
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        return msgspec.json.decode(data, type=kind)
    except (binascii.Error, msgspec.MsgspecError, ValueError, RecursionError):
        raise UsageError("the cursor is none that was given out: begin at the start") from None
