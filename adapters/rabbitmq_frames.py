"""AMQP 0-9-1 frames of what is sent and received for every message.

pika builds and reads each frame through several objects; that is most of what a message costs. The
few kinds of frames that come by the thousand are made and read here in one step each, byte for
byte as pika does it (a test compares them); pika does everything else.
"""

from __future__ import annotations

import struct
from struct import Struct

from pika import frame, spec

METHOD, HEADER, BODY = spec.FRAME_METHOD, spec.FRAME_HEADER, spec.FRAME_BODY
END = bytes([spec.FRAME_END])
AROUND = spec.FRAME_HEADER_SIZE + spec.FRAME_END_SIZE  # bytes of a frame beside its payload
DELIVER, ACK, NACK = spec.Basic.Deliver.INDEX, spec.Basic.Ack.INDEX, spec.Basic.Nack.INDEX
CONTENT_TYPE = "application/json"
PERSISTENT = 2
NAME_BYTES_MAX = 255  # of short strings, such as message ids

frame_start = Struct(">BHI").unpack_from  # kind, channel, bytes of the payload
method_index = Struct(">I").unpack_from
confirmation = Struct(">QB").unpack_from  # tag, and whether it stands for all up to it
_content_start = Struct(">HHQH").unpack_from  # class, weight, bytes of the body, flags
_delivery = Struct(">QB").unpack_from
_table_size = Struct(">I").unpack_from

_PROPERTIES_OF = spec.BasicProperties
_HEADERS = _PROPERTIES_OF.FLAG_HEADERS
_ID = _PROPERTIES_OF.FLAG_MESSAGE_ID
_OCTETS = (_PROPERTIES_OF.FLAG_DELIVERY_MODE, _PROPERTIES_OF.FLAG_PRIORITY)
_BEFORE_ID = (
    *(_PROPERTIES_OF.FLAG_CONTENT_TYPE, _PROPERTIES_OF.FLAG_CONTENT_ENCODING, _HEADERS, *_OCTETS),
    *(_PROPERTIES_OF.FLAG_CORRELATION_ID, _PROPERTIES_OF.FLAG_REPLY_TO),
    _PROPERTIES_OF.FLAG_EXPIRATION,
)
_OURS = _PROPERTIES_OF.FLAG_CONTENT_TYPE | _PROPERTIES_OF.FLAG_DELIVERY_MODE | _ID
_SETTLE = Struct(">BHIIQBB").pack
_BODY = Struct(">BHI").pack
_PROPERTIES = Struct(f">BHIHHQHB{len(CONTENT_TYPE)}sBB").pack
_PROPERTIES_BYTES = 12 + 2 + 1 + len(CONTENT_TYPE) + 1 + 1  # of the header, without the message id
_MULTIPLE, _REQUEUE = 1, 2  # bits of a negative acknowledgement
_TYPE = CONTENT_TYPE.encode()
_OURS_BEGIN = bytes([len(_TYPE)]) + _TYPE + bytes([PERSISTENT])
_TRACED = _OURS | _HEADERS
_TRACE_HEADER = b"\x0btraceparentS"  # a table's entry: name, and that a long text follows
_TRACED_PROPERTIES = Struct(f">BHIHHQHB{len(CONTENT_TYPE)}sI{len(_TRACE_HEADER)}sI").pack
_TRACED_BYTES = _PROPERTIES_BYTES + 4 + len(_TRACE_HEADER) + 4  # without message id and text


