"""The command line in this process, before a fleet that is played by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.driving import Driver
from support.inbox_side import InboxSide

from warrener.adapters.memory import MemoryBroker
from warrener.domain import ids
from warrener.domain.control_events import UserActionRequested
from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import Event, Recorded
from warrener.domain.payloads import Payload
from warrener.domain.ports import EventStore
from warrener.domain.step_events import StepParked
from warrener.domain.topology import inbox_queue
from warrener.services import wiring
from warrener.services.cli.app import run

NOW = datetime(2030, 1, 1, tzinfo=UTC)
FLEET = ("--broker", "amqp://fleet", "--store", "sqlite:///jobs.db")
WHO = {"by": "ada", "reason": "so"}
ASKED = ("--by", "ada", "--reason", "so")
FORM = {
    "type": "object",
    "required": ["token"],
    "properties": {"token": {"type": "string"}, "days": {"type": "integer", "default": 7}},
}
CHAIN = msgspec.convert(
    {"job": "chain", "steps": {"a": {"call": "t.a"}, "b": {"call": "t.b", "after": ["a"]}}},
    JobDefinition,
)
PARENT = msgspec.convert(
    {
        "job": "parent",
        "steps": {
            "own": {"call": "t.own"},
            "groups": {"for_each": [1, 2], "job": "chain"},
            "late": {"job": "chain", "after": ["own"]},
        },
    },
    JobDefinition,
)
JOB = ids.job_id("key")
CHILD = ids.child_job_id(ids.step_id(JOB, "groups[1]"))


class Desk:
    """The command line in this process, over a fleet's broker and a copy of its store."""

    def __init__(self, broker: MemoryBroker, side: InboxSide, capsys: Any) -> None:
        self.broker = broker
        self.side = side
        self._capsys = capsys

    def __call__(self, *arguments: str, fleet: tuple[str, ...] = FLEET) -> tuple[int, Any]:
        """Run a command; return its exit code, and its JSON document or that of its error."""
        self._capsys.readouterr()
        code = run([*arguments, *fleet, "--json"])
        out, err = self._capsys.readouterr()
        if code != 0:
            assert out == ""
            return code, json.loads(err)["error"]["message"]
        return code, json.loads(out)


@pytest.fixture
def fleet_broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    made = MemoryBroker()
    made.channel().declare(inbox_queue())
    monkeypatch.setattr(wiring, "open_broker", lambda _: made)
    return made


@pytest.fixture
def fleet_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventStore]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "grace")
    opened = wiring.open_store("sqlite:///jobs.db")
    Driver(opened).submit(PARENT, {}, {"chain": CHAIN})
    yield opened
    opened.close()


@pytest.fixture
def desk(
    fleet_store: EventStore, fleet_broker: MemoryBroker, capsys: pytest.CaptureFixture[str]
) -> Iterator[Desk]:
    with InboxSide(fleet_broker) as side:
        yield Desk(fleet_broker, side, capsys)


def write(store: EventStore, stream: UUID, kind: type[Event], **fields: Any) -> None:
    last = store.last(stream)
    version = last.originator_version + 1 if last else 1
    store.commit([Recorded(stream, version, kind(at=NOW, cause="test", **fields))], {})


def request_of(store: EventStore, number: int, action: str, cause: str, form: Any = None) -> UUID:
    """Have a step of the job wait for a person."""
    step = ids.step_id(JOB, "own")
    made = ids.user_action_id(step, number)
    payload = None if form is None else Payload(json=json.dumps(form))
    asked = {"action": action, "subject": cause, "form": payload, "job": JOB, "path": "own"}
    write(store, made, UserActionRequested, **asked)
    write(store, step, StepParked, job=JOB, path="own", attempt=1, request=made)
    return made
