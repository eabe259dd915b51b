"""`debug`: from a job that failed to the line of code with the recorded input, and the debugger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.cli import Cli, Done
from support.terminal import END_OF_INPUT, INTERRUPT, terminal

STORE = ("--store", "sqlite:///jobs.db")
KEYS = {
    *("job", "step", "path", "attempt", "endpoint", "place", "args", "outcome", "result", "error"),
    *("recorded", "same", "difference", "seconds"),
}
PROGRAM = """
import json
from pathlib import Path
from threading import Event

from warrener import current_step, endpoint


@endpoint("bank.sum")
def total(account: dict[str, int], flaw: int = 0) -> float:
    amounts = list(account.values())
    return sum(amounts) / flaw


@endpoint("bank.read")
async def read(text: str) -> object:
    return json.loads(text)


@endpoint("bank.hang")
def hang() -> None:
    while current_step().debugging:
        print("it goes on and on", flush=True)
        Event().wait(0.05)


@endpoint("bank.book")
def book(amount: int) -> list[int]:
    step = current_step()
    with Path("ledger").open("a") as ledger:
        ledger.write(f"{step.token} {step.debugging} {step.attempt}\\n")
    print("noise from an endpoint")
    return [amount, amount + 1]
"""
ITEM = """
job: item
params: {type: object, properties: {text: {type: string}}}
steps:
  read: {call: bank.read, with: {text: "${{ params.text }}"}}
endpoints: [./bank.py]
"""
JOB = """
job: bank
steps:
  book: {call: bank.book, with: {amount: 3}}
  total:
    call: bank.sum
    with: {account: {ada: 3, bob: 4}}
    catch: [{on: "*", go: mend}]
    retry: [{on: "*", max: 2, first: 1ms}]
  texts: {job: item, for_each: ["1", "no", "{}"], with: {text: "${{ item }}"}}
  hang: {call: bank.hang}
  mend: {set: {mended: true}}
  calm: {set: {a: 1}}
  after: {call: bank.book, with: {amount: "${{ steps.texts.results }}"}}
