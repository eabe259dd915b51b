"""Payloads: the JSON values of users, kept as opaque encoded text and checked at the edge."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from warrener.domain.errors import PayloadError
from warrener.domain.ids import content_hash

INLINE_BYTES_MAX = 64 * 1024
CROWDED_BYTES_MAX = 1024  # inline in an event that has much company in its commit
PAYLOAD_BYTES_MAX = 16 * 1024 * 1024
MESSAGE_BYTES_MAX = PAYLOAD_BYTES_MAX + 64 * 1024  # a payload with what is around it on the wire
DEPTH_MAX = 100
INTEGER_MAX = 2**63 - 1
INTEGER_MIN = -(2**63)

_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
_LONG_NUMBER = re.compile(rb"\d{19}")


class Payload(msgspec.Struct, frozen=True, omit_defaults=True):
    """A JSON value as text or, if it is large, the hash of the blob with the text."""

    json: str | None = None
    blob: str | None = None
    size: int | None = None  # bytes of the blob


NULL = Payload("null")


def encode_json(value: Any) -> bytes:
    """Encode a plain JSON value strictly; raises `PayloadError` on NaN, infinity or odd types."""
    try:
        return _ENCODER.encode(value).encode()
    except RecursionError:
        raise PayloadError("bad-json", f"nested deeper than {DEPTH_MAX} levels") from None
    except (ValueError, TypeError, UnicodeEncodeError) as error:
        raise PayloadError("bad-json", f"not a JSON value: {error}") from error


def decode_json(data: bytes | str) -> Any:
    """Decode and check JSON from outside; raises `PayloadError` that says what is wrong."""
    try:
        raw = data.encode() if isinstance(data, str) else data
        check_size(len(raw))
        value = msgspec.json.decode(raw)
    except RecursionError:
        raise PayloadError("bad-json", f"nested deeper than {DEPTH_MAX} levels") from None
    except (msgspec.MsgspecError, UnicodeError) as error:  # text that UTF-8 cannot carry
        raise PayloadError("bad-json", f"not JSON: {error}") from error
    if raw.count(b"[") + raw.count(b"{") > DEPTH_MAX or _LONG_NUMBER.search(raw):
        _check_bounds(value, DEPTH_MAX)
    return value


def check_size(size: int) -> None:
    """Refuse a payload over `PAYLOAD_BYTES_MAX`."""
    if size > PAYLOAD_BYTES_MAX:
        raise PayloadError(
            "payload-too-large",
            f"{size} bytes are over the limit of {PAYLOAD_BYTES_MAX} bytes:"
            " keep large data where it is and hand on a reference",
        )


def _check_bounds(value: Any, depth_left: int) -> None:
    if depth_left < 0:
        raise PayloadError("bad-json", f"nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, dict):
        for inner in value.values():
            _check_bounds(inner, depth_left - 1)
    elif isinstance(value, list):
        for inner in value:
            _check_bounds(inner, depth_left - 1)
    elif isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX:
        raise PayloadError("bad-json", "a whole number is beyond 64 bits")


def to_payload(
    data: bytes, inline_bytes_max: int = INLINE_BYTES_MAX
) -> tuple[Payload, dict[str, bytes]]:
    """Return the payload for encoded JSON and the blobs to store with it (none if it is small)."""
    if len(data) <= inline_bytes_max:
        return Payload(json=data.decode()), {}
    name = content_hash(data)
    return Payload(blob=name, size=len(data)), {name: data}
