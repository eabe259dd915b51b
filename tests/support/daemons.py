"""Daemons of a real fleet: each command in a process of its own, ended with the test."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from support.guard import GuardedProgram
from support.log_checks import eventually

STOP_SECONDS = 40.0
_PROGRAM = "from warrener.services.cli import main; main()"


class Daemon:
    """One running command; its log is `file`."""

    def __init__(self, program: GuardedProgram, file: Path) -> None:
        self.program = program
        self.file = file

    @property
    def pid(self) -> int:
        """The process id."""
        return self.program.pid

    @property
    def log(self) -> str:
        """What it has logged."""
        return self.file.read_text(errors="replace")

    def logged(self, text: str) -> None:
        """Wait until it has logged a text."""
        eventually(lambda: text in self.log or not self.program.running, f"{text} in {self.file}")
        assert text in self.log, self.log[-3000:]

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.program.kill()

    def stop(self) -> int:
        """Ask it to end by SIGTERM, and return its exit code."""
        self.program.terminate(STOP_SECONDS)
        return self.program.guard.returncode

    def freeze(self) -> None:
        """Stop it without its knowledge."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)


class Daemons:
    """Starts daemons in a folder, with a home of its own; ends all of them at the end."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
        tests = Path(__file__).parents[1]
        code = os.pathsep.join(map(str, (tests.parent, tests)))  # of this tree, wherever it lies
        own = {"HOME": str(folder / "home"), "PYTHONPATH": code}
        self._environment = {**kept, **own, **variables}
        self._started = 0
        self._running: list[Daemon] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in self._running:
            daemon.kill()

    def start(self, *arguments: object) -> Daemon:
        """Start a command."""
        self._started += 1
        file = self.folder / f"{arguments[0]}-{self._started}.log"
        command = ["/usr/bin/env", "-C", str(self.folder), sys.executable, "-c", _PROGRAM]
        program = GuardedProgram([*command, *map(str, arguments)], file, self._environment)
        daemon = Daemon(program, file)
        self._running.append(daemon)
        return daemon

    def reactor(self, *more: object) -> Daemon:
        """Start a reactor and wait until it stands by."""
        daemon = self.start("reactor", "--log", "json,info", *more)
        daemon.logged("reactor.started")
        return daemon

    def worker(self, *more: object) -> Daemon:
        """Start a worker and wait until it takes orders."""
        daemon = self.start("worker", "--log", "json,info", *more)
        daemon.logged("worker.started")
        return daemon
