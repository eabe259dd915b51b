"""Files of JSON lines, compressed: written whole or not at all, and read with bounds.

What is read may come from anywhere: lines, windows and numbers of members are bounded, and whatever
is wrong with a file is a `UsageError` that names it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import msgspec
import zstandard

from warrener.domain.errors import UsageError

LEVEL: Final = 6
WINDOW_BYTES_MAX: Final = 8 * 1024 * 1024
LINE_BYTES_MAX: Final = 64 * 1024 * 1024
CHUNK_BYTES: Final = 256 * 1024

T = TypeVar("T")


class LineWriter:
    """Writes one structure a line; knows how many bytes it took, and their SHA-256."""

    def __init__(self, file: IO[bytes]) -> None:
        """Write into an open file."""
        self._encode = msgspec.json.Encoder().encode
        self._sha = hashlib.sha256()
        self._stream = zstandard.ZstdCompressor(level=LEVEL).stream_writer(file, closefd=False)
        self.written = 0

    def write(self, line: Any) -> None:
        """Write a line."""
        data = self._encode(line) + b"\n"
        self._sha.update(data)
        self._stream.write(data)
        self.written += len(data)

    def sha256(self) -> str:
        """Return the hash of all lines so far, in hexadecimal."""
        return self._sha.hexdigest()

    def close(self) -> None:
        """End the compressed data; the file stays open."""
        self._stream.flush(zstandard.FLUSH_FRAME)


class LineReader:
    """Reads what a `LineWriter` wrote. `done` and `size` are bytes of the file."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        """Read from an open file at its present place."""
        self._path = path
        self._file = file
        self._sha = hashlib.sha256()
        window = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)
        self._stream = window.stream_reader(file, closefd=False)
        self.size = os.fstat(file.fileno()).st_size

    @property
    def done(self) -> int:
        """Return how much of the file was read."""
        return self._file.tell()

    def sha256(self) -> str:
        """Return the hash of all lines that were yielded before the present one."""
        return self._sha.hexdigest()

    def lines(self) -> Iterator[bytes]:
        """Yield the lines; a part of a line at the end is an error."""
        rest = b""
        while chunk := self._chunk():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line
                self._sha.update(line + b"\n")
            if len(rest) > LINE_BYTES_MAX:
                raise UsageError(f"{self._path}: a line is longer than {LINE_BYTES_MAX} bytes")
        if rest:
            raise UsageError(f"{self._path}: the file ends in the middle of a line: it was cut off")

    def _chunk(self) -> bytes:
        try:
            return self._stream.read(CHUNK_BYTES)
        except zstandard.ZstdError as error:
            raise UsageError(f"{self._path}: not zstd data that can be read: {error}") from error
        except OSError as error:
            raise UsageError(f"{self._path}: cannot be read: {error.strerror}") from error


def decoded(path: Path, line: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return what a line says; raises `UsageError` if it does not say it properly."""
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise UsageError(f"{path}: a line is not what it must be: {error}") from error


@contextmanager
def reading(path: Path) -> Iterator[IO[bytes]]:
    """Open a regular file to read; raises `UsageError` if it is another one or cannot be read."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UsageError(f"{path} is no regular file: copy it into one first")
            yield file
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def _at_once(name: str, flags: int) -> int:
    """Open without waiting for somebody to write into it, as a named pipe would."""
    return os.open(name, flags | os.O_NONBLOCK)


@contextmanager
def written_whole(path: Path, *, replace: bool = False) -> Iterator[IO[bytes]]:
    """Give a file that comes to be at its path, on disk, when the block ends without an error.

    Only its owner may read it. Without `replace` a file that is there already is a `UsageError`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    if path.exists() and not replace:
        raise UsageError(f"{path} is there already: name another file, or give --force")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _put(temporary, path, replace)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):  # where nothing can be written, there is nothing to take away
            temporary.unlink(missing_ok=True)


def _put(temporary: Path, path: Path, replace: bool) -> None:
    if replace:
        temporary.replace(path)
    else:
        try:
            os.link(temporary, path)  # unlike a rename, it fails if somebody was faster
        except FileExistsError:
            raise UsageError(f"{path} is there already: name another file") from None
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
