"""Every line of the log says what it is about, those of users' endpoints too."""

from __future__ import annotations

import ast
import asyncio
import json
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.contextvars import bind_contextvars, get_contextvars
from support.endpoints_orders import JOB, SteppingClock, order, result_of, task
from support.endpoints_waiting import reports
from support.fleet import Fleet
from support.log_checks import eventually

from warrener import StepFilter, endpoint
from warrener.domain.messages import CancelJob, SubmitJob
from warrener.domain.ports import Outgoing
from warrener.domain.topology import inbox_queue
from warrener.services.endpoints import Registry
from warrener.services.log_facts import facts_of
from warrener.services.perform import perform
from warrener.services.program_log import configure
from warrener.services.worker_asyncio import AsyncioRunner
from warrener.services.worker_processes import ProcessRunner
from warrener.services.worker_threads import ThreadRunner

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
LOGGING = "support/endpoints_logging.py"
MAY_IMPORT_LOGGING = {  # to set levels of others, and for users of it
    "services/program_log.py",
    "services/step_context.py",
    "services/cli/worker.py",
    "adapters/rabbitmq.py",
    "adapters/otlp.py",
}


def ids_of(path: str, worker: str, name: str = "work") -> dict[str, Any]:
    known = {"job": str(JOB), "root": str(JOB), "attempt": 2}
    return {**known, "path": path, "endpoint": name, "worker": worker}


def lines(text: str) -> list[dict[str, Any]]:
    """Return the lines of a log, each of which must be a JSON object with its time."""
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
        assert line["event"]
        assert line["level"]
    return found


# --- endpoints -----------------------------------------------------------------------------------


def test_what_is_bound_while_an_endpoint_runs_ends_with_it() -> None:
    registry, seen = Registry(), []

    @endpoint("work", registry=registry)
    def work() -> None:
        seen.append(get_contextvars())
        bind_contextvars(mine="secret")

    before = get_contextvars()
    for _ in range(2):
        perform(order("work"), "w", SteppingClock(), registry)

    assert seen == [ids_of("some", "w")] * 2
    assert get_contextvars() == before


def test_so_it_is_in_a_thread_that_runs_one_attempt_after_another() -> None:
    registry = Registry()

    @endpoint("work", registry=registry)
    def work(fails: bool) -> dict[str, Any]:
        bound = get_contextvars()
        bind_contextvars(mine="secret")
        if fails:
            raise ValueError("no")
        return bound

    runner = ThreadRunner(1, SteppingClock(), worker="w", registry=registry)
    for tag, fails in enumerate((False, True, False)):
        runner.submit(task(tag, order("work", _path=f"s{tag}", fails=fails)))
        found = reports(runner, 1)[tag]
        if not fails:
            assert result_of(found) == ids_of(f"s{tag}", "w-1")
    runner.close()


def test_coroutines_on_one_loop_have_each_their_own() -> None:
    registry = Registry()
    together: list[int] = []

    @endpoint("work", registry=registry)
    async def work() -> list[dict[str, Any]]:
        first = get_contextvars()
        together.append(1)
        while len(together) < 3:
            await asyncio.sleep(0)
        return [first, await asyncio.create_task(later())]

    async def later() -> dict[str, Any]:
        return get_contextvars()

    runner = AsyncioRunner(3, SteppingClock(), worker="w", registry=registry)
    for tag in range(3):
        runner.submit(task(tag, order("work", _path=f"s{tag}")))
    found = reports(runner, 3)
    runner.close()

    for tag in range(3):
        assert result_of(found[tag]) == [ids_of(f"s{tag}", "w")] * 2


def test_child_processes_log_as_the_worker_is_told_to(capfd: pytest.CaptureFixture[str]) -> None:
    runner = ProcessRunner(1, [LOGGING], SteppingClock(), base=TESTS, worker="w", log="json")
    for tag, text in enumerate(("one", "two")):
        runner.submit(task(tag, order("logging.say", _path=f"s{tag}", text=text)))
    reports(runner, 2)
    runner.close()

    found = lines(capfd.readouterr().err)

    expected = [
        {**ids_of(f"s{tag}", "w-1", "logging.say"), "text": text, "mine": text, "event": "said"}
        for tag, text in enumerate(("one", "two"))
    ]
    assert [line.items() >= each.items() for line, each in zip(found, expected, strict=True)] == [
        True,
        True,
    ]


