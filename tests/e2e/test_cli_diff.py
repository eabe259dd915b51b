"""`diff`: two runs, two steps or two attempts, and where they first differ."""

from __future__ import annotations

from typing import Any

import pytest
from support.cli import Cli

STORE = ("--store", "sqlite:///jobs.db")
OTHER = "sqlite:///other.db"
PROGRAM = """
from warrener import RetryLater, current_step, endpoint


@endpoint("shop.list")
def listed(account: str) -> list[int]:
    return [1, 2, 3] if account == "ada" else [1, 2]


@endpoint("shop.price")
def price(number: int) -> dict[str, int]:
    if number == 2 and current_step().attempt == 1:
        raise RetryLater(0, code="busy")
    return {"price": number * 10}
"""
JOB = """
job: shop
params: {type: object, properties: {account: {type: string}}}
steps:
  list: {call: shop.list, with: {account: "${{ params.account }}"}}
  prices: {call: shop.price, for_each: "${{ steps.list.result }}", with: {number: "${{ item }}"}}
result: "${{ steps.prices.results }}"
endpoints: [./shop.py]
"""


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    made = Cli(tmp_path_factory.mktemp("diff"))
    made.write(shop_py=PROGRAM, shop_yaml=JOB)
    return made


def run(cli: Cli, account: str, *store: str) -> str:
    done = cli(
        *("run", "shop.yaml", "--param", f"account={account}", "--runner", "inline", "--json"),
        *(store or STORE),
    )
    assert done.code == 0, done.err
    found: str = done.json["job"]
    return found


@pytest.fixture(scope="module")
def jobs(cli: Cli) -> list[str]:
    return [run(cli, account) for account in ("ada", "ada", "bob")]


def test_runs_that_went_alike_are_the_same_and_their_times_are_told(
    cli: Cli, jobs: list[str]
) -> None:
    done = cli("diff", jobs[0], jobs[1], *STORE)
    found = cli("diff", jobs[0], jobs[1], "--json", *STORE)

    assert (done.code, found.code) == (0, 0)
    assert "the same in all 5 steps, but for times" in done.out
    assert found.json["same"] is True
    assert found.json["first"] is None
    assert 0 < len(found.json["times"]) <= 5


def test_the_first_difference_is_named_with_both_values(cli: Cli, jobs: list[str]) -> None:
    done = cli("diff", jobs[0], jobs[2], *STORE)
    found = cli("diff", jobs[0], jobs[2], "--json", *STORE)

    assert (done.code, found.code) == (1, 1)
    assert "first difference: the parameters of the job differ at account" in done.out
    assert '"ada"' in done.out
    first = found.json["first"]
    assert (first["kind"], first["path"], first["place"]) == ("params", "", "account")
    assert (first["a"], first["b"]) == ("ada", "bob")
    assert [step["path"] for step in found.json["steps"]] == ["list", "prices"]
    assert all(step["follows"] for step in found.json["steps"])


def test_the_steps_that_are_told_are_bounded(cli: Cli, jobs: list[str]) -> None:
    found = cli("diff", jobs[0], jobs[2], "--limit", "1", "--json", *STORE).json
    told = cli("diff", jobs[0], jobs[2], "--limit", "1", *STORE).out

    assert (len(found["steps"]), found["left_out"]) == (1, 1)
    assert "1 of 2" in told


def test_two_items_are_compared(cli: Cli, jobs: list[str]) -> None:
    a, b = (f"{jobs[0]}/prices[{index}]" for index in (0, 1))

    found = cli("diff", a, b, "--json", *STORE).json

    assert (found["first"]["kind"], found["first"]["place"]) == ("inputs", "number")
    assert [found["steps"][0][side]["attempts"] for side in ("a", "b")] == [1, 2]


def test_two_attempts_are_compared(cli: Cli, jobs: list[str]) -> None:
    step = f"{jobs[0]}/prices[1]"

    found = cli("diff", step, "--attempts", "1,2", "--json", *STORE)

    assert found.code == 1
    assert found.json["first"]["kind"] == "state"
    assert (found.json["first"]["a"], found.json["first"]["b"]) == ("failed: busy", "succeeded")


def test_the_other_run_may_be_in_another_store(cli: Cli, jobs: list[str]) -> None:
    other = run(cli, "ada", "--store", OTHER)

    done = cli("diff", jobs[0], other, "--other-store", OTHER, "--json", *STORE)

    assert (done.code, done.json["same"]) == (0, True)


def test_it_is_said_where_values_were_taken_out_of_an_exported_history(
    cli: Cli, jobs: list[str]
) -> None:
    cli("replay", jobs[0], "--export", "taken.jsonl", "--redact", "account", *STORE)

    done = cli("diff", jobs[0], jobs[0], "--other-store", "history:taken.jsonl", *STORE)

    assert done.code == 1
    assert "values were taken out of an exported history" in done.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "two jobs or two steps"),
        (("{1}", "--attempts", "1,2"), "two jobs or two steps"),
        (("--attempts", "1,2"), "is a job"),
        (("/list", "--attempts", "1"), "write two numbers"),
        (("/list", "--attempts", "1,2"), "no attempt 2"),
        (("{1}/list",), "a job with a job"),
        (("/list", "{1}/none"), "has no step 'none'"),
        (("ffffffff",), "no job has the id"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    cli: Cli, jobs: list[str], arguments: tuple[str, ...], told: str
) -> None:
    words = [word.replace("{1}", jobs[1]) for word in arguments]
    own = jobs[0] + (words.pop(0) if words and words[0].startswith("/") else "")

    done = cli("diff", own, *words, *STORE)

    assert done.code == 2
    assert told in done.err


def test_a_hostile_value_stays_text(cli: Cli) -> None:
    hostile = "[bold]\x1b[31m"
    a, b = (run(cli, account) for account in ("x", hostile))

    done: Any = cli("diff", a, b, *STORE)

    assert "\x1b" not in done.out
    assert "[bold]" in done.out
