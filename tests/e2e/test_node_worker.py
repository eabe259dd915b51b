"""A worker in another language speaks the protocol, and counts as the Python one does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.daemons import Daemons
from support.endpoints_orders import order as some_order
from support.hand_controller import HandController, hand_controller
from support.node import WORKER, NodeWorker, install
from support.trees import nasty_tree, unlock

from warrener.domain.definition.model import JobDefinition
from warrener.domain.ids import message_id, step_id
from warrener.domain.messages import (
    Beat,
    CallWorkers,
    CancelStep,
    RunStep,
    StepReport,
    UserActionAsked,
    WorkerBeat,
    WorkerBye,
    WorkerHello,
)
from warrener.domain.payloads import decode_json
from warrener.domain.topology import POISON, QUARANTINE, RESULTS, durable_queue, orders_queue
from warrener.domain.trace_context import traceparent
from warrener.services import tallies
from warrener.services.census import count_chunk, list_folder
from warrener.services.chunks import Chunk
from warrener.services.client import Client
from warrener.services.sources import load

ENDPOINTS = Path(__file__).parents[1] / "support" / "node_endpoints.mjs"
COUNT = orders_queue("count")


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> Path:
    return install(WORKER, tmp_path_factory.mktemp("node") / "node-worker")


@pytest.fixture
def controller(broker_url) -> Iterator[HandController]:
    with hand_controller(broker_url, "count") as found:
        yield found


@pytest.fixture
def start(installed, broker_url, tmp_path) -> Iterator[Any]:
    """Start workers in Node that serve the queue `count`; they end with the test."""
    started: list[NodeWorker] = []

    def begin(name: str, *options: str) -> NodeWorker:
        modules = ["--endpoints", "census.mjs", "--endpoints", str(ENDPOINTS)]
        worker = NodeWorker(
            installed, tmp_path, broker_url, name, *modules, "--queues", "count", *options
        )
        started.append(worker)
        worker.wait_for("worker.ready")
        return worker

    yield begin
    for worker in started:
        worker.kill()


def folders(root: Path) -> list[str]:
    """Return all folders of a tree, as messages name them."""
    found = [tallies.as_text(os.fsdecode(folder)) for folder, _, _ in os.walk(os.fsencode(root))]
    return sorted(found)


def counted_by_node(controller: HandController, chunks: list[tuple[str, Chunk]]) -> list[Any]:
    arguments = [{"folder": folder, "chunk": chunk} for folder, chunk in chunks]
    orders = [controller.order("census.count_chunk", args) for args in arguments]
    reports = [controller.report(order) for order in orders]
    assert [report.outcome for report in reports] == ["succeeded"] * len(chunks)
    return [decode_json(bytes(report.result)) for report in reports]


def counted_by_python(chunks: list[tuple[str, Chunk]]) -> list[Any]:
    return [msgspec.to_builtins(count_chunk(folder, chunk)) for folder, chunk in chunks]


def chunks_of(root: Path) -> list[tuple[str, Chunk]]:
    return [(folder, chunk) for folder in folders(root) for chunk in list_folder(folder).chunks]


def test_an_endpoint_asks_a_person_and_sees_the_answer(controller, start):
    start("node-1")

    asked = controller.report(controller.order("test.ask", {"page": 7}))
    context = {"answer": {"token": "t"}}
    answered = controller.report(controller.order("test.ask", {"page": 7}, context=context))

    assert asked.outcome == "user_action"
    assert asked.user_action == UserActionAsked(
        action="reconnect", cause="page-7", message="reconnect", form={"type": "object"}
    )
    assert decode_json(bytes(answered.result)) == {"token": "t"}


def test_it_beats_as_often_as_an_order_asks(controller, start, tmp_path):
    start("node-1", "--beat-seconds", "600")
    file = tmp_path / "go"

    order = controller.order("test.until", {"file": str(file)}, beat_seconds=0.05)

    def beats() -> list[Beat]:
        found = [each for each in controller.heard if isinstance(each, Beat)]
        return [each for each in found if each.step == order.step][1:]

    (beat, *_) = controller.until(beats, "second beat")
    file.write_text("go")

    assert beat.progress == 0.5
    assert controller.report(order).outcome == "succeeded"


def test_it_hands_the_trace_of_an_order_on_from_the_header(controller, start):
    worker = start("node-1")
    trace, other = [f"00-{'ab' * 16}-{digit * 16}-01" for digit in "12"]

    order = controller.order("test.trace", {}, trace=trace, context={"traceparent": other})
    untraced = controller.order("test.trace", {}, context={"traceparent": other})
    controller.report(controller.order("test.throw", {"message": "no"}, trace=trace))

    assert decode_json(bytes(controller.report(order).result)) == [trace, other]
    assert decode_json(bytes(controller.report(untraced).result)) == [other, other]
    assert worker.wait_for("step.failed")["traceparent"] == trace


def test_the_reactor_puts_the_trace_into_the_header_of_every_order(installed, broker_url, tmp_path):
    store = ("--store", f"sqlite:///{tmp_path}/jobs.db")
    steps = {"a": {"call": "test.trace", "queue": "count", "with": {}}}
    definition = msgspec.convert(
        {"job": "traced", "steps": steps, "result": "${{ steps.a.result }}"}, JobDefinition
    )
    with Daemons(tmp_path, {"WARRENER_BROKER_URL": broker_url}) as daemons:
        declare = daemons.start("broker", "declare", "--queues", "default,count")
        assert declare.program.guard.wait(60) == 0
        daemons.reactor(*store)
        options = ("--endpoints", str(ENDPOINTS), "--queues", "count")
        worker = NodeWorker(installed, tmp_path, broker_url, "node-1", *options)
        try:
            worker.wait_for("worker.ready")
            with Client(broker_url) as client:
                job = client.submit(definition, answer_seconds=30)
                outcome = client.wait(job, 60)
        finally:
            worker.kill()

    assert outcome.result == [traceparent(job, step_id(job, "a"), 1)] * 2


# --- the census ----------------------------------------------------------------------------------


def test_it_counts_a_nasty_tree_exactly_as_the_python_endpoint_does(controller, start, tmp_path):
    tree = nasty_tree(tmp_path / "tree", large_bytes=3_000_000)
    start("node-1")
    chunks = chunks_of(tree)
    assert sum(chunk.files for _, chunk in chunks) > 20

    try:
        assert counted_by_node(controller, chunks) == counted_by_python(chunks)
    finally:
        unlock(tree)


def test_it_tells_languages_words_and_text_as_the_python_endpoint_does(controller, start, tmp_path):
    block = tallies.BLOCK_BYTES
    contents = {
        "spaces.txt": b" \t\n\r\x0b\x0c\x1c\x1d\x85\xa0one\x00",
        "words.txt": " a b\u00a0c\u2003d \x1ce f\n".encode(),
        "edge-of-a-word.txt": b"x" * (block - 1) + b"yy z" + b"\n" * block + b" w",
        "edge-of-a-space.txt": b"x" * (block - 1) + b" z",
        "two-blocks.txt": b"ab " * (block // 3) + b"ab",
        "late-nul.bin": b"a b\n" * (block // 4) + b"\0 c d\n",
        "early-nul.txt": b"a b\n" + b"\0" + b"c d\n" * block,
        "Makefile": b"all:\n",
        "README": b"",
        ".gitignore": b"*\n",
        "no suffix": b"x",
        "two.dots.PY": b"x\n",
        "trailing.": b"x\n",
        "kelvin.mar\u212adown": b"x\n",
        "dotted.\u0130NI": b"x\n",
    }
    suffixes = [suffix for found in tallies._LANGUAGES.values() for suffix in found.split()]
    for name, content in {**contents, **{f"a.{s}": b"x y\n" for s in suffixes}}.items():
        (tmp_path / name).write_bytes(content)
    start("node-1")
    chunks = chunks_of(tmp_path)

    by_node = counted_by_node(controller, chunks)

    assert by_node == counted_by_python(chunks)
    assert set(by_node[0]["languages"]) >= set(tallies._LANGUAGES)


def test_what_vanished_or_cannot_be_listed_counts_as_with_python(controller, start, tmp_path):
    chunk = Chunk(first="a", last="z", files=1, bytes=1)
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    odd = [str(tmp_path / name) for name in ("gone", "file", "loop", "n" * 300)]
    chunks = [(folder, chunk) for folder in odd]
    start("node-1")

    by_node = counted_by_node(controller, chunks)

    assert by_node == counted_by_python(chunks)
    assert [found["unreadable"] for found in by_node] == [0, 0, 1, 1]


# --- the protocol --------------------------------------------------------------------------------


def test_a_report_is_the_attempts_own_and_its_order_is_gone(controller, start):
    worker = start("node-1")

    order = controller.order("test.echo", {"text": "\u00e9\U0001f600", "number": 1.5})

    report = controller.report(order)
    assert (report.job, report.step, report.attempt) == (order.job, order.step, order.attempt)
    assert (report.token, report.worker, report.outcome) == (order.token, "node-1", "succeeded")
    assert report.started_at <= report.ended_at
    assert decode_json(bytes(report.result)) == {"text": "\u00e9\U0001f600", "number": 1.5}
    assert message_id(order.step, order.attempt, "report") in controller.message_ids
    assert worker.stop() == 0
    assert controller.waiting(COUNT) == 0


@pytest.mark.parametrize(
    ("endpoint", "outcome", "code"),
    [
        ("test.unheard_of", "failed", "unknown-endpoint"),
        ("toString", "failed", "unknown-endpoint"),
        ("test.throw", "failed", "error"),
        ("test.throw_text", "failed", "error"),
        ("census.count_chunk", "permanent", "bad-input"),
        ("test.not_a_number", "permanent", "bad-result"),
        ("test.half_a_character", "permanent", "bad-result"),
        ("test.too_large", "permanent", "payload-too-large"),
    ],
)
def test_what_goes_wrong_is_reported_with_a_code(controller, start, endpoint, outcome, code):
    start("node-1")

    report = controller.report(controller.order(endpoint, {"message": "a\ud7ff" + "x" * 5_000}))

    assert report.outcome == outcome
    assert report.error is not None
    assert report.error.code == code
    assert 0 < len(report.error.message) <= 2_000


def test_a_result_that_is_nothing_is_null(controller, start):
    start("node-1")

    report = controller.report(controller.order("test.nothing", {}))

    assert bytes(report.result) == b"null"


def test_what_is_no_order_is_left_to_the_reactor_and_the_worker_goes_on(controller, start):
    start("node-1")
    elsewhere = msgspec.json.encode(some_order("test.echo"))
    unusable = [
        b"\xff",
        b"{}",
        b"[" * 1_000,
        b"null",
        b"\xef\xbb\xbf{}",
        b'{"type":"RunStep","v":2}',
        elsewhere.replace(b"warrener.results.0", b"elsewhere"),
    ]

    for body in unusable:
        controller.send(body)

    assert sorted(controller.take(POISON) for _ in unusable) == sorted(unusable)
    assert controller.report(controller.order("test.echo", 1)).outcome == "succeeded"
    assert controller.waiting(QUARANTINE) == 0


def test_it_announces_itself_from_hello_to_bye(controller, start):
    worker = start("node-1", "--slots", "3", "--beat-seconds", "0.2")

    hello = controller.announced(WorkerHello, "node-1")
    controller.announced(WorkerBeat, "node-1", 3)
    assert worker.stop() == 0
    controller.announced(WorkerBye, "node-1")

    assert (hello.queues, hello.slots, hello.beat_seconds) == (("count",), 3, 0.2)
    assert "census.count_chunk" in hello.endpoints
    assert hello.pid == worker.process.pid


def test_it_answers_a_call_with_a_beat(controller, start):
    start("node-1", "--beat-seconds", "1000")

    controller.control("worker.call", CallWorkers())

    assert controller.announced(WorkerBeat, "node-1").busy == 0


def test_a_long_attempt_beats_with_its_progress(controller, start, tmp_path):
    start("node-1", "--beat-seconds", "0.1")
    order = controller.order("test.until", {"file": str(tmp_path / "go")})

    beat = controller.until(lambda: next(iter(beats(controller, order)), None), "beat")
    (tmp_path / "go").touch()

    assert (beat.token, beat.progress, beat.note) == (order.token, 0.5, order.path)
    assert decode_json(bytes(controller.report(order).result)) == "seen"


def test_a_cancelled_attempt_stops_and_one_not_begun_does_not_start(controller, start, tmp_path):
    worker = start("node-1", "--slots", "1", "--beat-seconds", "0.1")
    running, waiting, kept = [
        controller.order("test.until", {"file": str(tmp_path / "go")}) for _ in range(3)
    ]
    controller.until(lambda: beats(controller, running), "beat of the first")

    for order in (waiting, running):
        cancel = CancelStep(job=order.job, step=order.step, attempt=1)
        controller.control("step.cancel", cancel)
    controller.until(lambda: beats(controller, kept), "beat of the third")
    (tmp_path / "go").touch()

    assert controller.report(kept).outcome == "succeeded"
    assert worker.stop() == 0
    assert [m.step for m in controller.heard if isinstance(m, StepReport)] == [kept.step]
    assert controller.waiting(COUNT) == 0


def test_a_drain_finishes_what_runs_and_gives_back_the_rest(controller, start, tmp_path):
    worker = start("node-1", "--slots", "1", "--beat-seconds", "0.1")
    running, waiting = [
        controller.order("test.until", {"file": str(tmp_path / "go")}) for _ in range(2)
    ]
    controller.until(lambda: beats(controller, running), "beat")

    worker.process.terminate()
    (tmp_path / "go").touch()

    assert worker.process.wait(30) == 0
    assert controller.report(running).outcome == "succeeded"
    assert msgspec.json.decode(controller.take(COUNT), type=RunStep).step == waiting.step


def test_a_drain_ends_though_an_endpoint_does_not(controller, start, tmp_path):
    worker = start("node-1", "--drain-seconds", "0.2", "--beat-seconds", "0.1")
    order = controller.order("test.until", {"file": str(tmp_path / "never")})
    controller.until(lambda: beats(controller, order), "beat")

    assert worker.stop() == 0

    assert msgspec.json.decode(controller.take(COUNT), type=RunStep).step == order.step


def test_the_order_of_a_worker_that_was_killed_goes_to_another(controller, start, tmp_path):
    first = start("node-1", "--beat-seconds", "0.1")
    order = controller.order("test.until", {"file": str(tmp_path / "go")})
    controller.until(lambda: beats(controller, order), "beat")

    first.kill()
    (tmp_path / "go").touch()
    start("node-2")

    report = controller.report(order)
    assert (report.worker, report.token) == ("node-2", order.token)


def test_a_worker_whose_queue_was_deleted_comes_back_when_it_is_there_again(controller, start):
    worker = start("node-1")

    controller.channel.queue_delete(COUNT)
    worker.wait_for("broker.lost")
    controller.declare_queue(durable_queue(COUNT))
    worker.wait_for("worker.ready", count=2)

    assert controller.report(controller.order("test.echo", 7)).outcome == "succeeded"


def test_an_order_is_kept_until_its_report_could_be_sent(controller, start):
    worker = start("node-1")
    controller.channel.exchange_delete(RESULTS)

    order = controller.order("test.echo", 7)
    worker.wait_for("broker.lost")
    controller.declare()

    assert controller.report(order).outcome == "succeeded"


def test_a_worker_without_a_broker_tries_again_until_it_is_to_end(installed, tmp_path):
    worker = NodeWorker(installed, tmp_path, "amqp://127.0.0.1:9", "node-1")

    worker.wait_for("broker.lost", count=2)

    assert worker.stop() == 0


def beats(controller: HandController, order: RunStep) -> list[Beat]:
    return [m for m in controller.heard if isinstance(m, Beat) and m.step == order.step]


# --- the example itself --------------------------------------------------------------------------


def test_the_mixed_census_is_the_census_with_the_counting_on_a_queue_of_its_own():
    mixed, plain = [
        load(str(WORKER.parent / name)).source.main for name in ("census-mixed.yaml", "census.yaml")
    ]

    assert mixed.steps["counts"].queue == "count"
    counts = msgspec.structs.replace(mixed.steps["counts"], queue=None)
    steps = {**mixed.steps, "counts": counts}
    assert msgspec.structs.replace(mixed, steps=steps).to_json() == plain.to_json()


def test_the_lock_file_names_no_registry():
    lock = (WORKER / "package-lock.json").read_text()

    assert "resolved" not in lock
    assert "http" not in lock


def test_a_package_that_npm_does_not_have_fails_with_one_sentence(tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(WORKER, broken, ignore=shutil.ignore_patterns("node_modules"))
    (broken / "package-lock.json").unlink()

    with pytest.raises(pytest.fail.Exception, match="npm cannot install what broken needs: "):
        install(broken, tmp_path / "installed")
