"""The census of a directory tree: the job that `warrener demo` runs.

Each folder is a job. It lists the folder, counts its files in chunks, starts itself for each
folder below, and hands one sum up. Python files are parsed, too, but only where there are any.

Files are counted as `find FOLDER -type f` does: hidden ones too, symbolic links never. A chunk is a
range of names and not a list of them, so that no message grows with the size of a folder.
"""

from __future__ import annotations

import os
import sysconfig
from contextlib import suppress
from typing import Any

import msgspec

from warrener import Budget, PermanentError, Retry, each, endpoint, expr, job, need
from warrener.domain.errors import UsageError
from warrener.services.chunks import (
    CHUNK_BYTES,
    GONE,
    PARSE_CHUNK_BYTES,
    Chunk,
    Entry,
    chunked,
    files_of,
    name_text,
)
from warrener.services.tallies import (
    Tally,
    as_path,
    as_text,
    count,
    definitions,
    entries,
    is_python,
    language,
)

# A step that only reads may be repeated at will: workers that are killed cost time and no more.
RETRY = [Retry(on="worker-lost", max=20, first="50ms", factor=1.5, cap="2s"), Retry(max=4)]


class Listing(msgspec.Struct, frozen=True):
    """What a folder holds: names of folders, chunks of files, and of Python files once more."""

    folders: list[str]
    chunks: list[Chunk]
    python: list[Chunk]
    has_python: bool
    unreadable: int


class Counted(msgspec.Struct):
    """The sums of one chunk."""

    languages: dict[str, Tally]
    unreadable: int = 0


class Parsed(msgspec.Struct):
    """What the Python files of one chunk define."""

    functions: int = 0
    classes: int = 0
    unparsed: int = 0


class Census(msgspec.Struct):
    """The sums of a folder and everything below it.

    `unreadable` counts files and folders that could not be read; `unparsed` those Python files
    that are not valid Python.
    """

    folders: int = 0
    files: int = 0
    bytes: int = 0
    lines: int = 0
    words: int = 0
    functions: int = 0
    classes: int = 0
    unreadable: int = 0
    unparsed: int = 0
    languages: dict[str, Tally] = msgspec.field(default_factory=dict)


@endpoint("census.list_folder", retry=RETRY)
def list_folder(folder: str, must_exist: bool = False) -> Listing:
    """List a folder. One that cannot be read counts as unreadable, one that is gone as empty."""
    if must_exist and not os.path.isdir(as_path(folder)):
        raise PermanentError("no-such-folder", f"{folder} is not a folder")
    folders: list[bytes] = []
    files: list[Entry] = []
    unreadable = 0
    try:
        for entry, is_file in entries(as_path(folder)):
            name = os.fsencode(entry.name)
            try:
                if is_file:
                    files.append((name, entry.stat(follow_symlinks=False).st_size))
                else:
                    folders.append(name)
            except FileNotFoundError:
                continue
            except OSError:
                unreadable += 1
    except GONE:
        pass
    except OSError:
        unreadable += 1
    python = [file for file in files if is_python(os.fsdecode(file[0]))]
    return Listing(
        folders=[name_text(name) for name in sorted(folders)],
        chunks=chunked(files, CHUNK_BYTES),
        python=chunked(python, PARSE_CHUNK_BYTES),
        has_python=bool(python),
        unreadable=unreadable,
    )


@endpoint("census.count_chunk", retry=RETRY)
def count_chunk(folder: str, chunk: Chunk) -> Counted:
    """Count bytes, lines and words of a chunk's files, by language."""
    counted = Counted(languages={})
    try:
        for path, name, size in files_of(folder, chunk):
            try:
                tally = count(path, size)
            except OSError:
                counted.unreadable += 1
                tally = Tally(files=1, bytes=size)
            counted.languages.setdefault(language(name), Tally()).add(tally)
    except OSError:
        counted.unreadable += 1  # the folder itself, since it was listed
    return counted


