"""What a dry run takes for a record: whole trees, however deep or wide, and nothing less."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.dry_runs import ORDER, dry_run, recorded, source
from support.history_files import exported, imported

from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import PrunedJob, StoredDataError
from warrener.domain.events import DefinitionStored, EventPruned, JobSubmitted, Recorded
from warrener.domain.ports import Positioned
from warrener.domain.step_events import StepReleased
from warrener.services.dry_run import record as records
from warrener.services.dry_run.record import Record
from warrener.services.dry_run.run import DryRun
from warrener.services.histories.rules import Rules
from warrener.services.logs import LogSet
from warrener.services.partial_log import PartialLog
from warrener.services.submission import Source
from warrener.testing import LocalRun

Edit = Callable[[Positioned], Positioned | None]


def edited(edit: Edit) -> list[Positioned]:
    """Return the history of a run, each event as it was edited, or left out."""
    run = recorded()
    assert run.job is not None
    found = (edit(each) for each in run._parts.queries().tree_events(run.job))
    return [each for each in found if each is not None]


def without(kind: type[Any], number: int = 0) -> Edit:
    left = [number]

    def edit(each: Positioned) -> Positioned | None:
        if isinstance(each.recorded.event, kind):
            left[0] -= 1
            if left[0] == -1:
                return None
        return each

    return edit


def pruned(each: Positioned) -> Positioned:
    event = each.recorded.event
    if not isinstance(event, StepReleased):
        return each
    gone = EventPruned(
        at=event.at, cause=event.cause, topic="x", digest="0", job=event.job, archive="a-1"
    )
    stream, version = each.recorded.originator_id, each.recorded.originator_version
    return Positioned(each.position, Recorded(stream, version, gone))


def without_key(each: Positioned) -> Positioned:
    event = each.recorded.event
    if not isinstance(event, JobSubmitted):
        return each
    changed = msgspec.structs.replace(event, key=None)
    stream, version = each.recorded.originator_id, each.recorded.originator_version
    return Positioned(each.position, Recorded(stream, version, changed))


def test_a_history_that_lacks_an_event_is_refused():
    with pytest.raises(StoredDataError, match=r"not complete: of .*, event 1 is missing"):
        Record(edited(without(StepReleased)))


def test_a_history_that_lacks_how_a_job_began_is_refused():
    with pytest.raises(StoredDataError, match="not complete"):
        Record(edited(without(JobSubmitted)))


def test_a_history_without_a_key_is_refused():
    with pytest.raises(StoredDataError, match="does not tell the key"):
        Record(edited(without_key))


def test_a_history_that_was_pruned_is_refused():
    with pytest.raises(PrunedJob, match="archive a-1"):
        Record(edited(pruned))


def test_no_history_is_refused():
    with pytest.raises(StoredDataError, match="no root job"):
        Record([])


def test_a_history_that_is_too_long_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(records, "EVENTS_MAX", 10)
    read: list[Positioned] = []

    def events() -> Any:
        for each in edited(lambda each: each):
            read.append(each)
            yield each

    with pytest.raises(StoredDataError, match="more than 10 events"):
        Record(events())
    assert len(read) == 11


def test_a_job_whose_history_lacks_its_definition_cannot_be_judged():
    run = recorded()
    assert run.job is not None
    log = PartialLog(edited(without(DefinitionStored)))
    run_anew = DryRun(source())

    report = run_anew.job(run._parts.queries(), LogSet([run._parts.store]), run.job)
    with pytest.raises(StoredDataError, match="lacks the definition"):
        run_anew.record(Record(log.read(0, 10_000)))

    assert report.verdict == "same"


def test_sub_jobs_that_are_not_given_stay_as_they_were():
    main = msgspec.convert(ORDER, JobDefinition)

    assert dry_run(recorded(), Source(main)).verdict == "same"


def tower(depth: int) -> dict[str, Any]:
    return {
        "job": "tower",
        "params": {"type": "object"},
        "budget": {"depth": depth + 1, "steps": 100_000},
        "steps": {
            "floor": {"call": "floor", "with": {"n": "${{ params.n }}"}},
            "next": {
                "job": "tower",
                "with": {"n": "${{ params.n - 1 }}"},
                "when": "${{ params.n > 0 }}",
                "after": ["floor"],
            },
        },
    }


def built(definition: dict[str, Any]) -> Source:
    main = msgspec.convert(definition, JobDefinition)
    return Source(main, {main.name: main})


def test_a_change_deep_down_is_told_once_and_where_it_first_is():
    depth = 180
    run = LocalRun(built(tower(depth)).main, {"floor": lambda n: n})
    run._source = built(tower(depth))
    run.start({"n": depth})
    changed = tower(depth)
    changed["steps"]["floor"]["call"] = "storey"

    same = dry_run(run, built(tower(depth)))
    other = dry_run(run, built(changed), findings_max=1_000)

    assert (run.state, same.verdict) == ("succeeded", "same")
    assert [each.kind for each in other.findings] == ["endpoint-differs"] * (depth + 1)


def test_items_that_are_jobs_and_differ_alike_are_told_once():
    each = {"job": "tower", "for_each": "${{ params.ns }}", "with": {"n": "${{ item }}"}}
    town = {"job": "town", "params": {"type": "object"}, "steps": {"each": each}}
    changed = tower(5)
    changed["steps"]["floor"]["with"] = {"n": "${{ params.n + 1 }}"}
    sources = [
        Source(
            msgspec.convert(town, JobDefinition), {"tower": msgspec.convert(tower_, JobDefinition)}
        )
        for tower_ in (tower(5), changed)
    ]
    run = LocalRun(sources[0].main, {"floor": lambda n: n})
    run._source = sources[0]
    run.start({"ns": [0] * 40})

    report = dry_run(run, sources[1])

    assert [(f.path, f.kind, f.alike) for f in report.findings] == [
        ("each[0]/floor", "input-differs", 40)
    ]


def test_values_that_were_taken_out_of_a_history_are_noted(tmp_path: Path):
    steps = {
        "login": {"call": "login"},
        "load": {"call": "load", "with": {"token": "${{ steps.login.result.token }}"}},
    }
    definition = msgspec.convert({"job": "trial", "steps": steps}, JobDefinition)
    run = LocalRun(definition, {"login": lambda: {"token": "abc"}, "load": lambda token: 1})
    run.start()
    assert run.job is not None
    data = exported(run._parts.store, run.job, Rules())
    log = imported(tmp_path / "job.jsonl", data).log

    report = DryRun(Source(definition)).record(Record(log.read(0, 10_000), log.blob))

    assert report.verdict == "same"
    assert ["[redacted]" in note for note in report.notes] == [True]
