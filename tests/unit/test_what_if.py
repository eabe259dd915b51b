"""Loads made of records: what is taken from a store, from a history, and from hostile files."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.virtual_fleet import START, Coming, record

from warrener.domain.control_events import FleetChanged, FlowChanged, LimitChanged
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import UsageError
from warrener.domain.events import JobEnded, Recorded
from warrener.domain.flow.settings import FlowSettings
from warrener.domain.ids import FLEET_ID, FLOW_ID, limit_id
from warrener.domain.ports import EventStore, Positioned
from warrener.domain.simulation.crews import Crew
from warrener.domain.step_events import StepEvent
from warrener.services.logs import LogSet
from warrener.services.simulate import runs
from warrener.services.simulate.facts import read_files, read_store
from warrener.services.simulate.fleets import asked_crews, recorded_crews
from warrener.services.simulate.what_if import (
    Load,
    Question,
    Rules,
    checked_policies,
    gather,
    simulate,
)
from warrener.services.submission import Source
from warrener.services.tree_queries import history_line

CHAIN: dict[str, Any] = {
    "job": "chain",
    "steps": {
        "a": {"call": "t.work", "with": {"seconds": 1}},
        "b": {"call": "t.work", "with": {"seconds": 2}, "after": ["a"], "queue": "big"},
    },
}
FAN: dict[str, Any] = {
    "job": "fan",
    "steps": {
        "first": {"call": "t.work", "with": {"seconds": 1}},
        "items": {
            "call": "t.work",
            "for_each": [1, 2, 3],
            "window": 1,
            "with": {"seconds": "${{ item }}"},
            "after": ["first"],
            "limits": [{"name": "few", "slots": 2, "key": "k${{ item }}"}],
        },
        "last": {"call": "t.work", "with": {"seconds": 1}, "after": ["items"]},
    },
}
PARENT: dict[str, Any] = {
    "job": "parent",
    "steps": {
        "before": {"call": "t.work", "with": {"seconds": 1}},
        "one": {"job": "chain", "after": ["before"]},
        "many": {"job": "chain", "for_each": [1, 2, 3], "window": 2, "after": ["before"]},
        "nap": {"sleep": "4s", "after": ["before"]},
        "end": {"call": "t.work", "with": {"seconds": 1}, "after": ["one", "many", "nap"]},
    },
}
QUEUES = ("default", "big")


def definition(document: dict[str, Any]) -> JobDefinition:
    return msgspec.convert(document, JobDefinition)


def came(document: dict[str, Any], at: float = 0.0, **options: Any) -> Coming:
    source = Source(definition(document), {"chain": definition(CHAIN)})
    return at, source, {}, options


def kept(*jobs: Coming, slots: int = 10) -> EventStore:
    return record(jobs, slots, "fifo", QUEUES)


def load_of(store: EventStore, *, upto: int | None = None, **asked: Any) -> Load:
    rules = Rules()
    logs = LogSet([store])
    events = read_store(logs, rules.take, _quiet)
    if upto is not None:
        events = (event for number, event in enumerate(events) if number < upto)
    return gather(events, rules, Question(**asked), infer=False)


def _quiet(done: int, total: int) -> None:
    pass


def export(store: EventStore, path: Path) -> None:
    """Write what `warrener history --json` would print of all jobs."""
    with path.open("wb") as file:
        for positioned in store.read(0, store.head()):
            event = positioned.recorded.event
            if isinstance(event, StepEvent) or type(event).__name__.startswith("Job"):
                file.write(msgspec.json.encode(history_line(positioned, "")) + b"\n")


def from_files(*paths: Path, **asked: Any) -> Load:
    return gather(read_files(paths, _quiet), Rules(), Question(**asked), infer=True)


def completions(load: Load, policy: str = "fifo") -> list[float]:
    return list(simulate(load, policy, _quiet)[1].completion)


# --- from a store --------------------------------------------------------------------------------


def test_a_chain_has_its_queues_and_its_times() -> None:
    load = load_of(kept(came(CHAIN, fair="ada", priority=3)))

    (job,) = load.jobs
    assert [step.queue for step in job.shape.steps] == ["default", "big"]
    assert list(job.seconds or ()) == [1.0, 2.0]
    assert (job.fair, job.priority) == ("ada", 3)
    assert completions(load) == [3.0]
    assert load.recorded.completion.p50 == 3.0


def test_jobs_that_differ_in_times_alone_share_a_shape() -> None:
    load = load_of(kept(came(CHAIN), came(CHAIN, 5.0)))

    first, second = load.jobs
    assert first.shape is second.shape
    assert second.at == 5.0


def test_a_fan_out_keeps_items_window_and_limits() -> None:
    load = load_of(kept(came(FAN)))

    items = load.jobs[0].shape.steps[1]
    assert [each[0].seconds for each in items.items or ()] == [1.0, 2.0, 3.0]
    assert items.window == 1
    assert [each[0].held.key for each in items.item_claims] == ["k1", "k2", "k3"]
    assert items.item_claims[0][0].limit.slots == 2
    assert completions(load) == [8.0]


def test_jobs_below_stand_in_the_trace_of_their_root() -> None:
    load = load_of(kept(came(PARENT)))

    (job,) = load.jobs
    below = [stage for stage in job.shape.stages if stage.job == "chain"]
    assert len(below) == 8
    assert {step.depth for step in job.shape.steps if step.job == "chain"} == {1}
    assert completions(load) == pytest.approx(
        [8.0], abs=0.01
    )  # the third of the many waits for a first
    assert load.recorded.completion.p50 == pytest.approx(8.0, abs=0.01)


def test_what_had_not_ended_goes_on_as_others_did() -> None:
    store = kept(came(CHAIN), came(CHAIN, 10.0))
    ends = [
        position
        for position, each in enumerate(store.read(0, store.head()))
        if isinstance(each.recorded.event, JobEnded)
    ]

    load = load_of(store, upto=ends[0] + 1)

    assert len(load.jobs) == 2
    assert completions(load) == [3.0, 3.0]
    assert any("had not ended" in note for note in load.notes)


def test_since_and_until_pick_jobs_by_their_submission() -> None:
    store = kept(*(came(CHAIN, float(at)) for at in range(5)))

    load = load_of(store, since=START + timedelta(seconds=1), until=START + timedelta(seconds=3))

    assert [job.at for job in load.jobs] == [0.0, 1.0, 2.0]
    with pytest.raises(UsageError, match="no job to simulate since 2031"):
        load_of(store, since=datetime(2031, 1, 1, tzinfo=UTC))


def test_speed_up_brings_jobs_faster_and_leaves_their_work() -> None:
    store = kept(came(CHAIN), came(CHAIN, 10.0, deadline=START + timedelta(seconds=60)))

    load = load_of(store, speed_up=10.0)

    assert [job.at for job in load.jobs] == [0.0, 1.0]
    assert load.jobs[1].deadline == pytest.approx(51.0)
    assert load.jobs[1].work_seconds == 3.0


def test_what_people_set_holds_in_the_simulation() -> None:
    store = kept(came(FAN))
    few = LimitChanged(at=START, cause="c", name="few", slots=1)
    heavy = FlowSettings(weights={"ada": 2.0})
    store.commit([Recorded(limit_id("few"), 1, few)], {})
    store.commit([Recorded(FLOW_ID, 2, FlowChanged(at=START, cause="c", settings=heavy))], {})

    load = load_of(store)

    assert load.limits == {"few": few}
    assert load.settings.weights == heavy.weights


def test_limits_that_people_set_for_stages_and_jobs_are_kept() -> None:
    store = kept(*(came(CHAIN) for _ in range(4)))
    one_at_a_time = LimitChanged(at=START, cause="c", name="@step:chain/a", slots=1)
    store.commit([Recorded(limit_id("@step:chain/a"), 1, one_at_a_time)], {})

    assert sorted(completions(load_of(store))) == [3.0, 4.0, 5.0, 6.0]

    two_jobs = LimitChanged(at=START, cause="c", name="@jobs", slots=2)
    store.commit([Recorded(limit_id("@jobs"), 1, two_jobs)], {})
    assert sorted(completions(load_of(store))) == [3.0, 4.0, 5.0, 6.0]
    queue = FlowChanged(at=START, cause="c", settings=FlowSettings(intake="queue"))
    store.commit([Recorded(FLOW_ID, 2, queue)], {})
    assert sorted(completions(load_of(store))) == [3.0, 4.0, 6.0, 7.0]


def test_starvation_is_looked_for_and_acted_upon_if_asked_for() -> None:
    slow = {"job": "slow", "steps": {"a": {"call": "t.work", "with": {"seconds": 20}}}}
    first = {**slow, "steps": {**slow["steps"], "b": {**slow["steps"]["a"], "after": ["a"]}}}
    store = kept(*(came(first, number / 10) for number in range(60)), slots=60)
    found = {
        mode: simulate(load_of(store, workers=("2",), mode=mode), "fifo", _quiet)[0]
        for mode in ("off", "observe", "act")
    }

    assert not found["off"].incidents
    assert found["observe"].incidents
    assert not found["observe"].measures
    assert found["act"].measures
    assert {each.all.jobs for each in found.values()} == {60}


def test_an_unknown_policy_is_refused() -> None:
    assert checked_policies(["plain", "fifo", "plain"]) == ["plain", "fifo"]
    assert {"fifo", "finish-first", "plain"} <= set(checked_policies([]))

    with pytest.raises(UsageError, match=r"there is no policy 'lifo'.*plain"):
        checked_policies(["lifo"])


# --- from a history ------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [CHAIN, FAN, PARENT])
def test_a_history_gives_the_load_of_its_store(document: dict[str, Any], tmp_path: Path) -> None:
    store = kept(came(document), came(document, 0.5, fair="bob"))
    export(store, tmp_path / "a.jsonl")
    whole, told = load_of(store), from_files(tmp_path / "a.jsonl")

    assert [job.at for job in told.jobs] == [job.at for job in whole.jobs]
    assert [job.work_seconds for job in told.jobs] == [job.work_seconds for job in whole.jobs]
    assert completions(told) == pytest.approx(completions(whole), abs=0.01)
    assert told.recorded == whole.recorded


def test_a_line_that_comes_twice_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    export(kept(came(FAN)), path)
    path.write_bytes(b"".join(2 * (each + b"\n") for each in path.read_bytes().splitlines()))

    load = from_files(path, path)

    assert len(load.jobs) == 1
    assert load.jobs[0].work_seconds == 8.0


def test_what_waits_for_what_is_found_from_many_jobs(tmp_path: Path) -> None:
    steps = {
        name: {"call": "t.work", "with": {"seconds": f"${{{{ params.{name} }}}}"}, "after": after}
        for name, after in (("a", []), ("c", []), ("b", ["a"]), ("d", ["c"]), ("e", ["b", "d"]))
    }
    two_ways = definition({"job": "ways", "steps": steps})
    times = [(1, 1, 1, 1), (1, 3, 1, 1), (3, 1, 1, 1), (1, 1, 9, 1)]
    jobs = [
        (20.0 * number, two_ways, dict(zip("acbde", (*each, 1), strict=True)), {})
        for number, each in enumerate(times)
    ]
    export(record(jobs, 10, "fifo", QUEUES), tmp_path / "a.jsonl")

    shape = from_files(tmp_path / "a.jsonl").jobs[0].shape

    after = {
        step.name: "".join(sorted(shape.steps[place].name for place in step.after))
        for step in shape.steps
    }
    assert after == {"a": "", "c": "", "b": "a", "d": "c", "e": "bd"}


def test_limits_that_no_definition_tells_are_named(tmp_path: Path) -> None:
    export(kept(came(FAN)), tmp_path / "a.jsonl")

    assert any("3 attempts came under limits" in n for n in from_files(tmp_path / "a.jsonl").notes)


def line(**fields: Any) -> bytes:
    whole = {"type": "JobSubmitted", "id": str(uuid4()), "version": 1, "at": "2030-01-01T00:00:00Z"}
    return json.dumps({**whole, "data": {}, **fields}).encode()


@pytest.mark.parametrize(
    "bad",
    [
        b"no json",
        b"[1, 2]",
        b'{"type": "JobSubmitted"}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        line(id="x"),
        line(version="one"),
        line(at="2030-01-01T00:00:00"),
        line(data={"deadline": "soon"}),
        line(data={"priority": 1e400}),
        line(data=[1]),
    ],
)
def test_a_bad_line_is_refused_with_file_and_line(bad: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(line() + b"\n\n" + bad + b"\n")

    with pytest.raises(UsageError, match=r"bad\.jsonl:3: "):
        from_files(path)


def test_more_than_fits_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "RECORDS_MAX", 10)
    export(kept(*(came(FAN) for _ in range(3))), tmp_path / "a.jsonl")

    with pytest.raises(UsageError, match=r"more than 10 jobs, steps and attempts.*--since"):
        from_files(tmp_path / "a.jsonl")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match=path.name):
            from_files(path)
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(UsageError, match="no job to simulate"):
        from_files(tmp_path / "empty")


JOBS = [UUID(int=number) for number in range(1, 4)]
TIMES = [f"2030-01-01T00:00:{second:02}Z" for second in range(0, 60, 7)]
DATA = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["a", "\x1b[2J", ""]),
        "job": st.sampled_from(JOBS).map(str),
        "path": st.sampled_from(["a", "a[1]", "a[999999999]", "b", "", "]", "a[1]/b"]),
        "parent": st.builds(
            lambda job, path: {"job": str(job), "step": str(uuid4()), "path": path},
            st.sampled_from(JOBS),
            st.sampled_from(["a", "a[1]", "b"]),
        ),
        "depth": st.integers(-1, 3),
        "settled": st.dictionaries(st.sampled_from("abc"), st.just("succeeded")),
        "readied": st.dictionaries(st.sampled_from("abc"), st.just([])),
        "fan_outs": st.dictionaries(
            st.sampled_from("abc"),
            st.builds(lambda w: {"count": 10**12, "window": w}, st.integers()),
        ),
        "queue": st.sampled_from(["q", "r", ""]),
        "limits": st.just([{"name": "few", "key": "k"}]),
        "count": st.integers(-(10**12), 10**3),
        "child": st.sampled_from(JOBS).map(str),
        "due": st.sampled_from(TIMES),
        "started_at": st.sampled_from(TIMES),
        "ended_at": st.sampled_from(TIMES),
        "deadline": st.sampled_from(TIMES),
    },
)
TYPES = [
    "JobSubmitted",
    "JobAdvanced",
    "JobSucceeded",
    "StepReleased",
    "StepOpened",
    "StepStarted",
    "StepReadied",
    "StepParked",
    "StepRetryScheduled",
    "StepSucceeded",
    "StepFailed",
]
LINES = st.builds(
    lambda kind, job, at, data: (kind, job, at, data),
    st.sampled_from(TYPES),
    st.sampled_from(JOBS),
    st.sampled_from(TIMES),
    DATA,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=40))
def test_whatever_a_history_says_a_simulation_of_it_comes_to_an_end(
    tmp_path: Path, lines: list[tuple[str, UUID, str, dict[str, Any]]]
) -> None:
    first = [("JobSubmitted", job, TIMES[0], {"name": "a"}) for job in JOBS[:2]]
    path = tmp_path / "odd.jsonl"
    path.write_bytes(
        b"\n".join(
            line(type=kind, id=str(job), version=number, at=at, data=data)
            for number, (kind, job, at, data) in enumerate([*first, *lines], 1)
        )
    )

    try:
        load = from_files(path)
    except UsageError:
        return
    for policy in ("finish-first", "plain"):
        summary, _ = simulate(load, policy, _quiet)
        assert summary.all.jobs + summary.unfinished == len(load.jobs)


# --- fleets --------------------------------------------------------------------------------------


def test_workers_are_asked_for_by_number_and_queue() -> None:
    crews = asked_crews(["4", "gpu=2"], 3, ["a", "gpu"])

    assert crews == [
        Crew(workers=4, queues=("a", "gpu"), slots=3),
        Crew(workers=2, queues=("gpu",), slots=3),
    ]


@pytest.mark.parametrize("word", ["0", "-1", "many", "=3", "gpu=", "gpu=1.5", "9999999", "1e3", ""])
def test_a_number_of_workers_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--workers"):
        asked_crews([word], 1, ["a"])


def test_recorded_workers_come_and_go_and_share_queues_that_always_have_the_same() -> None:
    changes = [
        (START - timedelta(seconds=5), {"a": 2, "b": 2}),
        (START + timedelta(seconds=10), {"a": 3, "b": 3, "c": 1}),
        (START + timedelta(seconds=20), {"c": 1}),
    ]

    crews = recorded_crews(changes, [], START)

    assert sorted(crews, key=lambda crew: (crew.queues, crew.since)) == [
        Crew(workers=2, queues=("a", "b"), since=0.0, until=10.0),
        Crew(workers=3, queues=("a", "b"), since=10.0, until=20.0),
        Crew(workers=1, queues=("c",), since=10.0, until=20.0),
        Crew(workers=1, queues=("c",), since=20.0),
    ]


def test_workers_that_announced_themselves_are_the_fleet() -> None:
    store = kept(came(CHAIN))
    there = FleetChanged(at=START, cause="fleet", slots={"default": 7, "big": 7})
    store.commit([Recorded(FLEET_ID, 1, there)], {})

    assert load_of(store).crews == [Crew(workers=7, queues=("big", "default"))]


def test_each_log_of_a_store_tells_of_the_same_fleet_once() -> None:
    class One:
        def __init__(self, events: list[Recorded]) -> None:
            self._events = [Positioned(n, each) for n, each in enumerate(events, 1)]

        def head(self) -> int:
            return len(self._events)

        def read(self, after: int, limit: int) -> list[Positioned]:
            return self._events[after : after + limit]

    there = Recorded(FLEET_ID, 1, FleetChanged(at=START, cause="fleet", slots={"q": 7}))
    logs = LogSet([One([]), One([there]), One([there])])  # type: ignore[list-item]

    assert len(list(read_store(logs, Rules().take, _quiet))) == 1
