"""The census: listing, chunks, counting, parsing and the sums, without a controller."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.trees import ODD_NAMES, PYTHON, find, nasty_tree, unlock

from warrener.domain.errors import PermanentError, UsageError
from warrener.services import census, chunks, tallies
from warrener.services.census import Census, count_chunk, list_folder, merge, parse_chunk


def count_all(folder: str) -> Census:
    """Walk a tree as the job does, results passing through JSON on the way."""
    listing = list_folder(folder)
    counts = [through_json(count_chunk(folder, chunk)) for chunk in listing.chunks]
    python = [parse_chunk(folder, chunk) for chunk in listing.python]
    below = [count_all(f"{folder}/{name}") for name in listing.folders]
    return merge(listing.unreadable, counts, python if listing.has_python else None, below)


def through_json(value):
    return msgspec.json.decode(msgspec.json.encode(value), type=type(value))


@pytest.fixture
def nasty(tmp_path):
    folder = nasty_tree(tmp_path / "nasty", large_bytes=3_000_000)
    yield folder
    unlock(folder)


def test_a_nasty_tree_has_as_many_files_and_bytes_as_find_says(nasty):
    found = count_all(tallies.as_text(str(nasty)))

    assert (found.files, found.bytes) == find(nasty)
    assert found.unreadable == (not os.access(nasty / "locked", os.R_OK))
    assert found.folders == int(
        subprocess.run(
            ["find", nasty, "-type", "d", "-printf", "x"], capture_output=True, check=False
        ).stdout.count(b"x")
    )
    assert found.unparsed == 4  # bad.py, nul.py, and two with prose in them


def test_the_sums_by_language_add_up_to_the_totals(nasty):
    found = count_all(tallies.as_text(str(nasty)))

    for field in ("files", "bytes", "lines", "words"):
        sums = sum(getattr(tally, field) for tally in found.languages.values())
        assert sums == getattr(found, field)
    assert found.languages["Python"].files == 6  # no pipe and no link
    assert (found.functions, found.classes) == (6, 2)


@given(st.binary(min_size=1, max_size=40).filter(lambda raw: b"\0" not in raw and b"/" not in raw))
def test_every_file_name_survives_json(raw):
    name = os.fsdecode(raw)

    text = json.loads(json.dumps(tallies.as_text(name), ensure_ascii=False).encode())

    assert os.fsencode(tallies.as_path(text)) == raw
    assert all(letter >= " " for letter in text)


def test_readable_names_stay_readable():
    assert tallies.as_text("/home/zoë/x y.py") == "/home/zoë/x y.py"
    assert tallies.as_text(os.fsdecode(b"latin1-\xe9.py")) == "latin1-%E9.py"
    assert tallies.as_text("100%") == "100%25"


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=3), st.integers(0, 40))),
    st.integers(1, 100),
)
def test_chunks_cover_each_file_once_and_in_order(files, chunk_bytes):
    named = {name.replace(b"\0", b"x").replace(b"/", b"x"): size for name, size in files}

    made = chunks.chunked(list(named.items()), chunk_bytes)

    ends = [
        os.fsencode(tallies.as_path(end)) for chunk in made for end in (chunk.first, chunk.last)
    ]
    assert ends == sorted(ends)
    assert sum(chunk.files for chunk in made) == len(named)
    assert sum(chunk.bytes for chunk in made) == sum(named.values())
    assert all(chunk.files == 1 or chunk.bytes <= chunk_bytes for chunk in made)


def test_a_huge_folder_has_a_bounded_number_of_chunks():
    files = [(b"%07d" % number, 1_000_000) for number in range(200_000)]

    made = chunks.chunked(files, chunks.CHUNK_BYTES)

    assert chunks.CHUNKS_MAX / 2 <= len(made) <= 2 * chunks.CHUNKS_MAX + 1


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 1000])
@pytest.mark.parametrize("text", [b"a b\nc", b"word ", b" \n\t", b"x", b"\n"])
def test_lines_and_words_are_those_of_the_whole_file_whatever_the_blocks(
    tmp_path, monkeypatch, size, text
):
    monkeypatch.setattr(tallies, "BLOCK_BYTES", 7)
    data = (text * (size // len(text) + 1))[:size]
    path = tmp_path / "file"
    path.write_bytes(data)

    tally = tallies.count(str(path), size)

    assert (tally.lines, tally.words) == (data.count(b"\n"), len(data.split()))


def test_lines_of_a_file_that_is_not_text_are_not_counted(tmp_path):
    (tmp_path / "x.so").write_bytes(b"\x7fELF\0\n\n words\n")

    assert tallies.count(str(tmp_path / "x.so"), 15) == tallies.Tally(files=1, bytes=15)


def test_a_pipe_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.py")
    done: list[str] = []

    def count_pipe():
        with pytest.raises(OSError, match="no plain file"):
            tallies.count(str(tmp_path / "pipe.py"), 5)
        done.append("refused")

    thread = threading.Thread(target=count_pipe, daemon=True)
    thread.start()
    thread.join(10)

    assert done
    assert list_folder(str(tmp_path)).chunks == []


def test_a_file_that_became_a_link_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text("a b c\n")
    (tmp_path / "file").symlink_to("secret")

    with pytest.raises(OSError, match="file"):
        tallies.count(str(tmp_path / "file"), 6)


def test_a_file_that_cannot_be_read_counts_with_its_bytes(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("a\n")
    (chunk,) = list_folder(str(tmp_path)).chunks

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(tallies.os, "open", refuse)
    counted = count_chunk(str(tmp_path), chunk)

    assert counted.languages == {"Text": tallies.Tally(files=1, bytes=2)}
    assert counted.unreadable == 1


def test_files_that_vanish_after_the_listing_are_left_out(tmp_path):
    for name in ("a.py", "b.py", "c.py"):
        (tmp_path / name).write_text("def f(): pass\n")
    listing = list_folder(str(tmp_path))
    (tmp_path / "b.py").unlink()

    counted = count_chunk(str(tmp_path), listing.chunks[0])
    parsed = parse_chunk(str(tmp_path), listing.python[0])

    assert counted.languages["Python"].files == 2
    assert parsed.functions == 2


def test_a_folder_that_vanishes_counts_as_empty(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    (folder / "a.py").write_text("x")
    listing = list_folder(str(folder))
    (folder / "a.py").unlink()
    folder.rmdir()

    assert count_chunk(str(folder), listing.chunks[0]).languages == {}
    assert parse_chunk(str(folder), listing.python[0]).functions == 0
    assert list_folder(str(folder)) == census.Listing([], [], [], False, 0)


def test_a_folder_that_cannot_be_listed_counts_as_unreadable(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("x")
    (chunk,) = list_folder(str(tmp_path)).chunks

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(tallies.os, "scandir", refuse)

    assert list_folder(str(tmp_path)).unreadable == 1
    assert count_chunk(str(tmp_path), chunk).unreadable == 1
    assert parse_chunk(str(tmp_path), chunk).unparsed == 0


def test_only_the_first_folder_has_to_exist(tmp_path):
    missing = str(tmp_path / "missing")

    assert list_folder(missing).folders == []
    with pytest.raises(PermanentError, match="missing is not a folder"):
        list_folder(missing, must_exist=True)


def test_definitions_are_found_wherever_statements_can_stand(tmp_path):
    source = (
        "if a:\n  def f(): pass\nelse:\n  def g(): pass\n"
        "try:\n  class A: pass\nexcept E:\n  class B: pass\nelse:\n  def h(): pass\n"
        "finally:\n  def i(): pass\n"
        "match x:\n  case 1:\n    def j(): pass\n"
        "with a: \n  async def k(): pass\nfor x in y:\n  def l():\n    class C: pass\n"
    )
    (tmp_path / "a.py").write_text(source)

    assert tallies.definitions(str(tmp_path / "a.py"), len(source)) == (7, 3)


@pytest.mark.parametrize(
    "source", [b"def broken(:", b"x = '\0'", b"(" * 5_000, b"# coding: nonsense\n", b"\xff\xfe"]
)
def test_what_is_not_python_counts_as_unparsed(tmp_path, source):
    (tmp_path / "a.py").write_bytes(source)
    (chunk,) = list_folder(str(tmp_path)).python

    assert parse_chunk(str(tmp_path), chunk) == census.Parsed(unparsed=1)


def test_warnings_about_parsed_code_are_kept_quiet(tmp_path, recwarn):
    (tmp_path / "a.py").write_text("x = '\\d'\nassert (1, 2)\n")

    tallies.definitions(str(tmp_path / "a.py"), 24)

    assert not recwarn.list


def test_the_chunks_of_python_files_hold_python_alone(tmp_path):
    (tmp_path / "a.py").write_bytes(PYTHON)
    (tmp_path / "b.txt").write_bytes(PYTHON)
    (tmp_path / "c.py").write_bytes(PYTHON)
    listing = list_folder(str(tmp_path))

    assert [chunk.files for chunk in listing.python] == [2]
    assert parse_chunk(str(tmp_path), listing.python[0]).functions == 6


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.py", "Python"),
        ("A.PY", "Python"),
        ("archive.tar.gz", "Archives"),
        (".py", "Other"),
        ("Makefile", "Make"),
        ("noend", "Other"),
        ("x.unheard-of", "Other"),
    ],
)
def test_the_language_follows_from_the_suffix(name, expected):
    assert tallies.language(name) == expected


def test_the_demo_counts_the_standard_library_unless_told_otherwise(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)

    assert Path(census.params()["folder"], "os.py").is_file()
    assert census.params(str(tmp_path / "link")) == {"folder": str(tmp_path.resolve())}


def test_what_is_no_folder_is_refused_for_the_demo(tmp_path):
    with pytest.raises(UsageError, match="nowhere is not a folder"):
        census.params(str(tmp_path / "nowhere"))


def test_the_table_begins_with_the_language_that_takes_most_room():
    result = {
        "bytes": 100,
        "languages": {"C": {"files": 1, "bytes": 25}, "Python": {"files": 2, "bytes": 75}},
    }

    rows = census.rows(result)

    assert [(row.language, row.share) for row in rows] == [("Python", 0.75), ("C", 0.25)]


def test_python_is_parsed_over_a_conditional_edge_and_folders_recur():
    definition = census.census.definition

    assert definition.steps["merge"].needs["python"].when == (
        "${{ steps.listing.result.has_python }}"
    )
    assert definition.steps["folders"].job == "census"
    assert set(definition.steps) == {"listing", "counts", "python", "folders", "merge"}


def test_results_stay_small_however_many_files_there_are(tmp_path):
    for number in range(1_000):
        (tmp_path / f"file-with-a-rather-long-name-{number:05}.txt").write_text("a b\n")
    listing = list_folder(str(tmp_path))

    assert len(msgspec.json.encode(listing)) < 1_000
    assert sum(chunk.files for chunk in listing.chunks) == 1_000


def test_odd_names_are_made_on_disk(nasty):
    assert set(ODD_NAMES) <= set(os.listdir(os.fsencode(nasty)))
