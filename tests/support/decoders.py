"""Every decoder of what comes from outside, and a valid message of each kind to spoil."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from support.wire import encoded

from warrener.domain.messages import ControlMessage, InboxMessage, ReplyMessage, RunStep, decoder
from warrener.domain.topology import results_queue
from warrener.services.reactor import decode_message
from warrener.services.worker_orders import decode_control, read_order

SECONDS_MAX = 10.0  # for one input; milliseconds are usual
DECODERS: dict[str, tuple[Any, Any]] = {
    "the inbox of a reactor": (decode_message, InboxMessage),
    "the control messages of a worker": (decode_control, ControlMessage),
    "the replies to a client": (decoder(ReplyMessage), ReplyMessage),
    "the orders of a worker": (read_order, RunStep),
}
JOB = "6f1d8a3e-52a4-5c0e-9b1d-0d7a0c6c2b11"
TIME = "2024-01-01T00:00:00Z"
REPORT = {
    "type": "StepReport",
    "job": JOB,
    "step": JOB,
    "attempt": 1,
    "token": "t",
    "worker": "w",
    "outcome": "succeeded",
    "result": None,
    "started_at": TIME,
    "ended_at": TIME,
}
ORDER = {
    "type": "RunStep",
    "job": JOB,
    "step": JOB,
    "path": "p",
    "endpoint": "e",
    "attempt": 1,
    "token": "t",
    "args": None,
    "reply_to": results_queue(),
}
HELLO = {
    "type": "WorkerHello",
    "worker": "w",
    "host": "h",
    "pid": 1,
    "endpoints": [],
    "queues": ["default"],
    "able": ["fetch"],
    "slots": 1,
}
CANCEL = {"type": "CancelStep", "job": JOB, "step": JOB, "attempt": 1}
ADVICE = {"type": "AdviseWorker", "worker": "w", "queues": ["default"], "until": TIME}
REPLY = {"type": "CommandReply", "command": "c", "job": JOB}
SUBMIT = {"type": "SubmitJob", "key": "k", "definition": "{}", "params": None}
ASKING = {**REPORT, "outcome": "user_action", "user_action": {"action": "a", "cause": "c"}}
STEERING = [
    {"type": "CancelJob", "job": JOB, "by": "ada", "reason": "r"},
    {"type": "PauseJob", "job": JOB},
    {"type": "ResumeJob", "job": JOB},
    {"type": "RetryJob", "job": JOB, "path": "parts[3]"},
    {"type": "RerunJob", "job": JOB, "step": "load", "key": "k"},
    {"type": "SignalJob", "job": JOB, "name": "go", "key": "k", "data": {"a": 1}},
    {"type": "AdjustStep", "job": JOB, "step": "parts", "window": 2, "retry": [{"on": "x"}]},
    {"type": "AnswerUserAction", "request": JOB, "data": [1]},
    {"type": "ChangeLimit", "name": "api", "slots": 3, "rate": [20, 60], "burst": 5},
]
VALID = [REPORT, ORDER, HELLO, CANCEL, ADVICE, REPLY, SUBMIT, ASKING, *STEERING]


def taken(body: bytes) -> list[Any]:
    """Give a body to every decoder; return the messages that were made of it."""
    begun = time.monotonic()
    found = [message for name in DECODERS if (message := _one(name, body)) is not None]
    assert time.monotonic() - begun < SECONDS_MAX
    return found


def _one(name: str, body: bytes) -> Any:
    decode, kinds = DECODERS[name]
    try:
        message = decode(body)
    except msgspec.MsgspecError:
        return None
    assert isinstance(message, kinds), name
    return message


def refused(body: bytes) -> bool:
    return taken(body) == []


def with_field(fields: dict[str, Any], name: str, value: bytes) -> bytes:
    """Return a message with a field whose value is given as it is on the wire."""
    rest = {key: inner for key, inner in fields.items() if key != name}
    return encoded(rest)[:-1] + b', "' + name.encode() + b'": ' + value + b"}"
