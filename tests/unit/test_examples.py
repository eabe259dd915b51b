"""The examples and the README do what they say."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest
from support.cli import Cli

from warrener.domain.definition.model import JobDefinition
from warrener.services.local_run import START
from warrener.services.sources import load
from warrener.testing import LocalRun

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "ops" / "examples"
README = (ROOT / "README.md").read_text("utf-8")
SHOWN = [
    *("hello.yaml", "social-report.yaml", "social_report.py", "census.yaml"),
    *("approval.yaml", "approval.py"),
]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def at_root(home: Path) -> Cli:
    """Return the command line in this repository, with a home and so a store elsewhere."""
    return Cli(ROOT, {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"})


def definition(what: str) -> JobDefinition:
    return load(str(EXAMPLES / what)).source.main


def report(home: Path, account: str, *more: str, code: int = 0):
    """Run the social report of an account; return the outcome and its steps by name."""
    warrener = at_root(home)
    file = EXAMPLES / "social-report.yaml"
    options = ["--param", f"account={account}", "--runner", "threads", "--json", *more]
    done = warrener("run", file, *options)
    assert done.code == code, done.err
    return done.json, warrener("show", done.json["job"], "--json").json["steps"]


def test_both_faces_of_the_social_report_are_one_definition():
    yaml, python = definition("social-report.yaml"), definition("social_report.py:social_report")

    assert yaml.to_json() == python.to_json()
    assert yaml.hash == python.hash


def test_both_faces_of_the_approval_are_one_definition():
    yaml, python = definition("approval.yaml"), definition("approval.py:approval")

    assert yaml.to_json() == python.to_json()


def test_the_approval_shows_every_word_about_failures_and_waiting():
    steps = definition("approval.yaml").steps.values()

    words = ("wait", "sleep", "catch", "always", "compensate", "timeout", "limits")
    for word in (*words, "on_user_action"):
        assert any(getattr(step, word) for step in steps), word
    assert definition("approval.yaml").deadline


def approval(account: str) -> LocalRun:
    run = LocalRun(str(EXAMPLES / "approval.yaml"))
    run.start({"item": "tent", "price": 3.5, "account": account})
    assert [action.name for action in run.actions] == ["approval"]
    return run


def states(run: LocalRun) -> dict[str, str]:
    return {name: step.state for name, step in run.show.steps.items()}


@pytest.mark.parametrize(
    ("account", "paid"),
    [
        ("ada", "receipt over 3.5 for ada"),
        ("expired", "receipt over 3.5 for expired"),
        ("broke", "invoice to broke: the bank pays nothing for broke"),
    ],
)
def test_an_approved_order_is_shipped_after_two_weeks_however_it_is_paid(account, paid):
    run = approval(account)

    run.answer({"approved": True})
    if account == "expired":
        run.answer({"card": "4711"}, "renew-card")

    assert (run.state, run.result) == ("succeeded", f"tent is on its way: {paid}")
    assert run.now - START == timedelta(days=14)
    assert run.step("tidy").result == "tent is gone"


def test_an_order_that_nobody_approves_in_time_is_undone():
    run = approval("ada")

    run.advance("4d")

    assert run.state == "failed"
    assert states(run)["approval"] == "failed"
    assert states(run)["reserve.compensate"] == "succeeded"
    assert run.step("tidy").result == "tent is back"


def test_an_order_that_is_refused_is_neither_charged_nor_shipped():
    run = approval("ada")

    run.answer({"approved": False})

    assert run.state == "succeeded"
    assert {states(run)[name] for name in ("charge", "cool_off", "ship")} == {"skipped"}
    assert run.step("tidy").result == "tent is back"


def test_both_faces_of_the_census_are_one_definition():
    from warrener.services.census import census

    assert definition("census.yaml").to_json() == census.definition.to_json()


@pytest.mark.parametrize("name", SHOWN)
def test_the_two_commands_at_the_head_of_an_example_work(name, tmp_path):
    text = (EXAMPLES / name).read_text("utf-8")
    commands = re.findall(r"^#?    +(warrener .*)$", text, re.MULTILINE)
    assert len(commands) == 2

    for command in commands:
        small = command.replace("folder=.", "folder=ops/examples")
        done = at_root(tmp_path)(*shlex.split(small)[1:])

        assert done.code == 0, done.err


def test_the_social_report_goes_down_into_groups_and_tolerates_one_that_is_gone(tmp_path):
    outcome, steps = report(tmp_path, "ada", "--param", "twitter=@ada")

    assert outcome["result"] == {
        "account": "ada",
        "posts": sum(
            len(f"pages/{n}") for n in ("ada", "engineers", "poets", "compilers", "bridges")
        ),
        "tweets": 2,
        "groups": 4,
        "missing": 1,
        "changed": True,
    }
    assert steps["groups"]["items"] == {"succeeded": 2, "failed": 1}
    assert steps["publish"]["result"] == "https://reports.invalid/ada"
    assert steps["apologise"]["state"] == "skipped"


def test_simulated_failures_cost_a_second_attempt_each(tmp_path):
    _, steps = report(tmp_path, "poets", "--param", "twitter=@p")

    attempts = {name: step["attempts"] for name, step in steps.items() if step["attempts"]}

    assert attempts == {"load": 1, "facebook": 2, "twitter": 2, "merge": 1, "publish": 1}


def test_without_a_handle_nobody_asks_twitter_and_nothing_new_is_not_published(tmp_path):
    outcome, steps = report(tmp_path, "poets")

    assert outcome["state"] == "succeeded"
    assert steps["twitter"]["state"] == "not_needed"
    assert steps["publish"]["state"] == "skipped"


def test_a_report_that_cannot_be_made_is_apologised_for(tmp_path):
    outcome, steps = report(tmp_path, "grace", code=1)

    assert outcome["error"]["code"] == "page-private"
    assert steps["merge"]["state"] == "upstream_failed"
    assert steps["apologise"]["result"] == "told grace that there is no report today"


def test_the_drawing_of_the_social_report_is_current(tmp_path):
    done = at_root(tmp_path)("graph", EXAMPLES / "social-report.yaml", "--format", "svg")

    drawn = (EXAMPLES / "social-report.svg").read_text("utf-8")
    assert done.out == drawn, "draw it anew with `warrener graph ... --format svg`"


def test_the_first_job_of_the_readme_works_as_it_stands_there(tmp_path):
    blocks = [match.groups() for match in _BLOCK.finditer(README)]
    files = {text.split("\n", 1)[0].removeprefix("# "): text for _, text in blocks}
    for name in ("hello.py", "hello.yaml"):
        (tmp_path / name).write_text(files[name])
    (script,) = [text for kind, text in blocks if kind == "sh"]

    for command in script.splitlines():
        program, *arguments = shlex.split(command)
        done = Cli(tmp_path)(*arguments)

        assert (program, done.code) == ("warrener", 0), f"{command}: {done.err}"
        if arguments[0] == "run":
            assert "Hello, you!" in done.out


def test_what_the_readme_quotes_is_in_the_examples():
    quoted = [text for kind, text in _BLOCK.findall(README) if kind in ("python", "yaml")]
    examples = "\n".join(file.read_text("utf-8") for file in EXAMPLES.glob("*.[py]*"))

    for text in quoted:
        body = re.sub(r"\A# hello.*\n", "", text)
        assert body in examples
    assert len(quoted) == 6


def test_every_link_of_the_readme_leads_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", README)

    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_readme_names_what_steps_can_say():
    from warrener.domain.definition import model

    said = {"wait", "sleep", "catch", "always", "compensate", "timeout", "limits", "on_user_action"}

    assert said <= set(model.StepDefinition.__struct_fields__)
    assert all(f"`{word}:" in README for word in {*said, "deadline"})
