"""Reads the lines of a history file, compressed or not; whatever is wrong is a `UsageError`.

What is read may come from anywhere: lines, their number and all bytes together are bounded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import zstandard

from warrener.domain.errors import UsageError
from warrener.services.upkeep.zstd_lines import WINDOW_BYTES_MAX, reading

LINE_BYTES_MAX: Final = 64 * 1024 * 1024
LINES_MAX: Final = 5_000_000
BYTES_MAX: Final = 4 * 1024 * 1024 * 1024
CHUNK_BYTES: Final = 256 * 1024
_MAGIC: Final = b"\x28\xb5\x2f\xfd"

Progress = Callable[[int, int], None]  # bytes of the file that are read, of so many


class FileLines:
    """The lines of a file, with the hash of those before the present one."""

    def __init__(self, path: Path, on_progress: Progress | None = None) -> None:
        """Take the file's path; it is opened when lines are asked for."""
        self.path = path
        self.number = 0  # of the present line, from 1
        self._sha = hashlib.sha256()
        self._on_progress = on_progress

    def __iter__(self) -> Iterator[bytes]:
        """Yield each line without its end."""
        with reading(self.path) as file:
            size = os.fstat(file.fileno()).st_size
            begin = file.read(len(_MAGIC))
            file.seek(0)
            yield from self._lines(file, _unpacked(file) if begin == _MAGIC else file, size)

    def sha256(self) -> str:
        """Return the hash of all lines before the present one, in hexadecimal."""
        return self._sha.hexdigest()

    def wrong(self, what: str) -> UsageError:
        """Return the error about the present line."""
        return UsageError(f"{self.path}:{self.number}: {what}")

    def _lines(self, file: IO[bytes], stream: Any, size: int) -> Iterator[bytes]:
        parts: list[bytes] = []  # of a line that has not ended yet
        done = held = 0
        while chunk := self._chunk(stream):
            done += len(chunk)
            if done > BYTES_MAX:
                raise self.wrong(f"the file has over {BYTES_MAX} bytes")
            if b"\n" in chunk:
                *whole, rest = b"".join((*parts, chunk)).split(b"\n")
                for line in whole:
                    yield self._next(line)
                    self._sha.update(line)
                    self._sha.update(b"\n")
                parts, held = [rest], len(rest)
            else:
                parts.append(chunk)
                held += len(chunk)
            if held > LINE_BYTES_MAX:
                self.number += 1
                raise self.wrong(f"the line has over {LINE_BYTES_MAX} bytes")
            if self._on_progress is not None:
                self._on_progress(file.tell(), size)
        if held:
            self.number += 1
            raise self.wrong("the file ends in the middle of a line: it was cut off")

    def _next(self, line: bytes) -> bytes:
        self.number += 1
        if self.number > LINES_MAX:
            raise self.wrong(f"the file has over {LINES_MAX} lines")
        return line

    def _chunk(self, stream: Any) -> bytes:
        try:
            chunk: bytes = stream.read(CHUNK_BYTES)
        except zstandard.ZstdError as error:
            raise UsageError(f"{self.path}: not zstd data that can be read: {error}") from error
        return chunk


def _unpacked(file: IO[bytes]) -> Any:
    made = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)
    return made.stream_reader(file, closefd=False, read_across_frames=True)
