"""Frames that are made and read in one step are those that pika makes and reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame, spec

from warrener.adapters import rabbitmq_frames as frames
from warrener.adapters.rabbitmq_connection import MAIN, Connection, Events

BODY_MAX = 50
TAGS = st.integers(1, 2**63 - 1)
NAMES = st.text(max_size=60)
NAME = st.none() | NAMES
HEADERS = st.none() | st.dictionaries(st.text(max_size=10), NAMES | st.integers(0, 9), max_size=3)


class Reader(Connection):
    """Reads bytes, without a connection."""

    def __init__(self) -> None:
        self.delivered: list[tuple[Any, ...]] = []
        self.confirmed: list[tuple[Any, ...]] = []
        self.others: list[Any] = []
        self.events = Events(
            lambda *found: self.delivered.append(found), lambda *found: self.confirmed.append(found)
        )
        self._frame_buffer = self._consumer = b""
        self._pieces: list[bytes] = []
        self.bytes_received = 0

    def _process_frame(self, frame_value: Any) -> None:
        self.others.append(frame_value)

    def read(self, data: bytes, sizes: list[int]) -> None:
        """Take data in pieces of these sizes, and the rest in one."""
        for size in sizes:
            self._on_data_available(data[:size])
            data = data[size:]
        self._on_data_available(data)


def by_pika(channel: int, properties: spec.BasicProperties, body: bytes) -> bytes:
    pieces = [frame.Header(channel, len(body), properties).marshal()]
    for place in range(0, len(body), BODY_MAX):
        pieces.append(frame.Body(channel, body[place : place + BODY_MAX]).marshal())
    return b"".join(pieces)


@given(NAMES, st.binary(max_size=170))
def test_a_message_has_the_frames_that_pika_would_send(message_id: str, body: bytes) -> None:
    properties = spec.BasicProperties(
        content_type="application/json", delivery_mode=2, message_id=message_id
    )

    assert frames.content(3, message_id, body, BODY_MAX) == by_pika(3, properties, body)


@given(NAMES, NAMES, st.binary(max_size=170))
def test_so_has_a_message_with_headers(message_id: str, reason: str, body: bytes) -> None:
    headers = {"reason": reason}
    properties = spec.BasicProperties(
        content_type="application/json", delivery_mode=2, message_id=message_id, headers=headers
    )

    made = frames.content_with_headers(3, message_id, headers, body, BODY_MAX)

    assert made == by_pika(3, properties, body)


@given(NAMES, st.binary(max_size=170))
def test_so_has_one_that_carries_a_trace(message_id: str, body: bytes) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    properties = spec.BasicProperties(
        content_type="application/json",
        delivery_mode=2,
        message_id=message_id,
        headers={"traceparent": trace},
    )

    made = frames.traced_content(3, trace, message_id, body, BODY_MAX)

    assert made == by_pika(3, properties, body)


@given(TAGS, st.booleans())
def test_acknowledgements_are_those_of_pika(tag: int, multiple: bool) -> None:
    assert frames.ack(1, tag, multiple) == frame.Method(1, spec.Basic.Ack(tag, multiple)).marshal()
    given_back = frame.Method(1, spec.Basic.Nack(tag, False, True)).marshal()
    assert frames.requeue(1, tag) == given_back
    assert frames.requeue_all(1) == frame.Method(1, spec.Basic.Nack(0, True, True)).marshal()


@given(
    properties=st.builds(
        spec.BasicProperties,
        content_type=NAME,
        content_encoding=NAME,
        headers=HEADERS,
        delivery_mode=st.none() | st.integers(1, 2),
        priority=st.none() | st.integers(0, 9),
        correlation_id=NAME,
        reply_to=NAME,
        expiration=NAME,
        message_id=NAME,
        type=NAME,
        app_id=NAME,
    ),
    tag=TAGS,
    redelivered=st.booleans(),
    body=st.binary(max_size=170),
    sizes=st.lists(st.integers(0, 40), max_size=10),
)
def test_a_message_is_read_whatever_its_sender_set_and_however_it_is_cut(
    properties: spec.BasicProperties, tag: int, redelivered: bool, body: bytes, sizes: list[int]
) -> None:
    method = spec.Basic.Deliver("me", tag, redelivered, "an exchange", "a key")
    reader = Reader()

    data = frame.Method(MAIN, method).marshal() + by_pika(MAIN, properties, body)
    reader.read(data + data, sizes)

    expected = (b"me", tag, redelivered, properties.message_id or "", body)
    assert reader.delivered == [expected, expected]
    assert reader.others == []


@given(TAGS, st.booleans(), st.lists(st.integers(0, 9), max_size=5))
def test_confirmations_are_read_whether_good_or_bad(
    tag: int, multiple: bool, sizes: list[int]
) -> None:
    good = frame.Method(MAIN, spec.Basic.Ack(tag, multiple)).marshal()
    bad = frame.Method(MAIN, spec.Basic.Nack(tag, multiple, False)).marshal()
    reader = Reader()

    reader.read(good + bad, sizes)

    assert reader.confirmed == [(tag, multiple, True), (tag, multiple, False)]


def test_all_other_frames_are_left_to_pika() -> None:
    sent = [
        frame.Heartbeat(),
        frame.Method(MAIN, spec.Channel.OpenOk()),
        frame.Method(2, spec.Queue.DeclareOk("queue", 3, 1)),
        frame.Method(MAIN, spec.Basic.Return(312, "NO_ROUTE", "", "nowhere")),
        frame.Header(MAIN, 4, spec.BasicProperties(message_id="m")),
        frame.Body(MAIN, b"body"),
    ]
    reader = Reader()

    reader.read(b"".join(each.marshal() for each in sent), [5, 40])

    assert [each.marshal() for each in reader.others] == [each.marshal() for each in sent]
    assert reader.delivered == []


@pytest.mark.parametrize("cut", [0, 1, 14, 20])
def test_a_header_frame_that_lies_about_its_lengths_has_no_message_id(cut: int) -> None:
    flags = spec.BasicProperties.FLAG_HEADERS | spec.BasicProperties.FLAG_MESSAGE_ID
    start = b"\0\x3c\0\0" + (7).to_bytes(8, "big") + flags.to_bytes(2, "big")
    data = (start + b"\0\0\xff\xff" + b"\xfe" * 10)[: len(start) + cut]

    assert frames.read_content_start(data, 0, len(data)) == (7, "")
