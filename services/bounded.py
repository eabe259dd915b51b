"""Values that are shown: whole up to a size, and by hash and size beyond that."""

from __future__ import annotations

from typing import Any

import msgspec

from warrener.domain.ids import content_hash
from warrener.domain.payloads import INLINE_BYTES_MAX


def bounded(value: Any) -> Any:
    """Return a JSON value, a large one as its hash and size."""
    return bounded_json(msgspec.json.encode(value))


def bounded_json(data: bytes | msgspec.Raw) -> Any:
    """Return the value of JSON, of a large one `{"digest": hash, "size": bytes}`."""
    text = bytes(data)
    if len(text) <= INLINE_BYTES_MAX:
        return msgspec.json.decode(text)
    return {"digest": content_hash(text), "size": len(text)}
