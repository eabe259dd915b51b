"""What users are told about jobs."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.histories import REPORT, History, definition, finish_report, half_done_report

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain import ids
from warrener.domain.errors import UnknownJob
from warrener.services.logs import LogSet
from warrener.services.places import Place
from warrener.services.queries import Queries


def asked(history: History) -> Queries:
    return Queries(LogSet([history.store]), MemoryViewStore())


def as_json(shape: object) -> Any:
    return json.loads(msgspec.json.encode(shape))


SHOW_FIELDS = [
    "job",
    "name",
    "version",
    "definition",
    "state",
    "params",
    "labels",
    "result",
    "error",
    "parent",
    "root",
    "depth",
    "submitted_at",
    "started_at",
    "ended_at",
    "progress",
    "steps",
]
STEP_FIELDS = [
    "id",
    "name",
    "path",
    "state",
    "kind",
    "attempts",
    "result",
    "error",
    "worker",
    "ready_at",
    "released_at",
    "started_at",
    "ended_at",
    "waiting",
    "items",
    "child",
    "progress",
    "note",
    "until",
    "request",
    "signal",
    "caught_by",
    "generation",
    "reason",
    "window",
    "tolerated",
    "adjusted",
]


def test_show_has_every_field_of_the_fixed_shape() -> None:
    history, job, _ = half_done_report()

    shown = as_json(asked(history).show(job))

    assert set(SHOW_FIELDS) <= set(shown)
    assert set(shown["steps"]) == set(REPORT.steps)
    for step in shown["steps"].values():
        assert list(step) == STEP_FIELDS


def test_steps_are_shown_with_dependencies_before_their_readers() -> None:
    history, job, _ = half_done_report()

    names = list(asked(history).show(job).steps)

    assert (names[0], names[-2:]) == ("load", ["merge", "sorry"])


def test_show_tells_the_job_and_its_progress_over_the_tree() -> None:
    history, job, _ = half_done_report()

    shown = as_json(asked(history).show(job))

    assert shown["job"] == shown["root"] == str(job)
    assert shown["submitted_at"] == "2026-01-02T03:04:07.000000Z"
    assert (shown["params"], shown["labels"]) == ({"account": "a"}, {"team": "red"})
    assert (shown["state"], shown["result"], shown["error"]) == ("running", None, None)
    assert shown["progress"] == {"done": 2, "total": 15}
    assert shown["definition"] == REPORT.hash


def test_steps_show_kind_result_times_and_counts_of_items() -> None:
    history, job, child = half_done_report()

    steps = as_json(asked(history).show(job))["steps"]

    kinds = {name: step["kind"] for name, step in steps.items()}
    assert kinds == {
        "load": "call", "parts": "for_each", "sub": "job", "merge": "call", "sorry": "call"
    }  # fmt: skip
    assert steps["load"]["result"] == [1, 2, 3, 4, 5]
    assert steps["load"]["id"] == str(ids.step_id(job, "load"))
    assert (steps["load"]["worker"], steps["load"]["waiting"]) == ("w1", None)
    assert steps["load"]["ended_at"].endswith(".500000Z")
    assert steps["parts"]["items"] == {"succeeded": 1, "retrying": 1, "ready": 1, "pending": 2}
    assert steps["sub"]["child"] == str(child)


def test_a_pending_step_names_the_dependencies_that_are_open() -> None:
    history, job, _ = half_done_report()

    merge = asked(history).show(job).steps["merge"]

    assert (merge.state, merge.attempts) == ("pending", 0)
    assert merge.waiting is not None
    assert merge.waiting.kind == "dependency"
    assert [(each.path, each.state) for each in merge.waiting.blockers] == [
        ("parts", "waiting"),
        ("sub", "waiting"),
    ]
    assert merge.waiting.sentence == "waits for parts (waiting) and sub (waiting)"


def test_a_pending_step_whose_dependencies_have_ended_waits_for_the_controller() -> None:
    history = History()
    job = history.submit(definition(a={"call": "x.y"}, b={"call": "x.y", "after": ["a"]}))
    unbegun = asked(history).show(job).steps["a"].waiting
    history.start(job)
    history.release(job, "a")
    history.succeed(job, "a")

    decided_next = asked(history).show(job).steps["b"].waiting

    assert unbegun is not None
    assert decided_next is not None
    assert (unbegun.kind, decided_next.kind) == ("reactor", "reactor")


def test_a_waiting_parent_names_its_child_job_and_a_fan_out_its_open_items() -> None:
    history, job, child = half_done_report()

    steps = asked(history).show(job).steps

    sub, parts = steps["sub"].waiting, steps["parts"].waiting
    assert sub is not None
    assert parts is not None
    assert (sub.kind, parts.kind) == ("children", "children")
    assert [(each.kind, each.id, each.state) for each in sub.blockers] == [
        ("job", child, "running")
    ]
    assert parts.sentence == "waits for 4 of 5 items: 2 pending, 1 ready, 1 retrying"
    assert [each.path for each in parts.blockers] == ["parts[1]"]


def test_a_retrying_item_tells_when_its_next_attempt_is_due() -> None:
    history, job, _ = half_done_report()

    item = asked(history).step(Place(job, "parts[1]"))

    assert item.waiting is not None
    assert (item.state, item.waiting.kind) == ("retrying", "retry")
    assert item.waiting.until == "2026-01-02T03:04:51.000000Z"
    assert "error: not yet" in item.waiting.sentence
    assert item.error is not None
    assert item.error.traceback is None


@pytest.mark.parametrize(
    ("index", "state", "kind"), [(2, "ready", "worker"), (4, "pending", "window")]
)
def test_an_item_without_a_document_is_ready_or_pending(index: int, state: str, kind: str) -> None:
    history, job, _ = half_done_report()

    item = asked(history).step(Place(job, f"parts[{index}]"))

    assert (item.state, item.kind) == (state, "call")
    assert item.waiting is not None
    assert item.waiting.kind == kind


def test_a_ready_step_waits_for_a_worker_and_an_ended_or_released_one_for_nothing() -> None:
    history = History()
    job = history.submit(definition(a={"call": "x.y"}, b={"call": "x.y"}, c={"call": "x.y"}))
    history.start(job)
    history.advance(job, readied={"a": (), "b": ()}, settled={"c": "skipped"})
    history.release(job, "b")

    steps = asked(history).show(job).steps

    assert steps["a"].waiting is not None
    assert steps["a"].waiting.kind == "worker"
    assert (steps["b"].waiting, steps["c"].waiting) == (None, None)


def test_a_failed_job_shows_all_fields_of_its_error() -> None:
    history = History()
    job = history.submit(REPORT)
    history.fail_job(job, code="boom")

    error = as_json(asked(history).show(job))["error"]

    assert error == {
        "code": "boom", "message": "it failed", "type": None, "attempt": None, "traceback": None
    }  # fmt: skip


def test_a_large_result_is_whole_in_json_and_only_measured_for_people() -> None:
    history = History()
    job = history.submit(REPORT)
    large = "x" * 70_000
    history.succeed_job(job, result=large)

    queries = asked(history)

    assert queries.show(job).result == large
    assert queries.show(job, whole=False).result == "(70,002 bytes, not shown)"


def test_the_finished_job_shows_its_result_and_nothing_waits() -> None:
    history, job, child = half_done_report()
    finish_report(history, job, child)

    shown = asked(history).show(job)

    assert (shown.state, shown.result) == ("succeeded", {"sum": 20})
    assert [step.waiting for step in shown.steps.values()] == [None] * 5
    assert (shown.progress.done, shown.progress.total) == (15, 15)
    assert sum(asked(history).counts(job).values()) == 15


def test_jobs_list_roots_unless_all_are_asked_for() -> None:
    history, job, child = half_done_report()
    queries = asked(history)

    assert [line.job for line in queries.jobs()] == [job]
    assert [line.job for line in queries.jobs(roots_only=False)] == [child, job]
    assert list(as_json(queries.jobs(labels={"team": "red"})[0])) == (
        ["job", "name", "version", "state", "labels", "submitted_at", "ended_at", "progress"]
    )


def deep_history() -> tuple[History, UUID, UUID, UUID]:
    """A job whose item 3 is a job whose step `sub` is a job."""
    history = History()
    top = history.submit(REPORT)
    history.open_items(top, "parts", count=12, begun=12)
    item = history.open_child(top, "parts[3]", REPORT)
    leaf = history.open_child(item, "sub", REPORT)
    history.release(leaf, "load")
    history.succeed(leaf, "load", seconds=4.0)
    history.release(top, "load")
    history.succeed(top, "load", seconds=9.0)
    return history, top, item, leaf


def test_a_tree_nests_child_jobs_under_the_path_of_their_step() -> None:
    history, top, item, leaf = deep_history()

    tree = asked(history).tree(top)

    assert (tree.job, tree.path, tree.more) == (top, "", False)
    assert [(node.job, node.path) for node in tree.children] == [(item, "parts[3]")]
    assert [(node.job, node.path) for node in tree.children[0].children] == [(leaf, "parts[3]/sub")]


def test_a_tree_is_bounded_and_says_so() -> None:
    history, top, *_ = deep_history()
    for index in (5, 4, 10):
        history.open_child(top, f"parts[{index}]", REPORT)

    tree = asked(history).tree(top, jobs_max=2)

    assert [node.path for node in tree.children] == ["parts[3]", "parts[4]"]
    assert tree.more
    assert (tree.children[0].children, tree.children[0].more) == ([], True)


def test_history_of_a_tree_is_in_order_of_position_with_paths_from_the_job_asked_for() -> None:
    history, _, item, _ = deep_history()

    lines = list(asked(history).history(item, tree=True))

    assert [line.position for line in lines] == sorted(line.position for line in lines)
    assert [(line.type, line.stream, line.path) for line in lines] == [
        ("JobSubmitted", "job", ""),
        ("StepOpened", "step", "sub"),
        ("JobAdvanced", "job", ""),
        ("JobSubmitted", "job", "sub"),
        ("StepReleased", "step", "sub/load"),
        ("StepSucceeded", "step", "sub/load"),
    ]


def test_history_of_a_job_alone_leaves_its_children_out() -> None:
    history, top, *_ = deep_history()

    lines = list(asked(history).history(top))
    later = list(asked(history).history(top, after=lines[2].position))

    assert {line.path for line in lines} == {"", "parts", "parts[3]", "load"}
    assert later == lines[3:]


def test_a_line_of_history_has_the_fixed_shape_with_plain_values() -> None:
    history, job, child = half_done_report()

    lines = [as_json(line) for line in asked(history).history(job)]

    assert list(lines[0]) == [
        "position",
        "stream",
        "id",
        "path",
        "version",
        "type",
        "at",
        "cause",
        "data",
    ]
    by_type = {line["type"]: line for line in lines}
    assert by_type["JobAdvanced"]["data"] == {"settled": {"load": "succeeded"}}
    retry = by_type["StepRetryScheduled"]["data"]
    assert retry["due"] == "2026-01-02T03:04:51.000000Z"
    assert retry["error"] == {"code": "error", "message": "not yet", "attempt": 1}
    assert by_type["StepSucceeded"]["data"]["result"] == 10
    assert by_type["JobSubmitted"]["data"]["params"] == {"account": "a"}
    assert by_type["StepOpened"]["data"]["child"] == str(child)


def test_history_reads_the_log_in_runs_and_not_event_by_event() -> None:
    history = History()
    job = history.submit(REPORT)
    for _ in range(1_200):
        history.advance(job, readied={})
    queries = asked(history)
    queries.refresh()
    history.store.reads = 0

    assert len(list(queries.history(job))) == 1_201
    assert history.store.reads <= 4


def test_history_between_many_other_jobs_reads_around_them() -> None:
    history = History()
    job = history.submit(REPORT)
    other = history.submit(REPORT, key="other")
    for _ in range(300):
        history.advance(other, readied={})
    history.fail_job(job)

    lines = list(asked(history).history(job))

    assert [line.type for line in lines] == ["JobSubmitted", "JobFailed"]


def test_the_slowest_steps_come_with_their_path_in_the_tree() -> None:
    history, top, item, _ = deep_history()
    queries = asked(history)

    assert [(step.path, step.seconds) for step in queries.slowest(top)] == [
        ("load", 9.0),
        ("parts[3]/sub/load", 4.0),
    ]
    assert [step.path for step in queries.slowest(item, limit=1)] == ["sub/load"]


def test_a_job_is_found_by_its_id_and_by_the_start_of_it() -> None:
    history, job, _ = half_done_report()
    queries = asked(history)

    for text in (str(job), job.hex, str(job).upper(), job.hex[:4], str(job)[:11]):
        assert queries.resolve(text) == job


def test_a_step_is_found_by_its_path_through_the_tree() -> None:
    history, top, item, leaf = deep_history()
    queries = asked(history)

    assert queries.locate(f"{top}/load") == Place(top, "load")
    assert queries.locate(f"{top.hex[:6]}/parts[3]/sub/merge") == Place(leaf, "merge")
    assert queries.resolve(f"{top}/parts[3]") == ids.step_id(top, "parts[3]")
    assert queries.locate(f"{item}/sub") == Place(item, "sub")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{job}/merg", "did you mean 'merge'"),
        ("{job}/zzzz", "it has load, merge"),
        ("{job}/parts[12]", "no item 12: it has 12"),
        ("{job}/load[0]", "no item 0: it has 0"),
        ("{job}/load/merge", "has started no job"),
        ("{job}/", "not the path of a step"),
        ("{job}/parts[x]", "not the path of a step"),
        ("abc", "at least 4 digits"),
        ("'; drop table", "hexadecimal"),
        ("", "hexadecimal"),
        ("0" * 33, "hexadecimal"),
        ("{near}", "did you mean {job}"),
        ("00000000", "the newest are {job}"),
    ],
)
def test_what_is_not_there_is_refused_with_a_hint(text: str, hint: str) -> None:
    history, top, *_ = deep_history()
    near = top.hex[:8] + "f" * 24 if top.hex[8] != "f" else top.hex[:8] + "0" * 24
    names = {"job": str(top), "near": near}

    with pytest.raises(UnknownJob) as caught:
        asked(history).resolve(text.format(**names))

    assert hint.format(**names) in str(caught.value)


def test_an_ambiguous_start_of_an_id_names_the_jobs() -> None:
    history = History()
    found: dict[str, UUID] = {}
    for number in range(2_000):
        job = ids.job_id(str(number))
        if job.hex[:4] in found:
            other = found[job.hex[:4]]
            break
        found[job.hex[:4]] = job
    keys = [str(n) for n in range(number + 1) if ids.job_id(str(n)) in (job, other)]
    for key in keys:
        history.submit(REPORT, key=key)

    with pytest.raises(UnknownJob, match="start of several jobs") as caught:
        asked(history).resolve(job.hex[:4])

    assert str(job) in str(caught.value)
    assert str(other) in str(caught.value)


def test_in_an_empty_store_the_refusal_says_that_there_are_no_jobs() -> None:
    with pytest.raises(UnknownJob, match="no jobs in this store"):
        asked(History()).show(UUID(int=7))
