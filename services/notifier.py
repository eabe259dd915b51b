"""Tells people of what the log says: follows it, and hands notifications to those who tell.

At least once and in order, for each way of telling on its own: its position in the log is saved
after a notification was taken or given up, and never before.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Event

import msgspec
import structlog

from warrener.domain.errors import (
    NotificationDelayed,
    NotificationError,
    NotificationRefused,
    StoreUnavailable,
)
from warrener.domain.notices import Notification, Notifier, Positions
from warrener.domain.ports import Clock, EventStore, Positioned
from warrener.services.notices import Notices

BATCH_EVENTS = 500
SAVE_EVENTS = 5_000  # a position is saved at least so often, whether or not anything was told
POLL_SECONDS = 0.5
TROUBLE_SECONDS_MAX = 10.0  # between two tries while the store is away
STATUS_SECONDS = 60.0

log = structlog.get_logger()


class Patience(msgspec.Struct, frozen=True):
    """How often a notification is tried, and how long the pauses are: about 11 minutes in all."""

    tries_max: int = 8
    first_seconds: float = 1.0
    factor: float = 3.0
    pause_seconds_max: float = 300.0

    def pause(self, tries: int, asked: float | None) -> float:
        """Return the pause after so many tries; the other side may ask for a longer one."""
        own = self.first_seconds * self.factor ** (tries - 1)
        return min(self.pause_seconds_max, max(own, asked or 0.0))


class Tally(msgspec.Struct):
    """What became of the notifications since the start."""

    told: int = 0
    given_up: int = 0
    passed_over: int = 0  # settled before they could be told


class Teller:
    """Follows the log for one way of telling.

    It never waits: what is not due yet is left for a later turn.
    """

    def __init__(
        self,
        notifier: Notifier,
        store: EventStore,
        positions: Positions,
        notices: Notices,
        patience: Patience | None = None,
        *,
        partition: int = 0,
    ) -> None:
        """Take the parts, of one partition; `start` says where in the log to begin."""
        self.position = 0
        self.tally = Tally()
        self._notifier = notifier
        self._store = store
        self._positions = positions
        self._notices = notices
        self._patience = patience or Patience()
        self._reader = f"notifier/{notifier.name}" + (f"/{partition}" if partition else "")
        self._batch: deque[Positioned] = deque()
        self._saved = 0
        self._tries = 0
        self._due: datetime | None = None
        self._log = log.bind(by=notifier.name, partition=partition)

    def start(self, *, from_now: bool = False) -> None:
        """Go on where the last one stopped; the first begins with the log, or after it."""
        saved, head = self._positions.get(self._reader), self._store.head()
        if saved is None:
            saved = head if from_now else 0
        elif saved > head:
            self._log.warning("notifier.other_log", position=saved, head=head)
            saved = head
        self._save(saved)
        self._log.info("notifier.begins", position=saved, head=head)

    def head(self) -> int:
        """Return the last position of its log."""
        return self._store.head()

    def turn(self, now: datetime) -> bool:
        """Go on by one notification or one batch; say whether there may be more to do at once."""
        if self._due is not None and now < self._due:
            return False
        if not self._batch:
            self._batch.extend(self._store.read(self.position, BATCH_EVENTS))
            if not self._batch:
                return False
        self._skip()
        if self._batch:
            self._tell(self._batch[0], now)
        elif self.position - self._saved >= SAVE_EVENTS:
            self.save()
        return self._due is None

    def save(self) -> None:
        """Keep the position."""
        if self.position != self._saved:
            self._save(self.position)

    def _skip(self) -> None:
        """Pass over what nobody wants to be told of."""
        while self._batch and not self._notices.concerns(self._batch[0].recorded):
            self.position = self._batch.popleft().position

    def _tell(self, positioned: Positioned, now: datetime) -> None:
        """Try once. It is looked up anew each time: somebody may have answered meanwhile."""
        notification = self._notices.of(positioned.recorded)
        if notification is None:
            self.tally.passed_over += 1
            self._log.debug("notification.passed_over", position=positioned.position)
            self._done()
            return
        facts = self._log.bind(
            notification=str(notification.id),
            kind=notification.event,
            job=str(notification.job) if notification.job else None,
            path=notification.path,
        )
        self._tries += 1
        error = self._try(notification)
        if error is None:
            self.tally.told += 1
            facts.info("notification.told", tries=self._tries)
            self._done()
        elif isinstance(error, NotificationDelayed) and self._tries < self._patience.tries_max:
            pause = self._patience.pause(self._tries, error.after)
            self._due = now + timedelta(seconds=pause)
            facts.warning(
                "notification.delayed", reason=str(error), tries=self._tries, again_in_seconds=pause
            )
        else:
            self.tally.given_up += 1
            facts.error("notification.given_up", reason=str(error), tries=self._tries)
            self._done()

    def _try(self, notification: Notification) -> NotificationError | None:
        try:
            self._notifier.tell(notification)
        except NotificationError as error:
            return error
        except Exception as error:  # a fault of one way, or of one text, is not to stop the rest
            return NotificationRefused(f"a fault of Warrener: {_place(error)}")
        return None

    def _done(self) -> None:
        self._tries, self._due = 0, None
        self.position = self._batch.popleft().position
        self.save()

    def _save(self, position: int) -> None:
        self._positions.save(self._reader, position)
        self.position = self._saved = position


class NotifierDaemon:
    """Runs until `stop` is called. Belongs to one thread; only `stop` may come from elsewhere."""

    def __init__(
        self,
        tellers: Sequence[Teller],
        clock: Clock,
        *,
        from_now: bool = False,
        on_ready: Callable[[], None] = lambda: None,
        on_turn: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the parts. `on_ready` is called when it begins, `on_turn` now and then."""
        self.tellers = tellers
        self._clock = clock
        self._from_now = from_now
        self._on_ready = on_ready
        self._on_turn = on_turn
        self._stopping = Event()
        self._next_status: datetime | None = None

    def stop(self) -> None:
        """Have the daemon finish what it is at and end. Safe in a signal handler."""
        self._stopping.set()

    def run(self, *, once: bool = False) -> None:
        """Follow the log until it is stopped; with `once`, until it has told what is there."""
        for teller in self.tellers:
            teller.start(from_now=self._from_now)
        ends = [teller.head() for teller in self.tellers] if once else None
        self._on_ready()
        wait = 0.0
        while not self._stopping.wait(wait) and not self._has_come_to(ends):
            self._on_turn()
            try:
                wait = self._round()
            except StoreUnavailable as error:
                if once:
                    raise
                wait = min(TROUBLE_SECONDS_MAX, 2 * wait or POLL_SECONDS)
                log.warning("notifier.trouble", reason=str(error), again_in_seconds=wait)
        for teller in self.tellers:
            teller.save()
        log.info("notifier.stopped", **self._state())

    @property
    def given_up(self) -> int:
        """How many notifications could not be told."""
        return sum(teller.tally.given_up for teller in self.tellers)

    def _round(self) -> float:
        """Give every teller a turn; return how long to wait for the next."""
        now = self._clock.now()
        if self._next_status is None or now >= self._next_status:
            self._next_status = now + timedelta(seconds=STATUS_SECONDS)
            log.info("notifier.status", **self._state())
        busy = [teller.turn(self._clock.now()) for teller in self.tellers]
        return 0.0 if any(busy) else POLL_SECONDS

    def _has_come_to(self, ends: Sequence[int] | None) -> bool:
        if ends is None:
            return False
        return all(teller.position >= end for teller, end in zip(self.tellers, ends, strict=True))

    def _state(self) -> dict[str, int]:
        tallies = [teller.tally for teller in self.tellers]
        return {
            "behind": sum(max(0, teller.head() - teller.position) for teller in self.tellers),
            "told": sum(tally.told for tally in tallies),
            "given_up": sum(tally.given_up for tally in tallies),
            "passed_over": sum(tally.passed_over for tally in tallies),
        }


def _place(error: Exception) -> str:
    """Return what went wrong where; without its words, which may have a secret in them."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {frame.filename}:{frame.lineno}"
