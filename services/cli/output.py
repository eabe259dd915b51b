"""What goes to stdout and stderr: JSON for programs, rich text for people.

Names and values of users are never interpreted: they go through `clean` and into `Text`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TextIO

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from warrener.domain import text as texts
from warrener.domain.errors import UsageError

PLAIN_WIDTH: Final = 120  # columns where stdout is no terminal
VALUE_CHARACTERS_MAX: Final = 2_000
clean = texts.clean
one_line = texts.one_line
_BARS: Final = "▁▂▃▄▅▆▇█"
_STYLES: Final = {
    "succeeded": "green",
    "failed": "bold red",
    "upstream_failed": "red",
    "cancelled": "magenta",
    "cancelling": "magenta",
    "paused": "bold yellow",
    "running": "cyan",
    "released": "cyan",
    "retrying": "yellow",
    "waiting": "blue",
    "waiting_user": "bold magenta",
    "skipped": "dim",
    "not_needed": "dim",
    "pending": "dim",
}


class StdoutClosed(Exception):
    """Whoever read our output has gone, as `head` does."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Tell it upwards, where it ends the command quietly."""
        raise StdoutClosed


def _console(stream: TextIO) -> Console:
    width = None if stream.isatty() or os.environ.get("COLUMNS") else PLAIN_WIDTH
    return _Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


def _set_aside() -> TextIO:
    """Return the present stdout, and send what is written to it from now on to stderr."""
    sys.stdout.flush()
    kept = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors="backslashreplace")
    os.dup2(2, 1)
    return kept


class Output:
    """Where a command writes. With `as_json` everything for people is left out.

    `keep_stdout` is for commands that run code of users: what that prints goes to stderr.
    """

    def __init__(self, *, as_json: bool, keep_stdout: bool = False) -> None:
        self.as_json = as_json
        self._stdout = _set_aside() if keep_stdout else sys.stdout
        self.out = _console(self._stdout)
        self.err = _console(sys.stderr)

    def json(self, value: Any) -> None:
        """Write one JSON document on a line of its own."""
        self.write(msgspec.json.encode(value).decode())

    def write(self, text: str) -> None:
        """Write text as it is, for another program."""
        try:
            self._stdout.write(text.rstrip("\n") + "\n")
            self._stdout.flush()
        except BrokenPipeError:
            raise StdoutClosed from None

    def show(self, *things: Any) -> None:
        """Write renderables or plain text for people."""
        for thing in things:
            soft = isinstance(thing, str | Text)
            self.out.print(clean(thing) if isinstance(thing, str) else thing, soft_wrap=soft)

    def note(self, message: str) -> None:
        """Tell people something beside the answer, on stderr."""
        if not self.as_json:
            self.err.print(Text(clean(message), "dim"), soft_wrap=True)


class ByteOutput:
    """Stdout for bytes that another program takes."""

    def write(self, data: bytes) -> int:
        """Write bytes; raises `StdoutClosed` if nobody takes them, `UsageError` if nothing can."""
        with _told():
            return sys.stdout.buffer.write(data)

    def flush(self) -> None:
        """Pass on what was written; raises as `write` does."""
        with _told():
            sys.stdout.buffer.flush()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise StdoutClosed from None
    except OSError as error:
        raise UsageError(f"stdout cannot be written: {error.strerror or error}") from error


def plain(text: object, style: str = "") -> Text:
    """Return text that is shown as it is."""
    return Text(clean(text), style)


def state_text(state: str) -> Text:
    """Return a state in its colour."""
    return plain(state, _STYLES.get(state, ""))


def counts_text(counts: Mapping[str, int]) -> Text:
    """Return numbers by state, such as `5 succeeded, 1 skipped`."""
    parts = [
        Text.assemble(f"{count} ", state_text(state)) for state, count in sorted(counts.items())
    ]
    return Text(", ").join(parts) if parts else Text("no steps")


def error_text(code: str, message: str) -> Text:
    """Return why something failed."""
    return Text.assemble(plain(code, "bold red"), ": ", plain(message))


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table; a column whose name begins with `>` is aligned to the right."""
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        made.add_column(
            column.removeprefix(">"), justify="right" if right else "left", overflow="fold"
        )
    return made


def share_text(share: float, cells: int = 10) -> Text:
    """Return a share from 0 to 1 as a bar and in percent."""
    whole = min(max(share, 0.0), 1.0)
    full = int(whole * cells)
    bar = Text("█" * full, "cyan") + Text("░" * (cells - full), "dim")
    return bar + Text(f" {int(whole * 100)} %")


def spark_text(values: Sequence[float], cells: int = 12, style: str = "cyan") -> Text:
    """Return the latest values as a line of bars; the highest is that of the greatest of them."""
    shown = list(values)[-cells:]
    top = max(shown, default=0.0)
    steps = len(_BARS) - 1
    # What is more than nothing is seen to be.
    heights = [max(value > 0, round(steps * value / top)) if top else 0 for value in shown]
    return Text("".join(_BARS[height] for height in heights), style)


def value_text(value: Any, characters_max: int = VALUE_CHARACTERS_MAX) -> str:
    """Return a JSON value for people, indented, cut where it is too long."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    if len(text) <= characters_max:
        return text
    return f"{text[:characters_max]}\n… ({len(text)} characters in all: --json has everything)"


def duration(seconds: float) -> str:
    """Return a duration such as `4.2 ms`, `0.25 s`, `12.3 s` or `4 min 05 s`."""
    if seconds < 0.1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def number_of(count: int, noun: str) -> str:
    """Return such as `1 step` and `12,000 steps`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def moment(at: str | None) -> str:
    """Return a time for people, in UTC to the second."""
    if at is None:
        return ""
    return datetime.fromisoformat(at).strftime("%Y-%m-%d %H:%M:%SZ")
