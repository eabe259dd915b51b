"""Which events of a history are wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import islice

import msgspec

from warrener.services.shapes import HistoryLine

Bound = int | datetime | None  # a position of the log, or a time


class HistoryFilter(msgspec.Struct, frozen=True):
    """What is left empty is not looked at.

    `step` is a path: it, its items and what is below them are wanted. `types` are globs, one of
    which must match. `cause` and `text` are parts of the cause, and of all that is told as JSON.
    Of what is left the first `limit` are taken, or the last `last`.
    """

    step: str | None = None
    types: tuple[str, ...] = ()
    cause: str = ""
    text: str = ""
    since: Bound = None
    until: Bound = None
    limit: int | None = None
    last: int | None = None

    @property
    def after(self) -> int:
        """Return the position after which events are wanted."""
        return self.since - 1 if isinstance(self.since, int) else 0

    def take(self, lines: Iterable[HistoryLine]) -> Iterator[HistoryLine]:
        """Yield what is wanted of lines in order of position; no more than `last` are kept."""
        found = self._wanted(lines)
        if self.last is not None:
            yield from deque(found, maxlen=self.last)
        else:
            yield from islice(found, self.limit)

    def _wanted(self, lines: Iterable[HistoryLine]) -> Iterator[HistoryLine]:
        for line in lines:
            if isinstance(self.until, int) and line.position > self.until:
                return
            if self._is_wanted(line):
                yield line

    def _is_wanted(self, line: HistoryLine) -> bool:
        return (
            self._in_bounds(line)
            and (self.step is None or _is_below(line.path, self.step))
            and (not self.types or any(fnmatchcase(line.type, each) for each in self.types))
            and self.cause in line.cause
            and (not self.text or self.text in msgspec.json.encode(line).decode())
        )

    def _in_bounds(self, line: HistoryLine) -> bool:
        if isinstance(self.since, int) and line.position < self.since:
            return False
        times = [each for each in (self.since, self.until) if isinstance(each, datetime)]
        at = datetime.fromisoformat(line.at) if times else None
        if at is not None and isinstance(self.since, datetime) and at < self.since:
            return False
        return at is None or not isinstance(self.until, datetime) or at <= self.until


def _is_below(path: str, step: str) -> bool:
    return path == step or path.startswith((f"{step}[", f"{step}/"))
