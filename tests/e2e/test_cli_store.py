"""`warrener store ...`, as people and scripts use it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support import log_writer
from support.cli import ENDPOINTS, SUM_JOB, Cli, Done
from support.mongo import fresh_mongo_url

STORE = ("--store", "sqlite:///jobs.db")
BIG_JOB = """
job: big
steps:
  text: {call: t.big, with: {size: 80000}}
endpoints: [./endpoints.py]
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    made = Cli(tmp_path)
    made.write(sum_yaml=SUM_JOB, big_yaml=BIG_JOB, endpoints_py=ENDPOINTS)
    return made


def run(cli: Cli, what: str = "sum.yaml", *more: object, store: tuple[str, ...] = STORE) -> str:
    params = ("--param", "a=1") if what == "sum.yaml" else ()
    done = cli("run", what, *params, "--json", *more, *store)
    assert done.code == 0, done
    job: str = done.json["job"]
    return job


def ok(done: Done) -> Done:
    assert done.code == 0, done
    return done


def change(cli: Cli, statement: str) -> None:
    with closing(sqlite3.connect(cli.folder / "jobs.db")) as db, db:
        db.execute(statement)


def history(cli: Cli, job: str, *more: object) -> list[Any]:
    return ok(cli("history", job, "--tree", "--json", *more, *STORE)).lines


# --- init and info ----------------------------------------------------------------------------


