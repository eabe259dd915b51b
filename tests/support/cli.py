"""Runs the command line as users do: in a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 60

_TRACEBACK = re.compile("^Traceback", re.MULTILINE)

# Where the tests run in the background, SIGINT is ignored and would be in the command, too.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from warrener.services.cli import main
main()
"""

ENDPOINTS = """
import os
import time
from pathlib import Path

from warrener import PermanentError, endpoint


@endpoint("t.add")
def add(a: int, b: int) -> int:
    return a + b


@endpoint("t.text")
def text(value: str) -> str:
    print("noise from an endpoint")
    return value


@endpoint("t.list")
def listed(count: int) -> list[int]:
    return list(range(count))


@endpoint("t.fail")
def fail(message: str = "it broke") -> None:
    raise PermanentError("broken", message)


@endpoint("t.big")
def big(size: int) -> str:
    return "x" * size


@endpoint("t.nan")
def nan() -> float:
    return float("nan")


@endpoint("t.deep")
def deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


@endpoint("t.die")
def die() -> None:
    os._exit(7)


@endpoint("t.hold")
def hold(folder: str) -> str:
    Path(folder, "begun").touch()
    while not Path(folder, "go").exists():
        time.sleep(0.01)
    return "held"
"""

SUM_JOB = """
job: sum
version: 2
params:
  type: object
  required: [a]
  properties: {a: {type: integer}, b: {type: integer, default: 10}}
steps:
  first:
    call: t.add
    with: {a: "${{ params.a }}", b: "${{ params.b }}"}
  twice:
    call: t.add
    with: {a: "${{ steps.first.result }}", b: "${{ steps.first.result }}"}
  never:
    call: t.text
    with: {value: never}
    when: "${{ steps.first.result < 0 }}"
endpoints: [./endpoints.py]
result: "${{ steps.twice.result }}"
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> Any:
        """The error that `--json` puts on stderr."""
        assert self.err.count("\n") == 1, self.err
        return json.loads(self.err)["error"]


@dataclass
class Cli:
    """The command line in a folder, with a home of its own."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: object, stdin: str = "", **variables: str) -> Done:
        """Run a command to its end; none shows a traceback, but as a value in JSON."""
        with self.started(*arguments, **variables) as process:
            out, err = process.communicate(stdin.encode(), TIMEOUT_SECONDS)
        done = Done(process.returncode, out.decode(), err.decode())
        assert not _TRACEBACK.search(done.out + done.err), done
        return done

    @contextmanager
    def started(self, *arguments: object, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command; it is killed when the block is left."""
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, arguments)],
            cwd=self.folder,
            env=self._environment(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def write(self, **files: str) -> None:
        """Write files, given as `name_suffix="text"`."""
        for name, text in files.items():
            (self.folder / ".".join(name.rsplit("_", 1))).write_text(text)

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        names = ("PATH", "PYTHONPATH", "LANG", "TMPDIR")
        kept = {key: os.environ[key] for key in names if key in os.environ}
        return {**kept, "HOME": str(self.folder / "home"), **self.variables, **variables}
