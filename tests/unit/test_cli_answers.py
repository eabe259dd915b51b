"""`actions` and `answer`: which request is meant, and which answers are not sent."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from support.desk import ASKED, FORM, WHO, Desk, request_of, write

from warrener.domain.control_events import UserActionAnswered
from warrener.domain.messages import AnswerUserAction
from warrener.domain.payloads import Payload
from warrener.domain.ports import EventStore
from warrener.services.cli.app import run


def test_an_answer_names_its_request_by_id_cause_or_action(
    desk: Desk, fleet_store: EventStore
) -> None:
    made = request_of(fleet_store, 1, "reconnect", "facebook:ada", FORM)
    request_of(fleet_store, 2, "approve", "invoice:7")
    data = ("--data", '{"token": "t-1"}')

    for name in (str(made), made.hex[:8], "facebook:ada", "reconnect"):
        code, document = desk("answer", name, *data, *ASKED)
        assert (code, document) == (0, {"command": "answer", "request": str(made)})

    answer = AnswerUserAction(request=made, data=msgspec.Raw(b'{"token":"t-1"}'), **WHO)
    sent = [msgspec.structs.replace(command, reply_to=None) for command in desk.side.commands]
    assert sent == [answer] * 4


def test_an_action_that_two_requests_have_is_ambiguous(desk: Desk, fleet_store: EventStore) -> None:
    first = request_of(fleet_store, 1, "reconnect", "facebook:ada")
    second = request_of(fleet_store, 2, "reconnect", "facebook:bob")

    code, message = desk("answer", "reconnect")

    assert code == 2
    assert "names several requests" in message
    assert str(first) in message
    assert str(second) in message
    assert desk.side.commands == []
    assert desk("answer", "facebook:bob")[0] == 0


def test_what_is_answered_already_is_no_longer_open(desk: Desk, fleet_store: EventStore) -> None:
    made = request_of(fleet_store, 1, "reconnect", "facebook:ada")
    write(fleet_store, made, UserActionAnswered, data=Payload(json="null"))

    assert desk("answer", "reconnect")[0] == 2
    assert desk.side.commands == []
    assert desk("answer", str(made))[0] == 0  # the reactor says what became of it


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, r"reconnect wants token \(text\), days \(whole number, default 7\): give --data"),
        ("{}", "data: missing: token"),
        ('{"token": 1}', "data.token: 1 is not of type 'string'"),
        ("[", "not JSON"),
    ],
)
def test_an_answer_that_does_not_fit_the_form_is_not_sent(
    desk: Desk, fleet_store: EventStore, data: str | None, said: str
) -> None:
    request_of(fleet_store, 1, "reconnect", "facebook:ada", FORM)

    code, message = desk("answer", "reconnect", *([] if data is None else ["--data", data]))

    assert code == 2
    assert re.search(said, message), message
    assert desk.side.commands == []


def test_a_request_without_a_form_is_answered_with_nothing(
    desk: Desk, fleet_store: EventStore
) -> None:
    made = request_of(fleet_store, 1, "restart", "host:a")

    assert desk("answer", "restart", *ASKED)[0] == 0

    assert desk.side.only() == AnswerUserAction(request=made, **WHO)


def test_open_requests_are_listed(desk: Desk, fleet_store: EventStore, capsys: Any) -> None:
    made = request_of(fleet_store, 1, "reconnect", "facebook:ada", FORM)
    request_of(fleet_store, 2, "approve", "invoice:\x1b[2J")

    assert (
        run(["actions", "--store", "sqlite:///jobs.db", "--cause", "facebook:ada", "--json"]) == 0
    )
    line = json.loads(capsys.readouterr().out)
    assert (line["action"], line["cause"], line["form"]) == ("reconnect", "facebook:ada", FORM)
    assert line["request"] == str(made)
    assert run(["actions", "--store", "sqlite:///jobs.db"]) == 0
    text = capsys.readouterr().out
    assert "reconnect" in text
    assert "\x1b" not in text


def test_where_nobody_is_asked_for_anything_that_is_said(desk: Desk, capsys: Any) -> None:
    assert run(["actions", "--store", "sqlite:///jobs.db"]) == 0
    assert run(["limits", "--store", "sqlite:///jobs.db"]) == 0

    assert (
        capsys.readouterr().out
        == "nobody is asked for anything\nno limit was changed, and none is in use\n"
    )