def test_a_store_is_made_once_and_stays_as_it_is(cli: Cli) -> None:
    first = ok(cli("store", "init", "--json", *STORE)).json
    run(cli)
    again = ok(cli("store", "init", "--json", "--partitions", 1, *STORE)).json

    assert (first["made"], first["partitions"], again["made"]) == (True, 1, False)
    assert ok(cli("store", "info", "--json", *STORE)).json["events"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("init", "--partitions", "4", *STORE), 2, "one partition, not 4"),
        (("init", "--partitions", "0", *STORE), 2, "partitions"),
        (("init", "--store", "sqlite:///:memory:"), 2, "ends with this command"),
        (("init", "--store", "sqlite:///missing/jobs.db"), 4, "does not exist"),
        (("info", *STORE), 4, "there is no store"),
        (("verify", *STORE), 4, "there is no store"),
        (("backup", "b", *STORE), 4, "there is no store"),
        (("restore", "b", *STORE), 2, "No such file"),
        (("prune", "--older-than", "1d", *STORE), 4, "there is no store"),
        (("rebuild-views", *STORE), 4, "there is no store"),
        (("prune", *STORE), 2, "older-than"),
        (("verify", "--expect-link", "abc@1", *STORE), 2, "64 hexadecimal digits"),
        (("info", "--store", "mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=100"), 4, ""),
    ],
)
def test_what_cannot_be_done_ends_with_its_code_and_one_sentence(
    cli: Cli, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = cli("store", *arguments, "--json")

    assert (done.code, done.out) == (code, "")
    assert message in done.error["message"]
    assert not (cli.folder / "jobs.db").exists()


@pytest.mark.parametrize(
    "command", ["init", "info", "verify", "backup", "restore", "prune", "rebuild-views"]
)
def test_every_command_has_help_with_an_example(cli: Cli, command: str) -> None:
    assert f"warrener store {command}" in " ".join(ok(cli("store", command, "--help")).out.split())


def test_info_tells_what_a_store_holds_and_no_password(cli: Cli) -> None:
    run(cli)
    run(cli, "big.yaml")

    found = ok(cli("store", "info", "--json", *STORE)).json
    (log,) = found["logs"]

    assert (found["kind"], found["partitions"], found["open_roots"], found["blobs"]) == (
        "sqlite",
        1,
        0,
        1,
    )
    assert log["events"] == found["events"] > 10
    assert {view["model"] for view in log["views"]} >= {"jobs", "history", "control"}
    assert len(log["link"]) == 64
    text = ok(cli("store", "info", *STORE)).out
    assert "sqlite:///jobs.db: sqlite, partitions: 1" in text


# --- verify -----------------------------------------------------------------------------------


def test_a_whole_store_is_told_whole_and_its_last_link_expected_later(cli: Cli) -> None:
    run(cli)
    first = ok(cli("store", "verify", "--json", *STORE)).json
    (part,) = first["partitions"]
    link = f"{part['link']}@0/{part['last']}"
    run(cli)

    again = ok(cli("store", "verify", "--json", "--expect-link", link, *STORE)).json

    assert (first["clean"], first["damages"], again["clean"]) == (True, [], True)
    assert again["partitions"][0]["last"] > part["last"]
    assert (
        f"last link: {again['partitions'][0]['link']}@0/"
        in ok(cli("store", "verify", "--from", part["last"], *STORE)).out
    )


def test_each_damage_is_a_line_that_says_what_to_do(cli: Cli) -> None:
    run(cli)
    change(cli, "UPDATE log_events SET state = state || ' ' WHERE position = 3")

    done, text = cli("store", "verify", "--json", *STORE), cli("store", "verify", *STORE)

    assert (done.code, text.code) == (1, 1)
    assert done.json["clean"] is False
    assert done.json["count"] == len(done.json["damages"]) == 1
    (line,) = [line for line in text.out.splitlines() if line.startswith("damaged:")]
    assert "partition 0, position" in line
    assert "restore a backup" in line


def test_a_link_that_does_not_hold_is_damage(cli: Cli) -> None:
    run(cli)

    done = cli("store", "verify", "--json", "--expect-link", f"{'0' * 64}@3", *STORE)

    assert done.code == 1
    assert "link" in done.json["damages"][0]["what"]
    outside = cli("store", "verify", "--json", "--expect-link", f"{'0' * 64}@7/3", *STORE)
    assert (outside.code, "partitions 0 to 0" in outside.error["message"]) == (2, True)


# --- backup and restore -----------------------------------------------------------------------


def test_a_restored_store_answers_as_the_old_one_did_and_goes_on(cli: Cli) -> None:
    job, big = run(cli), run(cli, "big.yaml")
    copy = ("--store", "sqlite:///copy.db")

    saved = ok(cli("store", "backup", "b.zst", "--json", *STORE)).json
    done = ok(cli("store", "restore", "b.zst", "--json", *copy)).json

    assert (done["events"], done["blobs"], done["epoch"]) == (saved["events"], 1, 1)
    for each in (job, big):
        lines = [cli("history", each, "--json", *store).lines for store in (STORE, copy)]
        assert lines[0] == lines[1] != []
    assert ok(cli("show", big, "--json", *copy)).json["steps"]["text"]["result"] == "x" * 80_000
    assert ok(cli("store", "verify", "--json", *copy)).json["clean"]
    run(cli, store=copy)


def test_a_backup_is_not_overwritten_and_a_full_store_not_restored_into(cli: Cli) -> None:
    run(cli)
    ok(cli("store", "backup", "b.zst", *STORE))
    before = (cli.folder / "b.zst").read_bytes()

    again = cli("store", "backup", "b.zst", "--json", *STORE)
    into = cli("store", "restore", "b.zst", "--json", *STORE)

    assert (again.code, into.code) == (2, 2)
    assert "--force" in again.error["message"]
    assert "the store is not empty" in into.error["message"]
    assert (cli.folder / "b.zst").read_bytes() == before
    ok(cli("store", "backup", "b.zst", "--force", *STORE))


def test_a_file_that_is_no_backup_leaves_the_store_empty(cli: Cli) -> None:
    run(cli)
    ok(cli("store", "backup", "b.zst", *STORE))
    data = (cli.folder / "b.zst").read_bytes()
    for content in (b"", b"text", data[: len(data) // 2], data[:-1]):
        (cli.folder / "bad.zst").write_bytes(content)

        done = cli("store", "restore", "bad.zst", "--json", "--store", "sqlite:///new.db")

        assert done.code == 2, done
        assert "bad.zst" in done.error["message"]
    ok(cli("store", "restore", "b.zst", "--store", "sqlite:///new.db"))


def test_nobody_works_on_a_store_that_is_half_restored(cli: Cli) -> None:
    run(cli)
    ok(cli("store", "backup", "b.zst", *STORE))
    copy = ("--store", "sqlite:///copy.db")
    ok(cli("store", "init", *copy))
    with closing(sqlite3.connect(cli.folder / "copy.db")) as db, db:
        db.execute("INSERT INTO log_meta VALUES ('epoch', -1)")  # as a killed restore leaves it

    for command in (("jobs",), ("run", "sum.yaml", "--param", "a=1")):
        done = cli(*command, "--json", *copy)
        assert (done.code, "run warrener store restore again" in done.error["message"]) == (4, True)
    assert ok(cli("store", "info", "--json", *copy)).json["logs"][0]["restoring"]
    assert cli("store", "backup", "c.zst", *copy).code == 2

    assert ok(cli("store", "restore", "b.zst", "--json", *copy)).json["resumed"]
    ok(cli("jobs", *copy))


def test_a_backup_that_is_made_while_others_write_is_whole(cli: Cli) -> None:
    ok(cli("store", "init", *STORE))
    path = str(cli.folder / "jobs.db")
    command = [sys.executable, log_writer.__file__, path, "1", "1000000"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.close()
        said = 0
        for number in range(4):
            for _ in range(50):
                said = int(writer.stdout.readline().split()[0])  # the position of a commit
            saved = ok(cli("store", "backup", f"{number}.zst", "--json", *STORE)).json
            assert saved["events"] >= said
            assert saved["events"] % log_writer.EVENTS_PER_COMMIT == 0
        writer.kill()
        writer.stdout.close()
    for number in range(4):
        copy = ("--store", f"sqlite:///{number}.db")
        ok(cli("store", "restore", f"{number}.zst", *copy))
        assert ok(cli("store", "verify", "--json", *copy)).json["clean"]


# --- prune ------------------------------------------------------------------------------------


def test_a_pruned_job_prints_the_same_history_from_its_archive(cli: Cli) -> None:
    job, big = run(cli, "sum.yaml", "--key", "mine"), run(cli, "big.yaml")
    before = {each: history(cli, each) for each in (job, big)}
    middle = ("--at", before[job][3]["position"], "--json", *STORE)
    then = ok(cli("replay", job, *middle)).json
    would = ok(cli("store", "prune", "--older-than", "0s", "--dry-run", "--json", *STORE)).json
    assert history(cli, job) == before[job]

    done = ok(cli("store", "prune", "--older-than", "0s", "--json", *STORE)).json

    assert (done["trees"], done["events"], done["blobs"]) == (2, would["events"], 1)
    assert Path(done["file"]).parent == cli.folder / "jobs.db.archives"
    for each in (job, big):
        assert history(cli, each) == before[each]
        assert history(cli, each[:8]) == before[each]
    assert ok(cli("replay", job, *middle)).json == then
    assert ok(cli("replay", f"{job[:8]}/first", "--json", *STORE)).json["state"] == "succeeded"
    assert ok(cli("jobs", "--json", *STORE)).lines == []
    assert ok(cli("store", "verify", "--json", *STORE)).json["clean"]
    for command in ("show", "why", "cancel", "retry"):
        refused = cli(command, job, "--json", *STORE)
        assert (refused.code, "was pruned" in refused.error["message"]) == (2, True)
    again = cli("run", "sum.yaml", "--param", "a=1", "--key", "mine", "--json", *STORE)
    assert (again.code, "was pruned" in again.error["message"]) == (2, True)
    assert ok(cli("store", "info", "--json", *STORE)).json["logs"][0]["archives"] == [done["file"]]


def test_a_pruned_job_is_exported_from_its_archive_as_it_was_from_the_log(cli: Cli) -> None:
    job = run(cli, "big.yaml")
    export = ("replay", job[:8], "--no-redact", *STORE, "--export")
    ok(cli(*export, "before.jsonl"))
    ok(cli("store", "prune", "--older-than", "0s", *STORE))

    ok(cli(*export, "after.jsonl"))

    # All lines but the first, which says when it was made, and the last, which has their hash.
    before, after = (
        (cli.folder / f"{name}.jsonl").read_text().splitlines()[1:-1]
        for name in ("before", "after")
    )
    assert sorted(after) == sorted(before)


def test_an_archive_may_be_moved_and_named(cli: Cli) -> None:
    job = run(cli)
    before = history(cli, job)
    folder = cli.folder / "elsewhere"
    done = ok(
        cli("store", "prune", "--older-than", "0s", "--archive", folder, "--json", *STORE)
    ).json
    moved = Path(done["file"]).rename(cli.folder / "moved.zst")

    gone = cli("history", job, "--json", *STORE)

    assert gone.code == 2
    assert done["file"] in gone.error["message"]
    assert "--archive FILE" in gone.error["message"]
    assert history(cli, job, "--archive", moved) == before


def test_only_what_is_old_enough_goes_and_failed_jobs_may_stay(cli: Cli) -> None:
    cli.write(bad_yaml="job: bad\nendpoints: [./endpoints.py]\nsteps:\n  a: {call: t.fail}\n")
    run(cli)
    assert cli("run", "bad.yaml", "--json", *STORE).code == 1

    young = ok(cli("store", "prune", "--older-than", "1h", "--json", *STORE)).json
    some = ok(cli("store", "prune", "--older-than", "0s", "--keep-failed", "--json", *STORE)).json
    rest = ok(cli("store", "prune", "--older-than", "0s", "--json", *STORE)).json

    assert (young["trees"], young["file"], some["trees"], rest["trees"]) == (0, None, 1, 1)
    future = cli("store", "prune", "--older-than", "2999-01-01", "--json", *STORE)
    assert (future.code, "yet to come" in future.error["message"]) == (2, True)


# --- rebuild-views ----------------------------------------------------------------------------


def test_read_models_made_anew_give_the_same_answers(cli: Cli) -> None:
    job = run(cli)
    before = ok(cli("show", job, "--json", *STORE)).json
    change(cli, "UPDATE view_jobs SET state = 'nonsense'")

    done = ok(cli("store", "rebuild-views", "--json", *STORE)).json

    assert done["events"] > 0
    assert ok(cli("show", job, "--json", *STORE)).json == before
    assert ok(cli("jobs", "--state", "succeeded", "--json", *STORE)).lines[0]["job"] == job


# --- a store of another kind ------------------------------------------------------------------


def test_a_store_in_a_file_moves_to_mongodb_and_back(cli: Cli) -> None:
    job, big = run(cli), run(cli, "big.yaml")
    before = {each: history(cli, each) for each in (job, big)}
    mongo, copy = ("--store", fresh_mongo_url()), ("--store", "sqlite:///copy.db")

    ok(cli("store", "backup", "1.zst", *STORE))
    ok(cli("store", "restore", "1.zst", *mongo))
    assert ok(cli("store", "verify", "--json", *mongo)).json["clean"]
    ok(cli("store", "backup", "2.zst", *mongo))
    ok(cli("store", "restore", "2.zst", *copy))

    for each in (job, big):
        assert cli("history", each, "--tree", "--json", *copy).lines == before[each]
    found = ok(cli("store", "info", "--json", *copy)).json
    assert (found["epoch"], found["partitions"]) == (2, 1)


def test_stores_in_mongodb_are_made_pruned_and_told_about(cli: Cli) -> None:
    mongo = ("--store", fresh_mongo_url())
    assert ok(cli("store", "init", "--partitions", 3, "--json", *mongo)).json["made"]
    assert not ok(cli("store", "init", "--partitions", 3, "--json", *mongo)).json["made"]
    other = cli("store", "init", "--partitions", 4, "--json", *mongo)
    assert (other.code, "3 partitions" in other.error["message"]) == (2, True)

    found = ok(cli("store", "info", "--json", *mongo)).json
    assert [log["partition"] for log in found["logs"]] == [0, 1, 2]
    none = ok(cli("store", "prune", "--older-than", "0s", "--archive", "a", "--json", *mongo)).json
    assert none["trees"] == 0
    unnamed = cli("store", "prune", "--older-than", "0s", "--json", *mongo)
    assert (unnamed.code, "--archive FOLDER" in unnamed.error["message"]) == (2, True)
    ok(cli("store", "backup", "b.zst", *mongo))
    wrong = cli("store", "restore", "b.zst", "--json", "--store", "sqlite:///one.db")
    assert (wrong.code, "one partition, not 3" in wrong.error["message"]) == (2, True)
