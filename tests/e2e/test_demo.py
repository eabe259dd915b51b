"""`warrener demo` counts what `find` counts, also while its workers are killed."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest
from support.cli import Cli
from support.scale import scaled
from support.trees import find, nasty_tree, unlock

STDLIB = Path(sysconfig.get_paths()["stdlib"])
FILES_MAX = 4_000  # some installations keep gigabytes of packages in there
TRIES_MAX = 3
QUIET = {"PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    folder = nasty_tree(tmp_path_factory.mktemp("demo") / "nasty \n tree%20\u00e9")
    for number in range(300):  # enough steps for kills to strike
        below = folder / f"package-{number % 30}" / f"part-{number}"
        below.mkdir(parents=True)
        (below / "code.py").write_text(f"def f{number}(): pass\n" * 400)
    yield folder
    unlock(folder)


def demo(home: Path, folder: Path, *options: str):
    """Run the demo; return its whole answer."""
    done = Cli(home, QUIET)("demo", folder, "--json", "--workers", "2", *options)
    assert done.code == 0, done.err
    return done.json


def library() -> Path:
    """Return the standard library, or a part of it where it holds too much for a test."""
    return STDLIB if find(STDLIB)[0] <= FILES_MAX else STDLIB / "idlelib"


def test_the_standard_library_has_as_many_files_and_bytes_as_find_says(tmp_path):
    folder = library()
    for _ in range(TRIES_MAX):  # others may import from it meanwhile, and leave caches there
        before = find(folder)
        answer = demo(tmp_path, folder)
        if find(folder) == before:
            break

    assert answer["state"] == "succeeded"
    assert (answer["result"]["files"], answer["result"]["bytes"]) == before
    assert answer["result"]["functions"] > 100


def test_a_nasty_tree_has_as_many_files_and_bytes_as_find_says(tmp_path, nasty):
    answer = demo(tmp_path, nasty)

    assert (answer["result"]["files"], answer["result"]["bytes"]) == find(nasty)
    assert answer["result"]["unreadable"] == (not os.access(nasty / "locked", os.R_OK))
    assert answer["result"]["functions"] >= 120_000
    assert answer["steps"].keys() == {"succeeded", "not_needed"}


@pytest.mark.parametrize("_", range(scaled(2)))
def test_killed_workers_change_nothing_in_the_totals(tmp_path, nasty, _):
    answer = demo(tmp_path, nasty, "--chaos")

    assert answer["killed"] > 0
    assert answer["state"] == "succeeded"
    assert (answer["result"]["files"], answer["result"]["bytes"]) == find(nasty)
    assert answer["result"]["functions"] == 120_000 + 6


def test_the_demo_ends_with_a_table_and_with_commands_that_work(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.py").write_text("def f(): pass\n")

    done = Cli(tmp_path)("demo", tmp_path / "tree")

    assert done.code == 0, done.err
    assert "Python" in done.out
    commands = [line.split() for line in done.out.splitlines() if "  warrener " in line]
    assert [words[1] for words in commands] == ["show", "history", "graph"]
    assert [Cli(tmp_path)(*words[1:]).code for words in commands] == [0, 0, 0]


def test_what_is_no_folder_is_refused_with_one_sentence(tmp_path):
    done = Cli(tmp_path)("demo", tmp_path / "nowhere")

    assert done.code == 2
    assert "nowhere is not a folder" in done.err
