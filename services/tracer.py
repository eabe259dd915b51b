"""Follows the log and hands on the spans that it tells of.

At least once: the position in the log is saved after the spans before it were taken, or given up.
Where whoever keeps traces is away, the log is what waits; nothing piles up here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Event

import msgspec
import structlog

from warrener.domain.errors import StoredDataError, StoreUnavailable, TracesDelayed
from warrener.domain.notices import Positions
from warrener.domain.partitions import Logs
from warrener.domain.ports import Clock, EventStore, Leases, Positioned
from warrener.domain.spans import Span, SpanSink
from warrener.services.shares import Identity, PartitionShare
from warrener.services.spans import Spans

BATCH_EVENTS = 1_000
SAVE_EVENTS = 5_000  # a position is saved at least so often, whether or not there were spans
POLL_SECONDS = 0.25
FINAL_SECONDS = 5.0  # how long to go on at the end
TROUBLE_SECONDS_MAX = 10.0
STATUS_SECONDS = 60.0

log = structlog.get_logger()


class Patience(msgspec.Struct, frozen=True):
    """How often spans are sent again, and how long the pauses are: about 15 minutes in all."""

    tries_max: int = 12
    first_seconds: float = 1.0
    factor: float = 2.0
    pause_seconds_max: float = 120.0

    def pause(self, tries: int) -> float:
        """Return the pause after so many tries."""
        return min(self.pause_seconds_max, self.first_seconds * self.factor ** min(tries - 1, 30))


class Tally(msgspec.Struct):
    """What became of spans since the start."""

    sent: int = 0
    given_up: int = 0
    unreadable: int = 0  # events


def _as_it_is(span: Span) -> Span:
    return span


class SpanFollower:
    """Follows the log of one partition. What is not due yet is left for a later turn."""

    def __init__(
        self,
        store: EventStore,
        positions: Positions,
        sink: SpanSink,
        *,
        partition: int = 0,
        patience: Patience | None = None,
        clean: Callable[[Span], Span] = _as_it_is,
    ) -> None:
        """Take the parts; `start` says where in the log to begin.

        `clean` takes out of spans what is not to leave.
        """
        self.position = 0
        self.tally = Tally()
        self._store = store
        self._positions = positions
        self._sink = sink
        self._spans = Spans(store)
        self._clean = clean
        self._patience = patience or Patience()
        self._reader = "tracer" + (f"/{partition}" if partition else "")
        self._pending: list[Span] = []
        self._then = 0  # the position to go on from, once what is pending was taken
        self._saved = 0
        self._tries = 0
        self._due: datetime | None = None
        self._log = log.bind(partition=partition)

    def start(self) -> None:
        """Go on where the last one stopped; the first begins with what happens from now on."""
        saved, head = self._positions.get(self._reader), self._store.head()
        if saved is not None and saved > head:
            self._log.warning("tracer.other_log", position=saved, head=head)
            saved = None
        self._save(head if saved is None else saved)
        self._log.info("tracer.begins", position=self.position, head=head)

    @property
    def behind(self) -> int:
        """Return how many events of the log are not dealt with."""
        return max(0, self._store.head() - self.position)

    def turn(self, now: datetime) -> bool:
        """Go on by one batch; say whether there may be more to do at once."""
        if self._due is not None and now < self._due:
            return False
        if not self._pending and not self._collect():
            return False
        if self._pending:
            self._send(now)
        else:
            self.position = self._then
        if self.position - self._saved >= SAVE_EVENTS:
            self.save()
        return self._due is None

    def save(self) -> None:
        """Keep the position."""
        if self.position != self._saved:
            self._save(self.position)

    def _collect(self) -> bool:
        """Make the spans of the next batch; say whether there was one."""
        batch = self._read()
        for positioned in batch:
            self._then = positioned.position
            span = self._span(positioned)
            if span is not None:
                self._pending.append(self._clean(span))
        return bool(batch)

    def _read(self) -> Sequence[Positioned]:
        """Return the next events; one that cannot be read is passed over."""
        try:
            return self._store.read(self.position, BATCH_EVENTS)
        except StoredDataError:
            pass
        try:
            return self._store.read(self.position, 1)
        except StoredDataError as error:
            self._pass_over(self.position + 1, error)
            self.position = self._then = self.position + 1
            return ()

    def _span(self, positioned: Positioned) -> Span | None:
        try:
            return self._spans.of(positioned.recorded)
        except StoredDataError as error:
            self._pass_over(positioned.position, error)
            return None

    def _pass_over(self, position: int, error: StoredDataError) -> None:
        self.tally.unreadable += 1
        self._log.warning("tracer.passed_over", position=position, reason=str(error))

    def _send(self, now: datetime) -> None:
        self._tries += 1
        try:
            self._sink.send(self._pending)
        except TracesDelayed as error:
            if self._tries < self._patience.tries_max:
                self._delay(now, str(error))
                return
            self.tally.given_up += len(self._pending)
            self._log.error("spans.given_up", spans=len(self._pending), reason=str(error))
        else:
            self.tally.sent += len(self._pending)
            if self._tries > 1:
                self._log.info("spans.taken_again", tries=self._tries)
        self._pending, self._tries, self._due = [], 0, None
        self._save(self._then)

    def _delay(self, now: datetime, reason: str) -> None:
        pause = self._patience.pause(self._tries)
        self._due = now + timedelta(seconds=pause)
        if self._tries == 1:  # the rest is told when it is over
            self._log.warning("spans.delayed", spans=len(self._pending), reason=reason)

    def _save(self, position: int) -> None:
        self._positions.save(self._reader, position)
        self.position = self._saved = position


class Tracer:
    """Follows the partitions that fall to it. Belongs to one thread.

    Several may run: they share the partitions, as projectors do.
    """

    def __init__(
        self,
        identity: Identity,
        logs: Logs,
        leases: Leases,
        follower: Callable[[int], SpanFollower],
        clock: Clock,
    ) -> None:
        """Take the parts; `follower` makes what follows a partition."""
        self._share = PartitionShare(leases, identity.name, logs.count, identity.lease_seconds)
        self._follower = follower
        self._clock = clock
        self._followers: dict[int, SpanFollower] = {}
        self._next_status: datetime | None = None

    def run(self, stopping: Event, ready: Event) -> None:
        """Work until it is stopped; nothing that goes wrong ends it before.

        It is `ready` once it has seen which partitions it follows, and from where on.
        """
        wait = trouble = 0.0
        while not stopping.wait(trouble or wait):
            try:
                wait = 0.0 if self.turn() else POLL_SECONDS
                trouble = 0.0
            except Exception as error:
                trouble = min(TROUBLE_SECONDS_MAX, 2 * trouble or POLL_SECONDS)
                self._tell_trouble(error, trouble)
            ready.set()
        try:
            self.finish()
        except Exception as error:
            self._tell_trouble(error, None)

    def turn(self) -> bool:
        """Look after the partitions, and go on in each; say whether there is more to do at once."""
        self._look_after_partitions()
        busy = [follower.turn(self._clock.now()) for follower in self._followers.values()]
        self._tell()
        return any(busy)

    def finish(self) -> None:
        """Send what there is, for a few seconds at most, and leave the rest to the next one."""
        deadline = self._clock.now() + timedelta(seconds=FINAL_SECONDS)
        while self._clock.now() < deadline and self.turn():
            pass
        for follower in self._followers.values():
            follower.save()
        self._share.give_up_all()
        log.info("tracer.stopped", **self._state())

    def _look_after_partitions(self) -> None:
        change = self._share.refresh(self._clock.now())
        for partition in change.lost:
            self._followers.pop(partition, None)
        for partition in change.surplus:
            follower = self._followers.pop(partition, None)
            if follower is not None:
                follower.save()
            self._share.give_up(partition)
        for partition in self._share.held:
            if partition not in self._followers:
                follower = self._follower(partition)
                follower.start()
                self._followers[partition] = follower

    def _tell_trouble(self, error: Exception, again_in_seconds: float | None) -> None:
        known = isinstance(error, StoreUnavailable)
        log.warning(
            "tracer.trouble",
            reason=str(error),
            again_in_seconds=again_in_seconds,
            exc_info=None if known else error,
        )

    def _tell(self) -> None:
        now = self._clock.now()
        if self._next_status is None or now >= self._next_status:
            if self._next_status is not None:
                log.info("tracer.status", **self._state())
            self._next_status = now + timedelta(seconds=STATUS_SECONDS)

    def _state(self) -> dict[str, int]:
        followers = self._followers.values()
        return {
            "behind": sum(follower.behind for follower in followers),
            "sent": sum(follower.tally.sent for follower in followers),
            "given_up": sum(follower.tally.given_up for follower in followers),
            "unreadable": sum(follower.tally.unreadable for follower in followers),
        }
