"""The calls of the client that steer: what goes out, and what becomes of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.inbox_side import InboxSide

from warrener import Retry
from warrener.adapters.memory import MemoryBroker
from warrener.domain.definition.model import JobDefinition, Rate, RetryRule
from warrener.domain.errors import PayloadError, UsageError
from warrener.domain.messages import (
    AdjustStep,
    AnswerUserAction,
    CancelJob,
    ChangeLimit,
    PauseJob,
    RerunJob,
    ResumeJob,
    RetryJob,
    SignalJob,
)
from warrener.domain.topology import inbox_queue
from warrener.services.client import Client
from warrener.services.client_async import AsyncClient
from warrener.services.steering_calls import SteeringCalls, login_name

JOB, REQUEST = UUID(int=1), UUID(int=2)
WHO: dict[str, Any] = {"by": "ada", "reason": "so"}
RULE = RetryRule(on="throttled", max=3, first=2.0)
NOW = datetime(2030, 1, 1, tzinfo=UTC)
WORK = msgspec.convert({"job": "a", "steps": {"x": {"set": 1}}}, JobDefinition)

Call = Callable[[SteeringCalls], bool]

CALLS: list[tuple[Call, Any]] = [
    (lambda c: c.cancel(JOB, **WHO), CancelJob(job=JOB, **WHO)),
    (lambda c: c.pause(JOB, **WHO), PauseJob(job=JOB, **WHO)),
    (lambda c: c.resume(JOB, **WHO), ResumeJob(job=JOB, **WHO)),
    (lambda c: c.retry(JOB, **WHO), RetryJob(job=JOB, **WHO)),
    (lambda c: c.retry(JOB, "a[3]", **WHO), RetryJob(job=JOB, path="a[3]", **WHO)),
    (lambda c: c.rerun(JOB, "a", "k", **WHO), RerunJob(job=JOB, step="a", key="k", **WHO)),
    (
        lambda c: c.signal(JOB, "go", {"n": [1]}, "k", **WHO),
        SignalJob(job=JOB, name="go", data=msgspec.Raw(b'{"n":[1]}'), key="k", **WHO),
    ),
    (
        lambda c: c.answer(REQUEST, {"ok": True}, **WHO),
        AnswerUserAction(request=REQUEST, data=msgspec.Raw(b'{"ok":true}'), **WHO),
    ),
    (
        lambda c: c.adjust(JOB, "a", window=2, tolerated=0, retry=[RULE], **WHO),
        AdjustStep(job=JOB, step="a", window=2, tolerated=0, retry=(RULE,), **WHO),
    ),
    (
        lambda c: c.adjust(JOB, "a", retry=[Retry(on="throttled", max=3, first="2s")], **WHO),
        AdjustStep(job=JOB, step="a", retry=(RULE,), **WHO),
    ),
    (
        lambda c: c.change_limit("api", slots=0, rate="20/min", burst=5, **WHO),
        ChangeLimit(name="api", slots=0, rate=Rate(20, 60), burst=5, **WHO),
    ),
    (lambda c: c.change_limit("api", **WHO), ChangeLimit(name="api", **WHO)),
]


@pytest.fixture
def broker() -> MemoryBroker:
    made = MemoryBroker()
    made.channel().declare(inbox_queue())
    return made


@pytest.mark.parametrize(("call", "command"), CALLS)
def test_a_call_sends_its_command_and_returns_when_it_is_carried_out(
    broker: MemoryBroker, call: Call, command: Any
) -> None:
    with InboxSide(broker) as side, Client(broker=broker) as client:
        done = call(client)

    assert done is True
    assert side.only() == command


@pytest.mark.parametrize("call", [call for call, _ in CALLS])
def test_a_refusal_is_raised_with_its_text(broker: MemoryBroker, call: Call) -> None:
    with (
        InboxSide(broker, "cannot: it has ended") as side,
        Client(broker=broker) as client,
        pytest.raises(UsageError, match=r"^cannot: it has ended$"),
    ):
        call(client)

    assert len(side.commands) == 1


@pytest.mark.parametrize("call", [call for call, _ in CALLS])
def test_without_an_answer_the_command_stays_with_the_broker(
    broker: MemoryBroker, call: Call
) -> None:
    with Client(broker=broker, answer_seconds=0.01) as client:
        assert call(client) is False

    assert broker.depth(inbox_queue()) == 1


@pytest.mark.parametrize(("number"), [5, 6])
def test_what_has_a_key_has_the_same_message_id_when_it_is_sent_again(
    broker: MemoryBroker, number: int
) -> None:
    call, _ = CALLS[number]
    with InboxSide(broker) as side, Client(broker=broker) as client:
        assert call(client)
        assert call(client)

    assert len(side.names) == 2
    assert len(set(side.names)) == 1
    assert all(str(JOB) in name and name.endswith("/k") for name in side.names)


def test_without_a_key_two_signals_are_two(broker: MemoryBroker) -> None:
    with InboxSide(broker) as side, Client(broker=broker) as client:
        client.signal(JOB, "go")
        client.signal(JOB, "go")

    assert len({command.key for command in side.commands}) == 2
    assert [bytes(command.data) for command in side.commands] == [b"null", b"null"]


def test_whoever_is_logged_in_asks_unless_somebody_else_is_named(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "grace")
    with InboxSide(broker) as side, Client(broker=broker) as client:
        client.pause(JOB)
        client.pause(JOB, by="")

    assert [command.by for command in side.commands] == ["grace", ""]


def test_a_process_without_a_user_asks_in_nobodys_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)

    assert login_name() == ""


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda c: c.cancel(JOB, "x" * 2_001), "reason"),
        (lambda c: c.cancel(JOB, by="\ud800"), "surrogates"),
        (lambda c: c.retry(JOB, ""), "path"),
        (lambda c: c.rerun(JOB, "a", ""), "key"),
        (lambda c: c.signal(JOB, ""), "name"),
        (lambda c: c.adjust(JOB, "a", window=0), "window"),
        (lambda c: c.adjust(JOB, "a", tolerated=-1), "tolerated"),
        (lambda c: c.adjust(JOB, "a", retry=[Retry(first="soon")]), "'soon' is not a duration"),
        (lambda c: c.change_limit("api", rate="often"), "'often' is not a rate"),
        (lambda c: c.change_limit("api", slots=-1), "slots"),
    ],
)
def test_what_no_reactor_would_read_is_refused_before_it_is_sent(
    broker: MemoryBroker, call: Call, said: str
) -> None:
    client = Client(broker=broker, answer_seconds=0.01)

    with pytest.raises(UsageError, match=said):
        call(client)

    assert broker.depth(inbox_queue()) == 0


@pytest.mark.parametrize("data", [float("nan"), {1, 2}, object(), "x" * (16 * 1024 * 1024)])
def test_data_that_are_no_json_value_or_too_large_are_refused(
    broker: MemoryBroker, data: Any
) -> None:
    with Client(broker=broker, answer_seconds=0.01) as client:
        with pytest.raises(PayloadError):
            client.signal(JOB, "go", data)
        with pytest.raises(PayloadError):
            client.answer(REQUEST, data)

    assert broker.depth(inbox_queue()) == 0


def test_the_asyncio_client_steers_in_the_same_way(broker: MemoryBroker) -> None:
    async def steer() -> list[bool]:
        async with AsyncClient(broker=broker) as client:
            return [
                await client.cancel(JOB, **WHO),
                await client.pause(JOB, **WHO),
                await client.resume(JOB, **WHO),
                await client.retry(JOB, **WHO),
                await client.retry(JOB, "a[3]", **WHO),
                await client.rerun(JOB, "a", "k", **WHO),
                await client.signal(JOB, "go", {"n": [1]}, "k", **WHO),
                await client.answer(REQUEST, {"ok": True}, **WHO),
                await client.adjust(JOB, "a", window=2, tolerated=0, retry=[RULE], **WHO),
                await client.change_limit("api", slots=0, rate="20/min", burst=5, **WHO),
            ]

    with InboxSide(broker) as side:
        assert asyncio.run(steer()) == [True] * 10

    sent = [msgspec.structs.replace(command, reply_to=None) for command in side.commands]
    assert sent == [command for n, (_, command) in enumerate(CALLS) if n not in (9, 11)]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("2030-01-01T12:00:00+02:00", datetime(2030, 1, 1, 10, tzinfo=UTC)),
        ("2030-01-02", datetime(2030, 1, 2, tzinfo=UTC)),
        (NOW, NOW),
        (None, None),
    ],
)
def test_a_submission_has_the_deadline_that_is_given(
    broker: MemoryBroker, given: Any, wanted: datetime | None
) -> None:
    with InboxSide(broker) as side, Client(broker=broker) as client:
        client.submit(WORK, deadline=given)

    assert side.only().deadline == wanted


def test_a_duration_is_a_deadline_from_now(broker: MemoryBroker) -> None:
    with InboxSide(broker) as side, Client(broker=broker) as client:
        before = datetime.now(UTC)
        client.submit(WORK, deadline="1h30m")
        after = datetime.now(UTC)

    assert before <= side.only().deadline - timedelta(hours=1.5) <= after


@pytest.mark.parametrize("given", ["soon", "", "2h later", "-1s", datetime(2030, 1, 1)])  # noqa: DTZ001
def test_a_deadline_that_is_no_time_is_refused(broker: MemoryBroker, given: Any) -> None:
    client = Client(broker=broker, answer_seconds=0.01)

    with pytest.raises(UsageError, match="the deadline"):
        client.submit(WORK, deadline=given)

    assert broker.depth(inbox_queue()) == 0
