"""A command in a terminal of its own, and somebody who reads the screen and types."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.cli import PROGRAM

TIMEOUT_SECONDS = 60.0
END_OF_INPUT = "\x04"
INTERRUPT = "\x03"


class Terminal:
    """The screen and the keyboard of a command that runs."""

    def __init__(self, process: int, file: int) -> None:
        self._process = process
        self._file = file
        self._unread = ""
        self.code: int | None = None

    def expect(self, text: str) -> str:
        """Wait until the screen has a text; return what came up to it."""
        while text not in self._unread:
            more = self._read()
            assert more, f"the command ended without {text!r}: {self._unread}"
            self._unread += more
        before, _, self._unread = self._unread.partition(text)
        return before

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._file, f"{line}\n".encode())

    def press(self, key: str) -> None:
        """Type a key alone."""
        os.write(self._file, key.encode())

    def end(self) -> tuple[int, str]:
        """Wait for the end of the command; return exit code and the rest of the screen."""
        while more := self._read():
            self._unread += more
        _, status = os.waitpid(self._process, 0)
        self.code = os.waitstatus_to_exitcode(status)
        return self.code, self._unread

    def close(self) -> None:
        """End the command if it has not ended."""
        if self.code is None:
            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
        os.close(self._file)

    def _read(self) -> str:
        """Return what comes next, "" at the end."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        ready, _, _ = select.select([self._file], [], [], deadline - time.monotonic())
        assert ready, f"nothing came within {TIMEOUT_SECONDS} s: {self._unread}"
        try:
            return os.read(self._file, 4096).decode(errors="replace").replace("\r\n", "\n")
        except OSError:  # Linux says so when the other side is closed
            return ""


@contextmanager
def terminal(folder: Path, *arguments: object) -> Iterator[Terminal]:
    """Run a command line of ours in a terminal, in a folder with a home of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment = {**kept, "HOME": str(folder / "home"), "TERM": "dumb", "COLUMNS": "200"}
    words = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    process, file = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execve(sys.executable, words, environment)
    opened = Terminal(process, file)
    try:
        yield opened
    finally:
        opened.close()
