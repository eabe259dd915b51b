"""History files are read whole and checked, or refused with the line that is wrong; never worse."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.driving import Driver
from support.everything import run
from support.history_files import MADE_AT, exported, imported, queries_of
from support.scale import scaled
from support.wire import JSON_VALUES

from warrener.adapters.codec import EventMapper
from warrener.adapters.sqlite_views import SqliteViewStore
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import UsageError, WarrenerError
from warrener.domain.events import JobSubmitted, Recorded
from warrener.domain.payloads import Payload
from warrener.domain.ports import Positioned
from warrener.domain.step_events import StepSucceeded
from warrener.projections.why.model import Place
from warrener.services.histories import file_lines
from warrener.services.histories.export import Exporter, Source
from warrener.services.histories.read import is_history, read_header, read_history
from warrener.services.histories.rules import Rules
from warrener.services.projector import catch_up
from warrener.services.why import LogPast, Moment, ask

SECONDS_MAX = 10.0
Lines = list[dict[str, Any]]


@lru_cache(1)
def valid() -> bytes:
    """Return the file of a small tree with a child, a blob, a person who was asked, and a limit."""
    driver = Driver()
    leaf = definition("leaf", only={"call": "a.b"})
    tree = definition(
        "tree",
        first={"call": "a.b", "limits": [{"name": "few", "slots": 2}]},
        below={"job": "leaf", "with": {}},
        asked={"wait": {"for": "go", "form": {"type": "boolean"}}},
    )
    root = driver.submit(tree, {"text": "ä" * 40_000}, {"leaf": leaf})
    driver.succeed(driver.order("first"), [1, 2.5, None, "\n"])
    driver.fail(driver.order("only"))
    return exported(driver.store, root, Rules())


def definition(name: str, **steps: Any) -> JobDefinition:
    return msgspec.convert({"job": name, "steps": steps}, JobDefinition)


def lines_of(data: bytes) -> Lines:
    return [json.loads(line) for line in data.splitlines()]


def sealed(lines: Lines) -> bytes:
    """Return a file of these lines whose end fits them, as somebody may make it who wants to."""
    *body, end = lines
    text = b"".join(msgspec.json.encode(line) + b"\n" for line in body)
    end = {**end, "sha256": hashlib.sha256(text).hexdigest()}
    return text + msgspec.json.encode(end) + b"\n"


def refusal(tmp_path: Path, data: bytes) -> str:
    """Return what is said of a file that is not taken."""
    begun = time.monotonic()
    with pytest.raises(UsageError) as caught:
        imported(tmp_path / "file", data)
    assert time.monotonic() - begun < SECONDS_MAX
    assert str(tmp_path / "file") in str(caught.value)
    return str(caught.value).replace(str(tmp_path / "file"), "FILE")


# --- what is taken -------------------------------------------------------------------------------


def test_a_file_is_json_lines_with_a_header_blobs_events_and_an_end(tmp_path: Path) -> None:
    first, *rest, last = lines_of(valid())

    assert list(first) == [
        *("type", "format", "version", "made_at", "made_by", "root", "name", "state", "first"),
        *("last", "jobs", "events", "blobs", "redaction"),
    ]
    assert first["format"] == "warrener-history"
    assert (first["version"], first["jobs"], first["blobs"]) == (1, 2, 1)
    assert first["made_at"] == msgspec.json.decode(msgspec.json.encode(MADE_AT))
    assert {line["type"] for line in rest} == {"blob", "event"}
    events = [line for line in rest if line["type"] == "event"]
    assert [list(line) for line in events] == [
        ["type", "position", "stream", "version", "topic", "event"]
    ] * len(events)
    assert all(isinstance(line["event"], dict) for line in events)
    assert {"type": "blob", "value": {"text": "ä" * 40_000}} in [
        {name: value for name, value in line.items() if name != "name"} for line in rest
    ]
    assert (last["type"], last["events"], last["blobs"]) == ("end", len(events), 1)
    assert imported(tmp_path / "file", valid()).header.events == len(events)


def test_a_compressed_file_is_told_by_how_it_begins(tmp_path: Path) -> None:
    packed = zstandard.compress(valid())

    history = imported(tmp_path / "no-suffix", packed)

    assert history.header == imported(tmp_path / "plain", valid()).header
    assert is_history(tmp_path / "no-suffix")
    assert read_header(tmp_path / "no-suffix") == history.header


def test_other_files_are_no_histories(tmp_path: Path) -> None:
    for number, data in enumerate((b"", b"\n", b"{}\n", b'{"type":"JobSubmitted"}\n', b"\x28\xb5")):
        (tmp_path / str(number)).write_bytes(data)
        assert not is_history(tmp_path / str(number))
        assert "FILE:1: " in refusal(tmp_path, data)
    assert not is_history(tmp_path / "missing")
    assert not is_history(tmp_path)


def test_times_and_numbers_beyond_what_a_store_holds_do_not_hide_in_text(tmp_path: Path) -> None:
    lines = changed(lambda line: "params" in line["event"], at="2030-01-01T00:00:00")

    assert "has no time zone" in refusal(tmp_path, sealed(lines))


# --- what is refused -----------------------------------------------------------------------------


def changed(wanted: Callable[[dict[str, Any]], object], **fields: Any) -> Lines:
    """Return the lines, with other fields in the first event that is wanted."""
    lines = lines_of(valid())
    line = next(line for line in lines if line["type"] == "event" and wanted(line))
    for name, value in fields.items():
        if name in line:
            line[name] = value
        else:
            line["event"][name] = value
    return lines


def is_a(*topics: str) -> Callable[[dict[str, Any]], bool]:
    return lambda line: line["topic"] in [f"{topic}:1" for topic in topics]


def test_a_file_that_was_cut_off_says_so(tmp_path: Path) -> None:
    whole = valid()
    count = len(whole.splitlines())

    assert f"FILE:{count}: the end is missing" in refusal(tmp_path, whole[: whole.rindex(b"{")])
    assert "in the middle of a line" in refusal(tmp_path, whole[:-20])
    assert "in the middle of a line" in refusal(tmp_path, whole[:-1])


def test_a_file_that_was_changed_says_so(tmp_path: Path) -> None:
    lines = valid().splitlines(keepends=True)
    changed = b"".join(lines[:-1]).replace(b'"made_by":"warrener 0"', b'"made_by":"warrener 1"')

    said = refusal(tmp_path, changed + lines[-1])

    assert f"FILE:{len(lines)}: the file was changed after it was made" in said


def test_a_file_that_goes_on_after_its_end_is_refused(tmp_path: Path) -> None:
    assert "goes on after its end" in refusal(tmp_path, valid() + b"{}\n")
    packed = zstandard.compress(valid())
    assert "goes on after its end" in refusal(tmp_path, packed + zstandard.compress(b"{}\n"))


def test_another_version_of_the_format_names_the_version(tmp_path: Path) -> None:
    lines = lines_of(valid())
    lines[0]["version"] = 2

    assert "FILE:1: the format has version 2, known here is 1" in refusal(tmp_path, sealed(lines))


def test_events_of_a_newer_version_name_the_program_that_made_the_file(tmp_path: Path) -> None:
    lines = changed(is_a("StepSucceeded"), topic="StepImproved:1")

    said = refusal(tmp_path, sealed(lines))

    assert "does not know events of type 'StepImproved:1': use warrener 0" in said


@pytest.mark.parametrize(
    ("topic", "fields", "words"),
    [
        ("StepSucceeded", {"position": 1}, "another event at position 1"),
        ("StepSucceeded", {"position": 0}, "no position of a log"),
        ("StepSucceeded", {"position": 2**70}, ""),
        ("StepSucceeded", {"position": "5"}, "Expected `int`"),
        ("StepSucceeded", {"version": 9}, "does not follow what is before"),
        ("StepReleased", {"version": 2}, "does not follow what is before"),
        ("StepReleased", {"version": 0}, "does not follow what is before"),
        ("StepSucceeded", {"stream": str(UUID(int=1))}, "can be in stream"),
        ("StepSucceeded", {"event": []}, "cannot be read"),
        ("StepSucceeded", {"at": 5}, "cannot be read"),
        ("StepSucceeded", {"at": "0001-01-01T00:00:00Z"}, "too far away"),
        ("StepSucceeded", {"job": str(UUID(int=1))}, "can be in stream"),
        ("StepSucceeded", {"attempt": 2**80}, ""),
        ("StepSucceeded", {"result": {"json": "{"}}, "a value cannot be used"),
        ("StepSucceeded", {"result": {"json": "[" * 50_000}}, "a value cannot be used"),
        ("StepSucceeded", {"result": {}}, "either its JSON or the name of a blob"),
        ("StepSucceeded", {"result": {"blob": "ab", "size": 1}}, "blob ab was not there before"),
        ("JobSubmitted", {"params": {"blob": "ab", "size": 1}}, "blob ab was not there before"),
        ("JobSubmitted", {"root": str(UUID(int=1))}, "is not of the tree"),
        ("JobSubmitted", {"definition": "0" * 64}, "the definition 000"),
        ("JobSubmitted", {"depth": 7}, "not at its depth"),
        ("DefinitionStored", {"json": "{}"}, "does not fit its hash"),
        ("DefinitionStored", {"name": 5}, "cannot be read"),
        ("UserActionRequested", {"topic": "UserActionAnswered:1"}, "cannot be read"),
        ("StepSucceeded", {"topic": "LogTaken:1"}, "no LogTaken can be in stream"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(
    topic: str, fields: dict[str, Any], words: str, tmp_path: Path
) -> None:
    lines = changed(is_a(topic), **fields)
    number = next(
        number for number, line in enumerate(lines, 1) if line != lines_of(valid())[number - 1]
    )

    said = refusal(tmp_path, sealed(lines))

    assert said.startswith(f"FILE:{number}: ")
    assert words in said


@pytest.mark.parametrize(
    ("topic", "fields", "words"),
    [
        (
            "JobAdvanced",
            {"items": {"first": {"failed": [7]}}},
            "JobAdvanced cannot be at this place",
        ),
        ("JobAdvanced", {"settled": {"nothing": "failed"}}, "has no step 'nothing'"),
        ("JobAdvanced", {"fan_outs": {"first": {"count": 10**9}}}, "a fan-out over 1000000000"),
    ],
)
def test_an_event_that_cannot_follow_those_before_it_is_refused_with_its_line(
    topic: str, fields: dict[str, Any], words: str, tmp_path: Path
) -> None:
    said = refusal(tmp_path, sealed(changed(is_a(topic), **fields)))

    assert re.match(r"FILE:\d+: ", said)
    assert words in said


def test_a_definition_that_is_no_job_is_refused_even_where_it_was_redacted(tmp_path: Path) -> None:
    lines = changed(is_a("DefinitionStored"), json='{"job":"x","steps":{"a":{"after":["a"]}}}')
    found = next(line for line in lines if line.get("topic") == "DefinitionStored:1")
    lines[0]["redaction"]["definitions"] = [found["event"]["hash"]]

    assert "is not valid" in refusal(tmp_path, sealed(lines))


def test_a_blob_that_does_not_fit_its_name_is_refused(tmp_path: Path) -> None:
    for fields in ({"value": 5}, {"text": "5"}, {"name": "ab"}, {"text": "x"}):
        lines = lines_of(valid())
        blob = next(line for line in lines if line["type"] == "blob")
        if "name" not in fields:
            del blob["value"]
        blob.update(fields)
        assert "does not fit its hash" in refusal(tmp_path, sealed(lines))
    blob.update(value=5, text="5")
    assert "either a value or a text" in refusal(tmp_path, sealed(lines))


def test_a_tree_whose_parts_do_not_agree_with_the_header_is_refused(tmp_path: Path) -> None:
    for name, value in (("first", 0), ("last", 1_000), ("jobs", 1), ("events", 1)):
        lines = lines_of(valid())
        lines[0][name] = value
        assert "more or less than the first line says" in refusal(tmp_path, sealed(lines))
    lines[0] = {**lines[0], "events": lines_of(valid())[0]["events"], "root": str(UUID(int=1))}
    assert "is not of the tree" in refusal(tmp_path, sealed(lines))


def test_a_line_and_a_file_and_the_number_of_lines_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_lines, "LINE_BYTES_MAX", 1_000_000)
    head = valid().splitlines(keepends=True)[0]
    assert "the line has over" in refusal(tmp_path, head + b"[" * 3_000_000)
    assert "the line has over" in refusal(tmp_path, zstandard.compress(head + b"0" * 100_000_000))

    monkeypatch.setattr(file_lines, "LINES_MAX", 3)
    assert "FILE:4: the file has over 3 lines" in refusal(tmp_path, valid())
    monkeypatch.setattr(file_lines, "BYTES_MAX", 1_000)
    assert "the file has over 1000 bytes" in refusal(tmp_path, valid())


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = zstandard.compress(b" " * 200_000_000)
    assert len(bomb) < 50_000

    assert "the line has over" in refusal(tmp_path, bomb)


@pytest.mark.parametrize("nested", ["[" * 200_000, '{"a":' * 200_000, "[" * 90_000 + "]" * 90_000])
def test_deep_nesting_is_refused(nested: str, tmp_path: Path) -> None:
    head = valid().splitlines(keepends=True)[0]

    assert "FILE:1: " in refusal(tmp_path, nested.encode() + b"\n")
    assert "FILE:2: " in refusal(tmp_path, head + nested.encode() + b"\n")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(UsageError, match=str(path)):
            read_history(path, EventMapper())


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(UsageError, match="pipe is no regular file: copy it into one first"):
        read_history(tmp_path / "pipe", EventMapper())


def test_memory_does_not_grow_with_the_history_that_is_written() -> None:
    few, many = peak(100), peak(600)

    assert many - few < 1_000_000  # of names and short secrets; the values have 10,000,000


def peak(count: int) -> int:
    """Return the memory that it takes to write a history of so many events, each with a blob."""
    root = UUID(int=1)
    fields = {"name": "j", "version": 1, "definition": "d", "params_digest": "", "root": root}
    first = JobSubmitted(at=MADE_AT, cause="c", params=Payload(json="{}"), **fields)

    class Events:
        def __iter__(self) -> Iterator[Positioned]:
            yield Positioned(1, Recorded(root, 1, first))
            for number in range(2, count):
                result = Payload(blob=f"{number:064x}", size=20_000)
                event = StepSucceeded(at=MADE_AT, cause="c", job=root, path="a", result=result)
                yield Positioned(number, Recorded(UUID(int=number), 1, event))

    def blob(name: str) -> bytes:
        return msgspec.json.encode({"token": f"secret-{name[-3:]}", "text": name * 300})

    source = Source(root, Events(), blob, EventMapper())
    tracemalloc.start()
    try:
        with Path("/dev/null").open("wb") as file:
            Exporter(source, Rules()).write(file, MADE_AT, "w", compressed=False)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- whatever comes ------------------------------------------------------------------------------


@lru_cache(1)
def rich() -> list[bytes]:
    """Return files with much in them."""
    worlds = [run(seed) for seed in range(6)]
    return [valid(), *(exported(world.log, world.roots[0], Rules()) for world in worlds)]


def taken(tmp_path: Path, data: bytes) -> bool:
    """Say whether a file is taken; if so everything can be asked of it."""
    begun = time.monotonic()
    try:
        history = imported(tmp_path / "file", data)
        asked(history.log, history.header.root)
    except WarrenerError:
        return False
    finally:
        assert time.monotonic() - begun < SECONDS_MAX
    return True


def asked(log: Any, root: UUID) -> None:
    views = SqliteViewStore(":memory:")
    catch_up(log, views)
    if views.stopped():  # the command line refuses it then
        return
    queries = queries_of(log)
    found = [each.recorded for each in log.read(0, 10_000)]
    jobs = [each for each in found if isinstance(each.event, JobSubmitted)]
    list(queries.history(root, tree=True))
    list(queries.timeline(root, tree=True))
    queries.tree(root)
    for each in jobs:
        shown = queries.show(each.originator_id)
        past = LogPast(log, Moment(log.head(), MADE_AT))
        ask(past, Place(each.originator_id))
        for name in shown.steps:
            ask(past, Place(each.originator_id, name))


quiet = settings(
    max_examples=scaled(300),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)


@quiet
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    assert not taken(tmp_path, data)
    head = valid().splitlines(keepends=True)[0]
    assert not taken(tmp_path, head + data)


@quiet
@given(st.integers(0, 6), st.integers(0, 2**32))
def test_a_file_with_other_bytes_is_refused(tmp_path: Path, which: int, seed: int) -> None:
    chance, data = Random(seed), bytearray(rich()[which])
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data))
        data[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))

    assert bytes(data) == rich()[which] or not taken(tmp_path, bytes(data))


@quiet
@given(st.integers(0, 6), st.integers(0, 2**32), JSON_VALUES)
def test_a_file_that_is_sealed_again_is_taken_whole_or_refused(
    tmp_path: Path, which: int, seed: int, value: Any
) -> None:
    chance, lines = Random(seed), lines_of(rich()[which])
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        spoil(chance, lines, value)

    taken(tmp_path, sealed(lines))


def spoil(chance: Random, lines: Lines, value: Any) -> None:
    """Leave out, double, swap or change something of some line but the last."""
    number = chance.randrange(len(lines) - 1)
    kind = chance.randrange(8)
    if kind == 0 and len(lines) > 2:
        del lines[number]
    elif kind == 1:
        lines.insert(chance.randrange(len(lines) - 1), lines[number])
    elif kind == 2:
        other = chance.randrange(len(lines) - 1)
        lines[number], lines[other] = lines[other], lines[number]
    else:
        places = list(inside(lines[number]))
        holder, key = chance.choice(places)
        old = holder[key]
        others = [value, None, "", -1, 2**63, {}, [], "x" * 50, old]
        found = [
            inner
            for line in lines
            for where, name in inside(line)
            if isinstance(inner := where[name], type(old))
        ]
        chosen = chance.choice(found) if kind > 4 and found else chance.choice(others)
        holder[key] = deepcopy(chosen)  # never a part of itself


def inside(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a JSON value, as what holds it and its key there."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from inside(value[key])
