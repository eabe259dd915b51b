"""Whatever comes from outside is either a message of a known type, or refused in the one way."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.decoders import CANCEL, HELLO, ORDER, REPORT, SUBMIT, VALID, refused, taken, with_field
from support.scale import scaled
from support.wire import JSON_VALUES, TYPES, encoded, examples, mangled, mutated

from warrener.domain.errors import PayloadError
from warrener.domain.messages import (
    PROTOCOL_VERSION,
)
from warrener.domain.payloads import MESSAGE_BYTES_MAX, decode_json
from warrener.domain.topology import results_queue

KINDS = tuple(TYPES.values())
NOTICES = ("EventNotice", "StarvationNotice")  # for other services: nobody here waits for them


# --- 10,000 inputs, each for every decoder -------------------------------------------------------


@settings(max_examples=scaled(800))
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(body):
    assert refused(body)


@settings(max_examples=scaled(800))
@given(JSON_VALUES)
def test_json_that_is_no_message_is_refused(value):
    assert refused(encoded(value))


@settings(max_examples=scaled(1_500))
@given(mutated())
def test_a_message_with_wrong_fields_is_a_message_or_refused(body):
    for message in taken(body):
        assert message.v == PROTOCOL_VERSION
        assert 1 <= getattr(message, "attempt", 1) < 2**31
        assert decoded_again(message) == message


@settings(max_examples=scaled(600))
@given(mangled())
def test_a_message_with_wrong_bytes_is_a_message_or_refused(body):
    for message in taken(body):
        assert message.v == PROTOCOL_VERSION


@settings(max_examples=scaled(600))
@given(st.sampled_from(KINDS).flatmap(examples))
def test_a_valid_message_is_taken_by_the_one_decoder_that_waits_for_it(fields):
    if fields["type"] == "RunStep":
        fields["reply_to"] = results_queue()

    found = [type(message).__name__ for message in taken(encoded(fields))]

    assert found == ([] if fields["type"] in NOTICES else [fields["type"]])


@settings(max_examples=scaled(600))
@given(st.binary(max_size=60) | JSON_VALUES.map(encoded) | mangled())
def test_a_payload_is_json_or_refused(data):
    try:
        value = decode_json(data)
    except PayloadError:
        return
    assert json.loads(data, parse_constant=pytest.fail) == value


def decoded_again(message: Any) -> Any:
    """Return what a second decoder makes of a message; raw values are left as they were."""
    return msgspec.json.decode(msgspec.json.encode(message), type=type(message))


# --- the worst of each kind ----------------------------------------------------------------------


@pytest.mark.parametrize("fields", VALID, ids=lambda fields: fields["type"])
def test_the_valid_messages_of_these_tests_are_taken(fields):
    assert len(taken(encoded(fields))) == 1


@pytest.mark.parametrize("name", ["type", "result", "args", "params", "job", "unknown"])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}"), (b"[", b"")])
def test_nesting_of_100_000_levels_is_refused(name, brackets):
    opening, closing = brackets
    value = opening * 100_000 + b"1" + closing * 100_000

    assert all(refused(with_field(fields, name, value)) for fields in VALID)
    assert refused(value)


@pytest.mark.parametrize("body", [b" " * 20_000_000, b"[" * 20_000_000, b"\xff" * 20_000_000])
def test_20_megabytes_are_refused(body):
    assert refused(body)


@pytest.mark.parametrize("fields", VALID, ids=lambda fields: fields["type"])
def test_a_message_may_be_as_large_as_the_limit_and_no_larger(fields):
    body = encoded(fields)
    padding = MESSAGE_BYTES_MAX - len(body)

    assert len(taken(body + b" " * padding)) == 1
    assert refused(body + b" " * (padding + 1))


@pytest.mark.parametrize("version", ["0", "2", "-1", "1.0", "true", "null", '"1"', "9" * 30])
@pytest.mark.parametrize("fields", VALID, ids=lambda fields: fields["type"])
def test_another_version_of_the_protocol_is_refused(fields, version):
    assert refused(with_field(fields, "v", version.encode()))


@pytest.mark.parametrize("kind", ['"Nope"', '"runstep"', '""', "1", "null", '["StepReport"]'])
@pytest.mark.parametrize("fields", VALID, ids=lambda fields: fields["type"])
def test_a_message_of_an_unknown_type_is_refused(fields, kind):
    assert refused(with_field(fields, "type", kind.encode()))


@pytest.mark.parametrize(
    "attempt",
    [b"0", b"-1", b"2147483648", b"9" * 30, b"9" * 5_000, b"9" * 1_000_000, b"1.5", b"1e0"],
)
@pytest.mark.parametrize("fields", [REPORT, ORDER, CANCEL], ids=lambda fields: fields["type"])
def test_an_attempt_beyond_its_bounds_is_refused(fields, attempt):
    assert refused(with_field(fields, "attempt", attempt))


@pytest.mark.parametrize("value", [b"NaN", b"-Infinity", b"1e999", b"1" * 400])
@pytest.mark.parametrize("name", ["retry_after", "attempt", "started_at"])
def test_a_number_that_is_none_is_refused(name, value):
    assert refused(with_field(REPORT, name, value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("slots", "-1"),
        ("slots", "1000000000000"),
        ("beat_seconds", "0"),
        ("beat_seconds", "1e300"),
        ("worker", '""'),
        ("worker", json.dumps("w" * 201)),
        ("queues", '"default"'),
        ("endpoints", json.dumps(["e"] * 10_001)),
    ],
)
def test_an_announcement_beyond_its_bounds_is_refused(name, value):
    assert refused(with_field(HELLO, name, value.encode()))


@pytest.mark.parametrize("outcome", ["success", "", "SUCCEEDED", "succeeded\n", " failed"])
def test_a_report_with_an_unknown_outcome_is_refused(outcome):
    assert refused(encoded({**REPORT, "outcome": outcome}))


def test_a_time_without_a_zone_is_refused():
    assert refused(encoded({**REPORT, "ended_at": "2024-01-01T00:00:00"}))


def test_a_priority_beyond_what_the_views_can_hold_is_refused():
    assert refused(encoded({**SUBMIT, "priority": 2**63}))


@pytest.mark.parametrize(
    "queue",
    [
        "warrener.orders.default",
        "warrener.inbox.0",
        "warrener.reply.",
        "warrener.reply.me\n",
        "warrener.reply." + "x" * 201,
        "",
    ],
)
def test_a_command_cannot_have_its_answer_sent_to_another_kind_of_queue(queue):
    assert refused(encoded({**SUBMIT, "reply_to": queue}))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-7"])
@pytest.mark.parametrize("fields", VALID, ids=lambda fields: fields["type"])
def test_text_that_is_not_plain_utf_8_is_refused(fields, encoding):
    body = json.dumps(fields).encode(encoding)

    assert refused(body if encoding != "utf-7" else b"+" + body)


@pytest.mark.parametrize("value", [b'"\xff"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"\x00"'])
@pytest.mark.parametrize("name", ["token", "worker", "job", "key", "command"])
def test_text_that_utf_8_cannot_carry_is_refused(name, value):
    owners = [fields for fields in VALID if name in fields]

    assert all(refused(with_field(fields, name, value)) for fields in owners)


@pytest.mark.parametrize("payload", [b'"\xff"', b'{"\xff":1}', b'"\xed\xa0\x80"'])
def test_a_result_that_is_not_utf_8_is_a_bad_payload(payload):
    (report,) = taken(with_field(REPORT, "result", payload))

    with pytest.raises(PayloadError, match="not JSON"):
        decode_json(bytes(report.result))


def test_of_fields_that_are_there_twice_the_last_one_counts():
    (report,) = taken(with_field(REPORT, "attempt", b'1, "attempt": 7'))

    assert report.attempt == 7


def test_a_second_type_does_not_make_a_message_another_one():
    assert refused(encoded(REPORT)[:-1] + b', "type": "CancelJob"}')
