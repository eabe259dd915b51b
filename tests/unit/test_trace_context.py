"""Ids of traces and spans follow from what they are about, and every order carries them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.driving import Driver

from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import JobSubmitted
from warrener.domain.ids import child_job_id, step_id
from warrener.domain.ports import Outgoing
from warrener.domain.trace_context import (
    TRACEPARENT_CHARACTERS,
    SpanContext,
    parsed,
    span_of_attempt,
    span_of_job,
    span_of_opening,
    trace_of,
    traceparent,
)
from warrener.services.submission import Source, submission

UUIDS = st.uuids() | st.sampled_from([UUID(int=0), UUID(int=2**128 - 1)])
NUMBERS = st.integers(1, 2**31 - 1)
THE_SAME = "00-43391a6330c44a43a5357558d09f3132-{}-01"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TWO: dict[str, Any] = {
    "job": "two",
    "steps": {"a": {"call": "work"}, "sub": {"job": "one", "with": {}}},
}
ONE: dict[str, Any] = {"job": "one", "steps": {"b": {"call": "work"}}}


def definition(document: dict[str, Any]) -> JobDefinition:
    return msgspec.convert(document, JobDefinition)


@given(UUIDS, UUIDS, NUMBERS)
def test_what_is_made_is_what_the_standard_reads(root: UUID, step: UUID, attempt: int) -> None:
    text = traceparent(root, step, attempt)

    assert len(text) == TRACEPARENT_CHARACTERS
    assert parsed(text) == SpanContext(trace_of(root), span_of_attempt(step, attempt))
    assert text == traceparent(root, step, attempt)
    assert set(trace_of(root)) != {"0"}


@given(st.lists(st.tuples(UUIDS, NUMBERS), min_size=2, max_size=20, unique=True))
def test_distinct_things_have_distinct_spans(things: list[tuple[UUID, int]]) -> None:
    made = [kind(*thing) for thing in things for kind in (span_of_attempt, span_of_opening)]
    made += [span_of_job(*thing) for thing in things]

    assert len(set(made)) == len(made)
    assert all(len(span) == 16 and int(span, 16) for span in made)


def test_the_ids_are_those_of_every_version_of_the_program() -> None:
    root = UUID("43391a63-30c4-4a43-a535-7558d09f3132")

    assert trace_of(root) == root.hex
    assert traceparent(root, step_id(root, "load"), 1) == THE_SAME.format("150ba0fcc20849b7")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00",
        CALLER.upper(),
        CALLER + "-x",
        CALLER + "\n",
        CALLER.replace("00-", "ff-", 1),
        CALLER.replace("b7ad6b7169203331", "0" * 16),
        CALLER.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        CALLER.replace("b", "\u0661"),
    ],
)
def test_what_names_no_span_is_none(text: str | None) -> None:
    assert parsed(text) is None


def test_a_later_version_of_the_standard_may_say_more() -> None:
    assert parsed("cc" + CALLER[2:] + "-what-comes") == parsed(CALLER)


def test_every_order_of_a_tree_carries_its_own_span_in_the_trace_of_the_root() -> None:
    driver = Driver()
    root = driver.submit(definition(TWO), {}, {"one": definition(ONE)})
    child = child_job_id(step_id(root, "sub"))

    first, below = driver.order("a"), driver.order("b")

    assert (first.job, below.job) == (root, child)
    assert first.context["traceparent"] == traceparent(root, step_id(root, "a"), 1)
    assert below.context["traceparent"] == traceparent(root, step_id(child, "b"), 1)


def test_the_same_order_sent_again_carries_the_same_and_the_next_attempt_another() -> None:
    driver = Driver()
    root = driver.submit(definition(ONE), {})
    first = driver.order("b")

    (again,) = driver.controller.outbox.open_orders()
    driver.fail(first, outcome="failed")
    driver.wait(3600)

    assert isinstance(again, Outgoing)
    assert again.traceparent == first.context["traceparent"]
    assert driver.order("b").attempt == 2
    assert driver.order("b").context["traceparent"] == traceparent(root, first.step, 2)


@pytest.mark.parametrize(("given", "kept"), [(CALLER, CALLER), ("nonsense", None), (None, None)])
def test_the_span_of_who_submits_is_kept_if_it_is_one(given: str | None, kept: str | None) -> None:
    driver = Driver()

    batch = driver.handle("s", submission(Source(definition(ONE)), {}, key="k", traceparent=given))

    (event,) = [e.event for e in batch.events if isinstance(e.event, JobSubmitted)]
    assert event.traceparent == kept
