"""Running a recorded attempt again: the order it gets, and what counts as going as recorded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from support.endpoints_orders import SteppingClock

from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import (
    PermanentError,
    RetryLater,
    UsageError,
    UserActionRequired,
)
from warrener.domain.ids import compensation
from warrener.projections.diff.values import ABSENT, Difference, first_difference
from warrener.services.debugging import Case, Debugged, case_of, comparable, run_here
from warrener.services.endpoints import Registry, endpoint
from warrener.services.perform import current_step
from warrener.services.places import Place
from warrener.testing import LocalRun


def run_of(registry: Registry, **steps: Any) -> LocalRun:
    definition = msgspec.convert({"job": "trial", "steps": steps}, JobDefinition)
    run = LocalRun(definition, registry)
    run.start()
    return run


def case(run: LocalRun, path: str, number: int | None = None) -> Case:
    assert run.job is not None
    found = case_of(run._parts.store, Place(run.job, path), number)
    assert found is not None
    return found


def again(run: LocalRun, registry: Registry, path: str, number: int | None = None) -> Debugged:
    return run_here(case(run, path, number), registry, SteppingClock())


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_a_large_input_is_run_whole_and_shown_by_its_hash(registry: Registry) -> None:
    text = "x" * 70_000
    endpoint("give", registry=registry)(lambda: text)
    endpoint("measure", registry=registry)(lambda text: len(text) + 0)
    given = "${{ steps.give.result }}"
    run = run_of(
        registry, give={"call": "give"}, measure={"call": "measure", "with": {"text": given}}
    )

    found = again(run, registry, "measure")

    assert found.result == 70_000
    assert set(found.args) == {"digest", "size"}
    assert again(run, registry, "give").same is True


def test_the_persons_answer_is_the_one_that_the_attempt_had(registry: Registry) -> None:
    seen: list[Any] = []

    @endpoint("ask", registry=registry)
    def ask() -> str:
        seen.append(current_step().answer)
        if current_step().answer is None:
            raise UserActionRequired("approve", cause="money")
        return "done"

    run = run_of(registry, ask={"call": "ask"})
    run.answer({"yes": True})
    first, second = again(run, registry, "ask", 1), again(run, registry, "ask", 2)

    assert seen == [None, {"yes": True}, None, {"yes": True}]
    assert (first.outcome, first.user_action, first.same) == ("user_action", "money", True)
    assert (first.recorded.outcome, first.recorded.user_action) == ("parked", "money")
    assert (second.outcome, second.same) == ("succeeded", True)


def test_the_last_attempt_that_failed_is_the_one_to_look_at(registry: Registry) -> None:
    @endpoint("third", registry=registry)
    def third() -> int:
        if current_step().attempt < 3:
            raise RetryLater(1, code="early")
        return current_step().attempt

    run = run_of(registry, third={"call": "third"})

    assert case(run, "third").order.attempt == 2
    assert case(run, "third", 3).order.attempt == 3
    assert [again(run, registry, "third", number).same for number in (1, 2, 3)] == [True] * 3
    with pytest.raises(UsageError, match="no attempt 4: it has 1, 2, 3"):
        case(run, "third", 4)


def test_attempts_of_older_generations_are_found_by_their_numbers(registry: Registry) -> None:
    seen: list[int] = []
    endpoint("count", registry=registry)(lambda: seen.append(1) or len(seen))
    run = run_of(registry, count={"call": "count"})
    run.rerun("count")

    cases = [case(run, "count", number) for number in (1, 2)]

    assert [each.recording.generation for each in cases] == [1, 2]
    assert [bytes(each.result) for each in cases] == [b"1", b"2"]


def test_a_compensation_is_a_step_too(registry: Registry) -> None:
    endpoint("book", registry=registry)(lambda: 7)
    endpoint("undo", registry=registry)(lambda **_: "undone")

    @endpoint("fail", registry=registry)
    def fail() -> None:
        raise PermanentError("no")

    run = run_of(
        registry,
        book={"call": "book", "compensate": "undo"},
        fail={"call": "fail", "after": ["book"]},
    )

    found = again(run, registry, compensation("book"))

    assert (found.endpoint, found.result, found.same) == ("undo", "undone", True)


def test_a_step_that_never_went_out_has_no_case(registry: Registry) -> None:
    run = run_of(registry, calm={"set": {"a": 1}})

    assert run.job is not None
    assert case_of(run._parts.store, Place(run.job, "calm"), None) is None


def test_an_attempt_that_was_given_up_has_nothing_to_compare_with(registry: Registry) -> None:
    endpoint("work", registry=registry)(lambda: None)
    run = run_of(registry, work={"call": "work"})
    found = case(run, "work")
    given_up = msgspec.structs.replace(found.recording, ended=None)

    assert comparable(found)
    assert not comparable(msgspec.structs.replace(found, recording=given_up))


def test_failures_agree_by_code_and_type_whatever_the_message(registry: Registry) -> None:
    said: list[str] = ["first"]

    @endpoint("fail", registry=registry)
    def fail() -> None:
        raise PermanentError("broken", said[-1])

    run = run_of(registry, fail={"call": "fail"})
    said.append("second")
    same = again(run, registry, "fail")
    other = Registry()
    endpoint("fail", registry=other)(lambda: 1 / 0)
    differs = again(run, other, "fail")

    assert (same.same, same.error and same.error.message) == (True, "second")
    assert differs.difference is not None
    assert (differs.difference.path, differs.difference.recorded) == ("error.code", "broken")


def test_what_the_endpoint_raised_is_heard_while_its_step_is_current(registry: Registry) -> None:
    @endpoint("fail", registry=registry)
    def fail() -> None:
        raise PermanentError("broken")

    run = run_of(registry, fail={"call": "fail"})
    heard: list[tuple[str, str]] = []
    run_here(
        case(run, "fail"),
        registry,
        SteppingClock(),
        lambda error: heard.append((type(error).__name__, current_step().path)),
    )

    assert heard == [("PermanentError", "fail")]


@pytest.mark.parametrize(
    ("left", "right", "found"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, None),
        (1, 1.0, Difference("", 1, 1.0)),
        (1, True, Difference("", 1, True)),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, Difference("a[1].b", 2, 3)),
        ([1], [1, None], Difference("[1]", ABSENT, None)),
        ({"a": None}, {}, Difference("a", None, ABSENT)),
        ({}, {"odd name": 1}, Difference('["odd name"]', ABSENT, 1)),
        ("x", "x", None),
    ],
)
def test_the_first_difference_has_its_place(
    left: Any, right: Any, found: Difference | None
) -> None:
    assert first_difference(left, right) == found