def test_the_filter_gives_records_of_the_standard_library_the_same_ids(
    capfd: pytest.CaptureFixture[str],
) -> None:
    runner = ProcessRunner(1, [LOGGING], SteppingClock(), base=TESTS, worker="w")
    runner.submit(task(1, order("logging.say_plainly", text="hello")))
    reports(runner, 1)
    runner.close()

    assert capfd.readouterr().err == f"plain {JOB} some #2 hello\n"


def test_outside_of_steps_the_fields_are_there_and_nobodys_own_is_overwritten() -> None:
    record = logging.LogRecord("n", logging.INFO, "p", 1, "m", (), None)
    record.worker = "mine"

    assert StepFilter().filter(record)

    assert (record.job, record.path, record.worker) == (None, None, "mine")  # type: ignore[attr-defined]


# --- the program's own lines ---------------------------------------------------------------------


def test_json_lines_are_one_object_each_and_tell_no_values_of_variables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("json,info")
    password = "hunter2"

    try:
        raise ValueError(f"two\nlines {len(password)}")
    except ValueError as error:
        structlog.get_logger().error("it.failed", job=JOB, exc_info=error)
    (line,) = lines(capsys.readouterr().err)

    assert line["job"] == str(JOB)
    assert line["exception"][0]["exc_value"] == "two\nlines 7"
    assert "hunter2" not in json.dumps(line)


def test_lines_for_people_have_neither_values_of_variables_nor_what_steers_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("console,info")
    password = "hunter2"

    try:
        raise ValueError(f"\x1b[2J {len(password)}")
    except ValueError as error:
        structlog.get_logger().error("it.failed", exc_info=error)
    text = capsys.readouterr().err

    assert "ValueError: \\u001b[2J 7" in text
    assert "hunter2" not in text


def test_lines_of_a_reactor_say_which_partition_and_job_they_are_about(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("json,info")
    with Fleet(Registry(), partitions=2) as fleet:
        fleet.reactor()
        channel = fleet.broker.channel()
        channel.publish([Outgoing(inbox_queue(1), b"no message", "m-1")])
        asked = json.dumps({"type": "CancelJob", "job": str(JOB)}).encode()
        channel.publish([Outgoing(inbox_queue(1), asked, "m-2")])
        logged: list[dict[str, Any]] = []

        def both() -> bool:
            logged.extend(lines(capsys.readouterr().err))
            return {"message.quarantined", "command.refused"} <= {each["event"] for each in logged}

        eventually(both, "both lines")
    by_event = {line["event"]: line for line in logged}
    quarantined, refused = by_event["message.quarantined"], by_event["command.refused"]

    assert quarantined["partition"] == 1
    assert (quarantined["message"], quarantined["queue"]) == ("m-1", inbox_queue(1))
    assert (refused["command"], refused["job"]) == ("m-2", str(JOB))
    assert "partition" in refused


def test_facts_of_a_message_are_the_ids_that_it_has() -> None:
    run = order("work")

    assert facts_of(run) == {
        "job": str(JOB),
        "step": str(run.step),
        "path": "some",
        "attempt": 2,
    }
    assert facts_of(CancelJob(job=JOB)) == {"job": str(JOB)}
    submitted = SubmitJob(key="k", definition="", params=b"")  # type: ignore[arg-type]
    assert facts_of(submitted).keys() == {"job"}


def sources() -> list[Path]:
    return sorted(p for layer in ("services", "adapters") for p in (ROOT / layer).rglob("*.py"))


def test_the_program_speaks_by_structlog_alone() -> None:
    found = [fault for path in sources() for fault in faults(path)]

    assert found == []


def faults(path: Path) -> list[str]:
    """Return what a module does to say something in another way."""
    name = str(path.relative_to(ROOT))
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            found.append(f"{name}:{node.lineno}: print")
        if isinstance(node, ast.Import) and name not in MAY_IMPORT_LOGGING:
            found += [f"{name}:{node.lineno}: logging" for e in node.names if e.name == "logging"]
        if isinstance(node, ast.Call) and _is_log_call(node):
            fixed = isinstance(node.args[0], ast.Constant | ast.IfExp | ast.Name)
            found += [] if fixed else [f"{name}:{node.lineno}: the event has values in its name"]
    return found


def _is_log_call(node: ast.Call) -> bool:
    function = node.func
    if not (isinstance(function, ast.Attribute) and node.args):
        return False
    levels = {"debug", "info", "warning", "error", "critical", "exception"}
    owner = ast.unparse(function.value)
    return function.attr in levels and owner in {"log", "logger", "self._log", "facts"}
