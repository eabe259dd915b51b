"""Chunks: the files of a folder in ranges of names, so that no message grows with the folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec

from warrener.services.tallies import as_path, as_text, entries

CHUNKS_MAX = 500  # of a folder, about; larger folders get larger chunks
CHUNK_FILES = 200
CHUNK_BYTES = 8 * 1024 * 1024  # counted in some 40 ms
PARSE_CHUNK_BYTES = 256 * 1024  # parsed in some 50 ms

GONE = (FileNotFoundError, NotADirectoryError)

Entry = tuple[bytes, int]  # name and size in bytes of a file


class Chunk(msgspec.Struct, frozen=True):
    """The files of a folder whose names are between two others; both ends belong to it."""

    first: str
    last: str
    files: int
    bytes: int


def chunked(files: Sequence[Entry], chunk_bytes: int) -> list[Chunk]:
    """Cut files into ranges of names that take about equally long, in the order of the names."""
    files = sorted(files)
    total = sum(size for _, size in files)
    files_max = max(CHUNK_FILES, -(-len(files) // CHUNKS_MAX))
    bytes_max = max(chunk_bytes, total // CHUNKS_MAX)
    chunks: list[Chunk] = []
    start = filled = 0
    for index, (_, size) in enumerate(files):
        if index > start and (index - start >= files_max or filled + size > bytes_max):
            chunks.append(_chunk(files[start:index], filled))
            start, filled = index, 0
        filled += size
    return [*chunks, _chunk(files[start:], filled)] if files else []


def _chunk(files: Sequence[Entry], size: int) -> Chunk:
    return Chunk(
        first=name_text(files[0][0]), last=name_text(files[-1][0]), files=len(files), bytes=size
    )


def files_of(folder: str, chunk: Chunk) -> Iterator[tuple[str, str, int]]:
    """Yield path, name and size of a chunk's files; those that are gone by now are left out.

    Raises `OSError` if the folder is there and cannot be listed.
    """
    first, last = os.fsencode(as_path(chunk.first)), os.fsencode(as_path(chunk.last))
    with suppress(*GONE):
        for entry, is_file in entries(as_path(folder)):
            if is_file and first <= os.fsencode(entry.name) <= last:
                size = _size(entry)
                if size is not None:
                    yield entry.path, entry.name, size


def _size(entry: os.DirEntry[str]) -> int | None:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return None


def name_text(name: bytes) -> str:
    """Return the name of a file as text for JSON."""
    return as_text(os.fsdecode(name))
