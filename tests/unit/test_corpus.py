"""What released versions have recorded is replayed for ever, and says what it said then."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.corpus import CORPUS, EVENTS_MAX, kept, lost, recorded, told_at
from support.history_files import queries_of

from warrener.adapters.codec import TOPICS, EventMapper
from warrener.domain.control_events import FlowSampled, LogTaken, StarvationEvent
from warrener.domain.events import EventPruned
from warrener.domain.ports import EventStore
from warrener.services.histories.file_format import VERSION
from warrener.services.histories.read import read_header, read_history
from warrener.services.partial_log import PartialLog

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ("0.1",)  # those that are recorded; none ever goes
OF_NO_TREE = (FlowSampled, StarvationEvent, LogTaken, EventPruned)
UNRECORDED: set[str] = set()  # types of events that are newer than the last recorded version
FILES = [pytest.param(file, id=f"{file.parent.name}/{file.name}") for file in recorded()]


def log_of(file: Path) -> PartialLog:
    return read_history(file, EventMapper()).log


def topics(log: EventStore) -> Iterator[str]:
    mapper = EventMapper()
    for each in log.read(0, EVENTS_MAX):
        yield mapper.to_stored_event(each.recorded).topic


@pytest.mark.parametrize("file", FILES)
def test_a_recorded_history_says_what_it_said_when_it_was_recorded(file: Path) -> None:
    history, then = read_history(file, EventMapper()), kept(file)

    assert then["root"] == str(history.header.root)
    assert len(then["moments"]) == 6
    for moment in then["moments"]:
        now = told_at(history.log, history.header.root, moment["position"])
        assert list(lost(moment, now)) == []


@pytest.mark.parametrize("file", FILES)
def test_a_recorded_history_ends_in_the_state_that_its_first_line_says(file: Path) -> None:
    header, log = read_header(file), log_of(file)
    queries = queries_of(log)

    assert header.version <= VERSION
    assert queries.show(header.root).state == header.state
    assert log.head() == header.last
    assert len(list(queries.history(header.root, tree=True))) <= header.events


def test_every_version_is_there_and_has_all_that_its_readers_must_know() -> None:
    folders = {file.parent.name for file in recorded()}
    assert folders == set(VERSIONS) == {each.name for each in CORPUS.iterdir() if each.is_dir()}
    first = [read_header(file) for file in recorded() if file.parent.name == "0.1"]
    assert len(first) >= 8
    assert {each.version for each in first} == {1}
    assert any(each.blobs for each in first)
    assert any(each.jobs > 3 for each in first)
    assert any("key *password*" in each.redaction.counts for each in first)
    assert {file.suffix for file in recorded()} == {".jsonl", ".zst"}


def test_every_type_of_event_that_a_tree_can_have_is_in_the_corpus() -> None:
    possible = {topic for topic, kind in TOPICS.items() if not issubclass(kind, OF_NO_TREE)}

    found = {topic for file in recorded() for topic in topics(log_of(file))}

    assert possible - found == UNRECORDED


def test_a_version_that_is_recorded_is_not_recorded_again() -> None:
    command = [sys.executable, str(ROOT / "ops" / "histories" / "record.py")]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 2
    assert "is recorded already" in done.stderr


def test_what_is_not_said_any_more_is_found() -> None:
    was = {"a": [1, {"b": None}], "c": 2}

    assert list(lost(was, {"a": [1, {"b": None, "new": 3}], "c": 2})) == []
    assert list(lost(was, {"a": [1, {"b": 4}]})) == [".a[1].b was None, is 4", ".c is gone"]
    assert list(lost(was, {"a": [1], "c": 2})) == [".a was [1, {'b': None}], is [1]"]
