"""What people are told of an event, and what they are not told."""

from __future__ import annotations

import json
import shlex
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.histories import REPORT, History
from support.notices import FORM, Requests

from warrener.domain.control_events import UserActionRequested
from warrener.domain.events import Error, JobFailed, JobRerun
from warrener.domain.notices import FAILED, KINDS, REMINDED, REQUESTED, Notification
from warrener.domain.payloads import Payload
from warrener.services.notices import Notices, answer_command


def told(history: History, wanted: Any = KINDS) -> list[Notification]:
    """Return all that a history is told of, as things stand at its end."""
    notices = Notices(history.store, wanted)
    found = [
        notices.of(each.recorded) for each in history.store.log if notices.concerns(each.recorded)
    ]
    return [notification for notification in found if notification is not None]


def test_a_request_is_told_with_all_that_an_answer_needs() -> None:
    requests = Requests()
    job = requests.job(labels={"team": "red"})
    request = requests.ask(job)

    (notification,) = told(requests.history)

    assert notification.event == REQUESTED
    assert notification.at == requests.history.now
    assert (notification.job, notification.root, notification.name) == (job, job, "report")
    assert (notification.path, notification.labels) == ("load", {"team": "red"})
    assert (notification.request, notification.action) == (request, "reconnect")
    assert (notification.cause, notification.message) == ("facebook:a", "Reconnect your page")
    assert (notification.form, notification.reminder, notification.error) == (FORM, 0, None)
    assert notification.answer == f"warrener answer {request} --data '{{\"token\": ...}}'"


def test_a_request_of_a_child_job_names_the_root() -> None:
    requests = Requests()
    top = requests.job()
    child = requests.history.open_child(top, "sub", REPORT)
    requests.ask(child)

    (notification,) = told(requests.history)

    assert (notification.job, notification.root) == (child, top)


def test_the_newest_reminder_is_told_with_what_was_asked() -> None:
    requests = Requests()
    request = requests.ask(requests.job())
    for number in (1, 2, 3):
        requests.remind(request, number)

    first, second = told(requests.history)

    assert (first.event, first.reminder) == (REQUESTED, 0)
    assert (second.event, second.reminder) == (REMINDED, 3)
    assert (second.request, second.message, second.form) == (request, first.message, FORM)
    assert first.id != second.id


@pytest.mark.parametrize("settle", ["answer", "withdraw"])
def test_a_request_that_is_settled_is_not_told(settle: str) -> None:
    requests = Requests()
    job = requests.job()
    settled, still_open = requests.ask(job), requests.ask(job)
    requests.remind(settled, 1)
    getattr(requests, settle)(settled)

    assert [each.request for each in told(requests.history)] == [still_open]


def test_a_failed_root_job_is_told_without_its_traceback() -> None:
    requests = Requests()
    job = requests.job()
    error = Error(code="error", message="no", traceback="password = 'hunter2'", path="load")
    requests.history.write(job, JobFailed, error=error)

    (notification,) = told(requests.history)

    assert (notification.event, notification.job, notification.request) == (FAILED, job, None)
    assert notification.error == Error(code="error", message="no", path="load")
    assert notification.answer is None


def test_a_failed_child_job_is_not_told() -> None:
    requests = Requests()
    child = requests.history.open_child(requests.job(), "sub", REPORT)
    requests.history.fail_job(child)

    assert told(requests.history) == []


def test_a_failed_job_that_was_begun_anew_is_not_told() -> None:
    requests = Requests()
    job = requests.job()
    requests.history.fail_job(job)
    requests.history.write(job, JobRerun, generation=2, step="load", steps=("load",), key="k")

    assert told(requests.history) == []


def test_only_what_is_wanted_is_told() -> None:
    requests = Requests()
    job = requests.job()
    requests.remind(requests.ask(job), 1)
    requests.history.fail_job(job)

    assert [each.event for each in told(requests.history, {FAILED})] == [FAILED]
    assert [each.event for each in told(requests.history, {REMINDED})] == [REMINDED]
    assert told(requests.history, set()) == []


def test_an_id_is_the_same_whoever_makes_the_notification() -> None:
    one, two = (Requests() for _ in range(2))
    for requests in (one, two):
        requests.ask(requests.job())

    assert told(one.history) == told(two.history)


@pytest.mark.parametrize("text", ["true", "[]", "3"])
def test_a_form_that_is_no_object_is_left_out(text: str) -> None:
    requests = Requests()
    requests.ask(requests.job(), form=json.loads(text))

    assert told(requests.history)[0].form is None


def test_a_form_that_the_log_keeps_apart_is_left_out() -> None:
    requests = Requests()
    job = requests.job()
    requests.history.write(
        UUID(int=9),
        UserActionRequested,
        action="a",
        subject="s",
        form=Payload(blob="0" * 64, size=1_000_000),
        job=job,
        path="load",
    )

    assert told(requests.history)[0].form is None


def test_a_request_of_a_job_that_is_not_in_the_log_is_not_told() -> None:
    requests = Requests()
    requests.ask(UUID(int=404))

    assert told(requests.history) == []


@pytest.mark.parametrize(
    ("form", "data"),
    [
        (None, None),
        ({}, "..."),
        ({"properties": []}, "..."),
        ({"properties": {"a": {}, "b c": {}}}, '{"a": ..., "b c": ...}'),
        ({"properties": {"'; rm -rf / #": {}}}, '{"\'; rm -rf / #": ...}'),
    ],
)
def test_the_command_that_answers_is_safe_to_paste(form: Any, data: str | None) -> None:
    words = shlex.split(answer_command(UUID(int=9), form))

    assert words[:3] == ["warrener", "answer", str(UUID(int=9))]
    assert words[3:] == ([] if data is None else ["--data", data])
    if data is not None:  # what is not filled in cannot be sent by mistake
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(data)
