"""What is stored stays readable, and what cannot be read is named."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from eventsourcing.persistence import StoredEvent
from support.events import AT, recorded, stream_id

from warrener.adapters.codec import TOPICS, UPCASTERS, EventMapper
from warrener.domain import control_events, events, step_events
from warrener.domain.errors import StoredDataError
from warrener.domain.events import Event

GOLDEN = Path(__file__).parents[1] / "support" / "golden" / "events-v1.jsonl"
BASES = {
    events.JobEvent,
    events.JobSteered,
    events.JobEnded,
    step_events.StepEvent,
    control_events.UserActionEvent,
    control_events.StarvationEvent,
}


def golden_lines() -> list[tuple[str, bytes]]:
    lines = [
        msgspec.json.decode(line, type=GoldenLine) for line in GOLDEN.read_bytes().splitlines()
    ]
    return [(line.topic, bytes(line.state)) for line in lines]


class GoldenLine(msgspec.Struct):
    topic: str
    state: msgspec.Raw


def subclasses(class_: type[Event]) -> set[type[Event]]:
    found = set(class_.__subclasses__())
    return found.union(*map(subclasses, found))


@pytest.mark.parametrize(("topic", "state"), golden_lines())
def test_an_event_stored_long_ago_is_read_with_nothing_lost(topic: str, state: bytes) -> None:
    mapper = EventMapper()

    read = mapper.to_domain_event(StoredEvent(stream_id(1), 7, topic, state))

    assert (read.originator_id, read.originator_version) == (stream_id(1), 7)
    again = mapper.to_stored_event(read)
    if topic in TOPICS:
        assert (again.topic, again.state) == (topic, state)


def test_every_topic_has_golden_lines_that_together_have_all_its_fields() -> None:
    fields: dict[str, set[str]] = defaultdict(set)
    for topic, state in golden_lines():
        fields[topic] |= json.loads(state).keys()

    assert fields.keys() == TOPICS.keys() | UPCASTERS.keys()
    for topic, class_ in TOPICS.items():
        assert fields[topic] == set(class_.__struct_encode_fields__), topic


def test_every_event_class_has_exactly_one_topic_under_its_own_name() -> None:
    homes = {module.__name__ for module in (events, step_events, control_events)}
    concrete = {each for each in subclasses(Event) if each.__module__ in homes} - BASES

    assert set(TOPICS.values()) == concrete
    assert len(TOPICS) == len(concrete)
    assert all(topic.split(":")[0] == class_.__name__ for topic, class_ in TOPICS.items())


def test_an_id_given_as_text_comes_back_as_a_uuid() -> None:
    stored = EventMapper().to_stored_event(recorded(1, 1))

    read = EventMapper().to_domain_event(
        StoredEvent(str(stored.originator_id), 1, stored.topic, stored.state)
    )

    assert read == recorded(1, 1)
    assert isinstance(read.originator_id, UUID)


@pytest.mark.parametrize(
    ("topic", "state"),
    [
        ("JobVanished:1", b"{}"),
        ("warrener.domain.events:JobStarted", b"{}"),
        ("os:system", b'{"command":"true"}'),
        ("JobStarted:1", b"{"),
        ("JobStarted:1", b"\xff\xfe"),
        ("JobStarted:1", b"{}"),
        ("JobStarted:1", b"[]"),
        ("JobStarted:1", b'{"at":"yesterday","cause":"x"}'),
        ("JobStarted:1", b'{"cause":' + b"[" * 100_000),
    ],
)
def test_what_cannot_be_read_is_named_by_stream_version_and_topic(topic: str, state: bytes) -> None:
    with pytest.raises(StoredDataError) as caught:
        EventMapper().to_domain_event(StoredEvent(stream_id(5), 12, topic, state))

    text = str(caught.value)
    assert str(stream_id(5)) in text
    assert "event 12 of" in text
    assert topic in text


class Renamed(Event, frozen=True, kw_only=True):
    """An event type at its third version."""

    title: str
    size: int


def first_to_second(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "title": fields["name"]}


def second_to_third(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "size": len(fields["title"])}


UPCASTING = EventMapper(
    {"Renamed:3": Renamed},
    {
        "Renamed:1": (first_to_second, "Renamed:2"),
        "Renamed:2": (second_to_third, "Renamed:3"),
    },
)


def test_an_event_of_an_old_version_is_carried_over_all_versions_since() -> None:
    state = b'{"at":"2026-01-02T03:04:05Z","cause":"test","name":"warren"}'

    read = UPCASTING.to_domain_event(StoredEvent(stream_id(1), 1, "Renamed:1", state))

    assert read.event == Renamed(at=AT, cause="test", title="warren", size=6)


@pytest.mark.parametrize("state", [b"{}", b"[]", b'{"name":1}', b'{"name":"x"}'])
def test_an_old_event_that_is_broken_is_named_too(state: bytes) -> None:
    with pytest.raises(StoredDataError, match=r"event 3 of .*'Renamed:1'"):
        UPCASTING.to_domain_event(StoredEvent(stream_id(1), 3, "Renamed:1", state))