@endpoint("census.parse_chunk", retry=RETRY)
def parse_chunk(folder: str, chunk: Chunk) -> Parsed:
    """Parse a chunk's Python files and count the functions and classes that they define."""
    parsed = Parsed()
    with suppress(OSError):  # a folder that cannot be listed was counted so already
        for path, name, size in files_of(folder, chunk):
            if is_python(name):
                _parse(path, size, parsed)
    return parsed


@endpoint("census.merge", retry=RETRY)
def merge(
    unreadable: int, counts: list[Counted], python: list[Parsed] | None, folders: list[Census]
) -> Census:
    """Sum up a folder: its chunks and the folders below. `python` is null where there is none."""
    census = Census(folders=1, unreadable=unreadable)
    for counted in counts:
        census.unreadable += counted.unreadable
        for tally in counted.languages.values():
            census.files += tally.files
            census.bytes += tally.bytes
            census.lines += tally.lines
            census.words += tally.words
        _add_languages(census.languages, counted.languages)
    for parsed in python or ():
        census.functions += parsed.functions
        census.classes += parsed.classes
        census.unparsed += parsed.unparsed
    for below in folders:
        _add(census, below)
    return census


@job("census", budget=Budget(depth=256, steps=5_000_000))
def census(folder: str) -> Any:
    """Count what is in a folder and in all folders below it."""
    listing = list_folder(folder, must_exist=expr("job.depth == 0")).named("listing")
    counts = each(listing.chunks, lambda chunk: count_chunk(folder, chunk)).named("counts")
    python = each(listing.python, lambda chunk: parse_chunk(folder, chunk)).named("python")
    below = each(listing.folders, lambda name: census(folder + "/" + name)).named("folders")
    return merge(listing.unreadable, counts, need(python, when=listing.has_python), below)


# --- for the demo --------------------------------------------------------------------------------


class Row(msgspec.Struct, frozen=True):
    """A line of the table by language; `share` is the part of all bytes, from 0 to 1."""

    language: str
    files: int
    bytes: int
    lines: int
    words: int
    share: float


def default_folder() -> str:
    """Return the standard library of the Python that runs this."""
    return sysconfig.get_paths()["stdlib"]


def params(path: str | None = None) -> dict[str, str]:
    """Return the parameters of a census of a folder; raises `UsageError` if it is none."""
    folder = default_folder() if path is None else path
    if not os.path.isdir(folder):
        raise UsageError(f"{as_text(folder)} is not a folder: give one to count, such as .")
    return {"folder": as_text(os.path.realpath(folder))}


def rows(result: dict[str, Any]) -> list[Row]:
    """Return the table by language of a census, the most bytes first."""
    found = msgspec.convert(result, Census)
    return [
        Row(
            language=name,
            files=tally.files,
            bytes=tally.bytes,
            lines=tally.lines,
            words=tally.words,
            share=tally.bytes / found.bytes if found.bytes else 0.0,
        )
        for name, tally in sorted(
            found.languages.items(), key=lambda item: (-item[1].bytes, item[0])
        )
    ]


# --- helpers -------------------------------------------------------------------------------------


def _parse(path: str, size: int, parsed: Parsed) -> None:
    try:
        functions, classes = definitions(path, size)
    except OSError:
        return  # counted as unreadable already
    except (ValueError, SyntaxError):
        parsed.unparsed += 1
    else:
        parsed.functions += functions
        parsed.classes += classes


def _add(census: Census, other: Census) -> None:
    for field in Census.__struct_fields__:
        if field != "languages":
            setattr(census, field, getattr(census, field) + getattr(other, field))
    _add_languages(census.languages, other.languages)


def _add_languages(sums: dict[str, Tally], more: dict[str, Tally]) -> None:
    for name, tally in more.items():
        sums.setdefault(name, Tally()).add(tally)