def publish_method(channel: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:
    """Return the first frame of a message; it is the same for all with one destination."""
    method = spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    encoded: bytes = frame.Method(channel, method).marshal()
    return encoded


def short(text: str) -> str:
    """Return a text as it arrives where a short string holds it."""
    return text if len(text) < 64 else text.encode()[:NAME_BYTES_MAX].decode(errors="replace")


def content(channel: int, message_id: str, body: bytes, body_bytes_max: int) -> bytes:
    """Return the frames that follow the method: properties and body."""
    name = message_id.encode()[:NAME_BYTES_MAX]
    start = _PROPERTIES(
        *(HEADER, channel, _PROPERTIES_BYTES + len(name), spec.BasicProperties.INDEX, 0),
        *(len(body), _OURS, len(_TYPE), _TYPE, PERSISTENT, len(name)),
    )
    if 0 < len(body) <= body_bytes_max:
        return b"".join((start, name, END, _BODY(BODY, channel, len(body)), body, END))
    return b"".join((start, name, END, *_pieces(channel, body, body_bytes_max)))


def traced_content(
    channel: int, traceparent: str, message_id: str, body: bytes, body_bytes_max: int
) -> bytes:
    """Return the same with the header `traceparent`."""
    name, trace = message_id.encode()[:NAME_BYTES_MAX], traceparent.encode()
    start = _TRACED_PROPERTIES(
        *(HEADER, channel, _TRACED_BYTES + len(trace) + len(name)),
        *(spec.BasicProperties.INDEX, 0, len(body), _TRACED, len(_TYPE), _TYPE),
        *(len(_TRACE_HEADER) + 4 + len(trace), _TRACE_HEADER, len(trace)),
    )
    rest = bytes((PERSISTENT, len(name)))
    return b"".join((start, trace, rest, name, END, *_pieces(channel, body, body_bytes_max)))


def content_with_headers(
    channel: int, message_id: str, headers: dict[str, str], body: bytes, body_bytes_max: int
) -> bytes:
    """Return the same with headers, which only messages for the quarantine have."""
    properties = spec.BasicProperties(
        content_type=CONTENT_TYPE,
        headers=headers,
        delivery_mode=PERSISTENT,
        message_id=message_id,
    )
    start: bytes = frame.Header(channel, len(body), properties).marshal()
    return b"".join((start, *_pieces(channel, body, body_bytes_max)))


def _pieces(channel: int, body: bytes, size: int) -> list[bytes]:
    pieces: list[bytes] = []
    for place in range(0, len(body), size):
        piece = body[place : place + size]
        pieces += (_BODY(BODY, channel, len(piece)), piece, END)
    return pieces


def ack(channel: int, tag: int, multiple: bool) -> bytes:
    """Return the frame that acknowledges a delivery, or all up to it."""
    return _SETTLE(METHOD, channel, 13, ACK, tag, multiple, spec.FRAME_END)


def requeue(channel: int, tag: int) -> bytes:
    """Return the frame that gives a delivery back; it does not count as a failure of its own."""
    return _SETTLE(METHOD, channel, 13, NACK, tag, _REQUEUE, spec.FRAME_END)


def requeue_all(channel: int) -> bytes:
    """Return the frame that gives all deliveries back."""
    return _SETTLE(METHOD, channel, 13, NACK, 0, _MULTIPLE | _REQUEUE, spec.FRAME_END)


def read_delivery(data: bytes, place: int) -> tuple[bytes, int, bool]:
    """Return consumer, tag and whether it comes again, from a method's arguments at a place."""
    begin = place + 1
    end = begin + data[place]
    tag, redelivered = _delivery(data, end)
    return data[begin:end], tag, redelivered != 0


def read_content_start(data: bytes, place: int, end: int) -> tuple[int, str]:
    """Return the size of the body and the message id, from the payload of a header frame."""
    _, _, size, flags = _content_start(data, place)
    begin = place + 14
    if flags == _OURS and data.startswith(_OURS_BEGIN, begin):
        return size, str(data[begin + len(_OURS_BEGIN) + 1 : end], "utf-8", "replace")
    return size, _message_id(data, begin, end, flags)


def _message_id(data: bytes, place: int, end: int, flags: int) -> str:
    """Return the message id among whatever properties others set, "" where there is none.

    What stands before it is skipped and not decoded: headers may hold anything.
    """
    try:
        for flag in _BEFORE_ID:
            if flags & flag:
                place += _skipped(data, place, flag)
        if not flags & _ID or place + 1 + data[place] > end:
            return ""
        return str(data[place + 1 : place + 1 + data[place]], "utf-8", "replace")
    except (IndexError, struct.error):
        return ""


def _skipped(data: bytes, place: int, flag: int) -> int:
    """Return how many bytes a property takes."""
    if flag == _HEADERS:
        length: int = _table_size(data, place)[0]
        return 4 + length
    return 1 if flag in _OCTETS else 1 + data[place]
