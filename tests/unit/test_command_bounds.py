"""What people and endpoints may ask for has bounds, and is refused beyond them."""

from __future__ import annotations

import json

import pytest
from support.decoders import ASKING, STEERING, refused, with_field
from support.wire import encoded


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("AdjustStep", "window", "0"),
        ("AdjustStep", "window", "100001"),
        ("AdjustStep", "tolerated", "-1"),
        ("AdjustStep", "retry", json.dumps([{}] * 51)),
        ("AdjustStep", "retry", '[{"jitter": "some"}]'),
        ("AdjustStep", "step", json.dumps("s" * 301)),
        ("ChangeLimit", "slots", "-1"),
        ("ChangeLimit", "burst", "0"),
        ("ChangeLimit", "rate", "[20]"),
        ("ChangeLimit", "rate", '"20/min"'),
        ("ChangeLimit", "rate", "[NaN, 60]"),
        ("ChangeLimit", "name", '""'),
        ("RerunJob", "key", '""'),
        ("RerunJob", "key", "null"),
        ("SignalJob", "name", json.dumps("n" * 201)),
        ("SignalJob", "key", json.dumps("k" * 201)),
        ("RetryJob", "path", '""'),
        ("CancelJob", "reason", json.dumps("r" * 2_001)),
        ("PauseJob", "by", "7"),
        ("AnswerUserAction", "request", '"the first one"'),
        ("AnswerUserAction", "request", "null"),
    ],
)
def test_a_command_beyond_its_bounds_is_refused(kind, name, value):
    (fields,) = [fields for fields in STEERING if fields["type"] == kind]

    assert refused(with_field(fields, name, value.encode()))


@pytest.mark.parametrize(
    "asked",
    [
        {"action": "a"},
        {"action": "", "cause": "c"},
        {"action": "a", "cause": ""},
        {"action": "a", "cause": "c" * 501},
        {"action": "a", "cause": "c", "message": "m" * 2_001},
        {"action": "a", "cause": "c", "form": [1]},
        "a",
    ],
)
def test_asking_a_person_for_something_without_bounds_is_refused(asked):
    assert refused(encoded({**ASKING, "user_action": asked}))