"""


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    made = Cli(tmp_path_factory.mktemp("debug"))
    made.write(bank_py=PROGRAM, bank_yaml=JOB, item_yaml=ITEM)
    mended = PROGRAM.replace("sum(amounts) / flaw", "sum(amounts) / (flaw or 1)")
    made.write(mended_py=mended, wrong_py=PROGRAM.replace("amount + 1", "amount + 2"))
    return made


@pytest.fixture(scope="module")
def job(cli: Cli) -> str:
    done = cli("run", "bank.yaml", "--runner", "inline", "--json", *STORE)
    assert done.code == 1, done.err
    found: str = done.json["job"]
    return found


@pytest.fixture
def debug(cli: Cli, job: str) -> Callable[..., Done]:
    def run(step: str, *arguments: str) -> Done:
        return cli("debug", f"{job}{step}", *arguments, *STORE)

    return run


def test_it_says_what_it_runs_and_shows_the_traceback_of_the_user(debug: Any) -> None:
    done = debug("/total")

    line = PROGRAM.splitlines().index('@endpoint("bank.sum")') + 1
    assert done.code == 1
    assert f"bank.py:{line}, on the input of attempt 2 of total" in done.out
    assert "recorded: failed on inline: error: division by zero" in done.out
    assert "return sum(amounts) / flaw" in done.out
    assert "warrener/services" not in done.out
    assert "real" not in done.err  # said on a terminal only


def test_the_answer_in_json_has_the_fixed_shape(debug: Any) -> None:
    found = debug("/total", "--attempt", "1", "--json").json

    assert set(found) >= KEYS
    assert (found["path"], found["attempt"], found["endpoint"]) == ("total", 1, "bank.sum")
    assert found["args"] == {"account": {"ada": 3, "bob": 4}}
    assert (found["outcome"], found["error"]["type"]) == ("failed", "ZeroDivisionError")
    assert found["recorded"]["outcome"] == "retry"
    assert found["same"] is True


def test_a_job_alone_is_the_step_that_made_it_fail_at_whatever_depth(debug: Any, job: str) -> None:
    found = debug("", "--json").json
    by_path = debug("/texts[1]/read", "--json").json

    assert found["endpoint"] == "bank.read"
    assert found["args"] == {"text": "no"}
    assert found["job"] != job
    assert found["step"] == by_path["step"]


def test_a_job_that_failed_is_shown_with_the_command_that_runs_what_failed(
    debug: Any, cli: Cli, job: str
) -> None:
    found = debug("", "--json").json

    shown, calm = cli("show", job, *STORE), cli("show", f"{job}/calm", *STORE)

    again = f"{found['job']}/{found['path']}"
    assert shown.err.strip() == f"to run here what failed: warrener debug {again} {' '.join(STORE)}"
    assert (calm.code, calm.err) == (0, "")


def test_a_run_for_nobody_has_a_token_of_its_own_and_leaves_no_event(debug: Any, cli: Cli) -> None:
    before = cli("store", "info", "--json", *STORE).json
    done = debug("/book", "--json")
    ledger = (cli.folder / "ledger").read_text().splitlines()

    assert (done.code, done.json["result"]) == (0, [3, 4])
    assert "noise from an endpoint" in done.err
    real, here = (line.split() for line in (ledger[0], ledger[-1]))
    assert here[0].startswith("debug-")
    assert here[0] != real[0]
    assert (here[1:], real[1:]) == (["True", "1"], ["False", "1"])
    assert cli("store", "info", "--json", *STORE).json == before


@pytest.mark.parametrize(
    ("step", "module", "code", "path"),
    [
        ("/book", "bank.py", 0, None),
        ("/book", "wrong.py", 1, "result[1]"),
        ("/total", "bank.py", 0, None),
        ("/total", "mended.py", 1, "outcome"),
        ("/texts[0]/read", "bank.py", 0, None),
    ],
)
def test_the_record_is_compared(
    debug: Any, step: str, module: str, code: int, path: str | None
) -> None:
    done = debug(step, "--record", "--endpoints", module, "--json")

    assert done.code == code
    assert done.json["same"] is (path is None)
    assert (done.json["difference"] or {}).get("path") == path


def test_the_first_difference_from_the_record_is_told_with_both_values(debug: Any) -> None:
    done = debug("/book", "--record", "--endpoints", "wrong.py")

    assert "not as recorded: result[1] was 4, here it is 5" in done.out


@pytest.mark.parametrize(
    ("step", "arguments", "told"),
    [
        ("/calm", (), "has no endpoint: it computes its result from an expression"),
        ("/texts", (), "is a fan-out: name an item of it"),
        ("/texts[1]", (), "starts a job: name"),
        ("/after", (), "has not gone out: it is upstream_failed"),
        ("/total", ("--attempt", "3"), "has no attempt 3: it has 1, 2"),
        ("/total", ("--attempt", "0"), "--attempt"),
        ("/nothing", (), "has no step 'nothing'"),
        ("/total", ("--endpoints", "none.py"), "there is no file"),
        ("/total", ("--endpoints", "empty.py"), "bank.sum, which is not in the modules"),
        ("/total", ("--pdb",), "needs a terminal"),
        ("/total", ("--break",), "needs a terminal"),
    ],
)
def test_what_cannot_be_run_says_what_to_do_instead(
    debug: Any, cli: Cli, step: str, arguments: tuple[str, ...], told: str
) -> None:
    cli.write(empty_py="")

    done = debug(step, *arguments)

    assert done.code == 2
    assert told in done.err


def test_a_fan_out_and_a_sub_job_tell_what_failed_below_them(debug: Any) -> None:
    for step in ("/texts", "/texts[1]"):
        assert "what failed below it is" in debug(step).err


def test_a_job_of_no_run_needs_its_endpoints_named(cli: Cli) -> None:
    cli.write(moved_py=PROGRAM)
    started = cli("run", "bank.yaml", "--runner", "inline", "--json", "--store", "sqlite:///2.db")
    (cli.folder / "bank.py").rename(cli.folder / "gone.py")
    try:
        lost = cli("debug", started.json["job"], "--store", "sqlite:///2.db")
        found = cli(
            *("debug", started.json["job"], "--store", "sqlite:///2.db"),
            *("--endpoints", "moved.py"),
        )
    finally:
        (cli.folder / "gone.py").rename(cli.folder / "bank.py")

    assert lost.code == 2
    assert "--endpoints names another" in lost.err
    assert found.code == 1
    assert "moved.py" in found.out


def test_an_exported_history_is_enough_but_does_not_say_what_to_load(cli: Cli, job: str) -> None:
    whole = ("--export", "whole.jsonl", "--redact", "account")
    assert cli("replay", job, *whole, *STORE).code == 0
    history = ("--store", "history:whole.jsonl")

    refused = cli("debug", f"{job}/texts[1]/read", *history)
    run = cli("debug", f"{job}/texts[1]/read", "--record", "--endpoints", "bank.py", *history)
    lacking = cli("debug", f"{job}/total", "--endpoints", "bank.py", "--json", *history)

    assert refused.code == 2
    assert "with --endpoints; the run had" in refused.err
    assert "bank.py" in refused.err
    assert (run.code, lacking.json["redacted"]) == (0, True)
    assert lacking.json["error"]["code"] == "bad-input"  # the account was taken out


# --- the debugger, in a terminal -----------------------------------------------------------------


def test_the_debugger_opens_where_the_endpoint_raised_with_the_recorded_input(
    cli: Cli, job: str
) -> None:
    arguments = ("debug", f"{job}/total", "--pdb", "--endpoints", "bank.py", *STORE)
    with terminal(cli.folder, *arguments) as seen:
        begun = seen.expect("(Pdb) ")
        seen.type("p account")
        account = seen.expect("(Pdb) ")
        seen.type("where")
        where = seen.expect("(Pdb) ")
        seen.type("p current_step().path")
        step = seen.expect("(Pdb) ")
        seen.type("q")
        code, rest = seen.end()

    assert "what the endpoint does outside is real" in begun
    assert "-> return sum(amounts) / flaw" in begun
    assert "{'ada': 3, 'bob': 4}" in account
    assert "-> return sum(amounts) / flaw" in where
    assert "warrener/services" not in where
    assert "'total'" in step
    assert "here: failed" in rest
    assert code == 1


def test_a_failure_in_a_library_is_looked_at_from_the_users_line(cli: Cli, job: str) -> None:
    with terminal(cli.folder, "debug", job, "--pdb", "--record", *STORE) as seen:
        begun = seen.expect("(Pdb) ")
        seen.type("p text")
        text = seen.expect("(Pdb) ")
        seen.press(INTERRUPT)  # Ctrl-C gives up a line, as always in this debugger
        seen.type("")  # it may have come a moment before the line is waited for
        seen.expect("--KeyboardInterrupt--")
        seen.expect("(Pdb) ")
        seen.press(END_OF_INPUT)
        code, rest = seen.end()

    assert begun.rstrip().endswith("-> return json.loads(text)")
    assert "'no'" in text
    assert "as recorded" in rest
    assert code == 0


def test_it_stops_at_the_first_line_and_goes_on_to_the_failure(cli: Cli, job: str) -> None:
    with terminal(cli.folder, "debug", f"{job}/total", "--break", *STORE) as seen:
        first = seen.expect("(Pdb) ")
        seen.type("n")
        second = seen.expect("(Pdb) ")
        seen.type("c")
        raised = seen.expect("(Pdb) ")
        seen.type("p amounts")
        amounts = seen.expect("(Pdb) ")
        seen.type("q")
        code, _ = seen.end()

    assert first.rstrip().endswith("-> amounts = list(account.values())")
    assert second.rstrip().endswith("-> return sum(amounts) / flaw")
    assert raised.rstrip().endswith("-> return sum(amounts) / flaw")
    assert "[3, 4]" in amounts
    assert code == 1


def test_it_stops_in_an_async_endpoint_and_ends_when_it_is_quit(cli: Cli, job: str) -> None:
    with terminal(cli.folder, "debug", job, "--break", *STORE) as seen:
        first = seen.expect("(Pdb) ")
        seen.type("q")
        code, rest = seen.end()

    assert first.rstrip().endswith("-> return json.loads(text)")
    assert "interrupted" in rest
    assert code == 130


def test_after_the_end_of_the_endpoint_there_is_nothing_to_step_to(cli: Cli, job: str) -> None:
    with terminal(cli.folder, "debug", f"{job}/book", "--break", *STORE) as seen:
        while "--Return--" not in seen.expect("(Pdb) "):
            seen.type("n")
        seen.type("n")
        code, rest = seen.end()

    assert "here: succeeded" in rest
    assert code == 0


def test_ctrl_c_ends_an_endpoint_that_goes_on_and_on(cli: Cli, job: str) -> None:
    with terminal(cli.folder, "debug", f"{job}/hang", *STORE) as seen:
        seen.expect("it goes on and on")
        seen.press(INTERRUPT)
        code, rest = seen.end()

    assert rest.rstrip().endswith("interrupted")
    assert code == 130


def test_ctrl_c_in_the_debugger_shows_where_an_endpoint_is(cli: Cli, job: str) -> None:
    with terminal(cli.folder, "debug", f"{job}/hang", "--break", *STORE) as seen:
        seen.expect("(Pdb) ")
        seen.type("c")
        seen.expect("it goes on and on")
        seen.press(INTERRUPT)
        seen.expect("(Pdb) ")
        seen.type("where")
        where = seen.expect("(Pdb) ")
        seen.type("q")
        code, rest = seen.end()

    assert "hang()" in where
    assert code == 130, where + rest
