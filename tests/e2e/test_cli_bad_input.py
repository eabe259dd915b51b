"""Bad input at the command line: one clear message and exit code 2, or a failed step."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli import ENDPOINTS, SUM_JOB, Cli

QUICK = ("--runner", "inline", "--store", "sqlite:///jobs.db", "--json")
HOSTILE = "<b>\"'[red]x[/red]</b>\x1b[2J\u202e"


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    made = Cli(tmp_path)
    made.write(sum_yaml=SUM_JOB, endpoints_py=ENDPOINTS)
    return made


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("job: a\nsteps:\n  x: &x {call: t.add}\n  y: *x\n", None),
        ("job: a\nsteps:\n\tx: {call: t.add}\n", 3),
        ("job: a\nstepps:\n  x: {call: t.add}\nsteps: {y: {call: t.add}}\n", 2),
        ("job: a\nsteps:\n  x: {call: t.ad}\n", 3),
        ("job: a\nsteps:\n  x: {job: nowhere}\n", 3),
        ("job: a\nsteps:\n  x: {set: 1, after: [y]}\n  y: {set: 1, after: [x]}\n", None),
        ("job: a\nsteps:\n  x: {set: 1, after: [x]}\n", 3),
        ("job: a\nsteps:\n  x: {set: '${{ steps.y.result }}'}\n", 3),
        ("job: a\nsteps:\n  x: {set: '${{ 1 + }}'}\n", 3),
        ("job: a\nsteps:\n  x: {set: .nan}\n", 3),
        ("job: a\nsteps:\n  'x<b>': {set: 1}\n", 3),
        ("job: a\nsteps:\n  x: {sleep: soon}\n", 3),
        ("job: [\n", None),
        ("", None),
        ("job: a\nsteps: " + "[" * 20_000, None),
        ("# " + "x" * 1_000_000 + "\njob: a\n", None),
    ],
)
def test_a_wrong_definition_is_refused_with_its_place(
    cli: Cli, text: str, line: int | None
) -> None:
    cli.write(wrong_yaml=text)

    done = cli("run", "wrong.yaml", "--endpoints", "endpoints.py", *QUICK)

    assert done.code == 2
    assert done.out == ""
    assert done.error["code"] == "invalid-definition"
    assert done.error["problems"]
    assert all(problem["file"] == "wrong.yaml" for problem in done.error["problems"])
    if line is not None:
        assert line in [problem["line"] for problem in done.error["problems"]]
    assert not (cli.folder / "jobs.db").exists()


def test_check_tells_place_and_hint_of_all_that_is_wrong_about_failures_and_waiting(
    cli: Cli,
) -> None:
    cli.write(
        a_yaml="job: a\nendpoints: [./endpoints.py]\nsteps:\n"
        "  x: {call: t.add, timeout: 25h, compensate: t.ad, catch: [{go: z}]}\n"
        "  y:\n    wait:\n      for: approval\n      form: {type: map}\n"
        "  z: {call: t.add, always: true}\n  w: {sleep: soon}\n"
    )

    told, told_as_json = cli("check", "a.yaml"), cli("check", "a.yaml", "--json")

    assert told.code == told_as_json.code == 2
    found = {
        (p["line"], p["path"].removeprefix("steps.")): p for p in told_as_json.json["problems"]
    }
    assert found.keys() == {
        (4, "x.timeout.run"),
        (4, "x.compensate"),
        (4, "x.catch[0].go"),
        (8, "y.wait.form.type"),
        (10, "w.sleep"),
    }
    assert found[4, "x.compensate"]["hint"] == "did you mean t.add?"
    for (line, path), problem in found.items():
        assert f"a.yaml:{line}: steps.{path}" in told.err
        assert problem["hint"][:20] in told.err


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ("{for_each: '${{ params.n }}', call: t.text, with: {value: x}}", "expression-error"),
        ("{call: t.nan}", "bad-result"),
        ("{call: t.deep}", "bad-result"),
        ("{call: t.big, with: {size: 20971520}}", "payload-too-large"),
        ("{call: t.add, with: {a: x, b: 1}}", "bad-input"),
        ("{call: t.fail, with: {message: '${{ params.hostile }}'}}", "broken"),
    ],
)
def test_a_wrong_value_fails_the_step_and_nothing_is_lost(cli: Cli, step: str, code: str) -> None:
    steps = f"  x: {step}\n  ok: {{set: 1}}\n"
    cli.write(a_yaml=f"job: a\nendpoints: [./endpoints.py]\nsteps:\n{steps}")

    params = ("--param", "n=3", "--param", f"hostile={HOSTILE}")
    done = cli("run", "a.yaml", *params, *QUICK)

    assert done.code == 1, done.err
    assert done.json["error"]["code"] == code
    shown = cli("show", done.json["job"], *QUICK[2:]).json
    assert shown["steps"]["x"]["error"]["code"] == code
    assert shown["steps"]["ok"]["result"] == 1


def test_an_endpoint_that_kills_its_process_costs_attempts_and_not_the_run(cli: Cli) -> None:
    cli.write(
        die_yaml="job: die\nendpoints: [./endpoints.py]\nsteps:\n"
        "  x: {call: t.die, retry: [{on: worker-lost, max: 2, first: 10ms}]}\n"
        "  y: {call: t.add, with: {a: 1, b: 1}}\n"
    )

    done = cli("run", "die.yaml", "--workers", 1, *QUICK[2:])

    assert done.code == 1
    assert done.json["error"]["code"] == "worker-lost"
    assert done.json["steps"] == {"failed": 1, "succeeded": 1}


def test_hostile_text_neither_steers_the_terminal_nor_is_taken_for_markup(cli: Cli) -> None:
    cli.write(
        a_yaml="job: a\nendpoints: [./endpoints.py]\nsteps:\n"
        "  x: {call: t.fail, with: {message: '${{ params.hostile }}'}}\n"
    )
    run = cli("run", "a.yaml", "--param", f"hostile={HOSTILE}", "--label", f"l={HOSTILE}", *QUICK)
    job = run.json["job"]

    for command in (("jobs",), ("show", job), ("show", job, "--tree"), ("history", job)):
        done = cli(*command, *QUICK[2:4])

        assert done.code == 0
        assert "\x1b" not in done.out
        assert "\u202e" not in done.out
    assert "[red]x[/red]" in cli("show", job, *QUICK[2:4]).out


def test_a_parameter_that_is_not_utf_8_is_refused(cli: Cli) -> None:
    done = cli("run", "sum.yaml", "--param", b"a=\xff".decode("utf-8", "surrogateescape"), *QUICK)

    assert done.code == 2
    assert "UTF-8" in done.error["message"]


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("absent.module", "absent.module"),
        ("absent.py", "absent.py"),
        ("broken.py", "broken.py:2"),
        ("raises.py", "ZeroDivisionError"),
    ],
)
def test_a_module_that_cannot_be_loaded_is_named(cli: Cli, module: str, said: str) -> None:
    cli.write(broken_py="x = 1\ndef :\n", raises_py="1 / 0\n")

    done = cli("run", "sum.yaml", "--param", "a=1", "--endpoints", module, *QUICK)

    assert done.code == 2
    assert said in done.error["message"]


@pytest.mark.parametrize(
    "what", ["endpoints.py:absent", "endpoints.py:add", "absent:job", ":", "a:"]
)
def test_a_python_job_that_is_none_is_refused(cli: Cli, what: str) -> None:
    done = cli("run", what, *QUICK)

    assert done.code == 2
    assert done.error["code"] in {"usage", "invalid-definition"}
