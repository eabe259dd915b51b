"""A ledger of effects, kept by a process of its own that nobody kills.

An endpoint tells it, with the token of its attempt, that it had its effect.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Self

from support import ledger_server
from support.guard import GuardedProgram
from support.log_checks import eventually


class Ledger:
    """Starts and reads the ledger."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "ledger.socket")
        self._file = folder / "ledger.jsonl"
        self._log = folder / "ledger.log"

    def __enter__(self) -> Self:
        command = [sys.executable, "-I", ledger_server.__file__, self.address, str(self._file)]
        self._program = GuardedProgram(command, self._log)
        eventually(lambda: Path(self.address).exists(), "the ledger")
        return self

    def __exit__(self, *_: object) -> None:
        self._program.kill()

    def lines(self) -> list[dict[str, Any]]:
        """Return all that was told, in order."""
        return [json.loads(line) for line in self._file.read_text().splitlines()]
