"""Keys pressed on a terminal, one by one, and short answers typed on its last line."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Final

import typer

ENTER: Final = "enter"
ESCAPE: Final = "escape"
_SEQUENCE = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|.", re.DOTALL)
_NAMES: Final = {
    **dict.fromkeys(("\x1b[A", "\x1bOA"), "up"),
    **dict.fromkeys(("\x1b[B", "\x1bOB"), "down"),
    **dict.fromkeys(("\x1b[C", "\x1bOC"), "right"),
    **dict.fromkeys(("\x1b[D", "\x1bOD"), "left"),
    **dict.fromkeys(("\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~"), "home"),
    **dict.fromkeys(("\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~"), "end"),
    **dict.fromkeys(("\r", "\n"), ENTER),
    **dict.fromkeys(("\x7f", "\x08"), "backspace"),
    "\x1b": ESCAPE,
    " ": "space",
}
ANSWER_CHARACTERS_MAX: Final = 200


def names_of(text: str) -> list[str]:
    """Return the keys that stand behind what a terminal sent, by name or as their character."""
    return [_NAMES.get(part, part) for part in _SEQUENCE.findall(text)]


class Keys:
    """Waits for keys; several that came at once are given one after the other."""

    def __init__(self, read: Callable[[], str] = typer.getchar) -> None:
        """Take what waits for a key and returns all that has come."""
        self._read = read
        self._waiting: deque[str] = deque()

    def next(self) -> str:
        """Return the next key; raises `EOFError` if there will be none."""
        while not self._waiting:
            text = self._read()
            if not text:
                raise EOFError
            self._waiting.extend(names_of(text))
        return self._waiting.popleft()

    def answer(self, show: Callable[[str], None]) -> str | None:
        """Return a typed line, None if it was broken off; `show` shows what there is of it."""
        typed = ""
        while True:
            show(typed)
            key = self.next()
            if key == ENTER:
                return typed
            if key == ESCAPE:
                return None
            if key == "backspace":
                typed = typed[:-1]
            elif key == "space":
                typed += " "
            elif len(key) == 1 and key.isprintable():
                typed = (typed + key)[:ANSWER_CHARACTERS_MAX]
