"""How fast store and broker are just now, as the reactor measures it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime


class Pace:
    """Keeps the longest commit and confirmation since somebody last looked, in seconds."""

    def __init__(
        self,
        on_commit: Callable[[int, float], None] = lambda *_: None,
        on_confirm: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Begin with nothing measured.

        `on_commit` hears of each commit: events and seconds; `on_confirm` of each confirmation.
        """
        self._on_commit = on_commit
        self._on_confirm = on_confirm
        self._commit_seconds = 0.0
        self._confirm_seconds = 0.0
        self._unconfirmed_since: datetime | None = None

    def committed(self, began: datetime, ended: datetime, events: int = 0) -> None:
        """A commit of so many events to the store took so long."""
        seconds = _seconds(began, ended)
        self._commit_seconds = max(self._commit_seconds, seconds)
        self._on_commit(events, seconds)

    def confirmed(self, sent: datetime, now: datetime) -> None:
        """The broker has confirmed what was sent."""
        seconds = _seconds(sent, now)
        self._confirm_seconds = max(self._confirm_seconds, seconds)
        self._on_confirm(seconds)

    def wait_since(self, sent: datetime | None) -> None:
        """What was sent first of all that is not confirmed; None if all is."""
        self._unconfirmed_since = sent

    def take(self, now: datetime) -> tuple[float, float, float]:
        """Return the longest commit, the longest confirmation, and how long what waits has."""
        since = self._unconfirmed_since
        waits = 0.0 if since is None else _seconds(since, now)
        found = self._commit_seconds, self._confirm_seconds, waits
        self._commit_seconds = self._confirm_seconds = 0.0
        return found


def _seconds(began: datetime, ended: datetime) -> float:
    return max(0.0, (ended - began).total_seconds())  # the clock may have been set back
