"""The projector as a daemon: keeps the read models up to the logs of the partitions that it holds.

Several may run: they share the partitions, and take over from one that stops or falls silent. Two
that work on the same partition are slow and never wrong: a batch is saved from one position only.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Event

import structlog

from warrener.domain.errors import Conflict, StoreUnavailable
from warrener.domain.partitions import Logs
from warrener.domain.ports import Clock, Leases
from warrener.projections.ports import ViewStore
from warrener.services.folding import Folded, Folding
from warrener.services.lag import Lag, lag
from warrener.services.shares import Identity, PartitionShare

BATCH_EVENTS = 1_000
IDLE_SECONDS_MIN = 0.05
IDLE_SECONDS_MAX = 0.5
STANDBY_SECONDS = 0.25  # how often one that holds nothing looks for partitions that are free
LOOK_AGAIN_SECONDS = 5.0  # how often an idle one asks whether the views are still what they were
TROUBLE_SECONDS_FIRST = 0.25
TROUBLE_SECONDS_MAX = 10.0  # between two tries while the store is away
STATUS_SECONDS = 60.0

log = structlog.get_logger()


class ProjectorDaemon:
    """Runs until `stop` is called. Belongs to one thread; only `stop` may come from elsewhere."""

    def __init__(
        self,
        identity: Identity,
        logs: Logs,
        views: ViewStore,
        leases: Leases,
        *,
        clock: Clock,
        on_ready: Callable[[], None] = lambda: None,
        on_turn: Callable[[], None] = lambda: None,
        on_folded: Folded = lambda *_: None,
    ) -> None:
        """Take the parts. `on_ready` is called once it stands by, `on_turn` now and then.

        `on_folded` hears of each batch: the read model, its events, the seconds that it took.
        """
        self._on_folded = on_folded
        self.identity = identity
        self.share = PartitionShare(leases, identity.name, logs.count, identity.lease_seconds)
        self._logs = logs
        self._views = views
        self._clock = clock
        self._on_ready = on_ready
        self._on_turn = on_turn
        self._stopping = Event()
        self._foldings: dict[int, Folding] = {}
        self._look_again: datetime | None = None
        self._next_status: datetime | None = None
        self._log = log.bind(projector=identity.name)

    def stop(self) -> None:
        """Have the daemon finish what it is at and end. Safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Stand by, work, and go on after every trouble, until it is stopped."""
        self._log.info("projector.started", lease_seconds=self.identity.lease_seconds)
        self._on_ready()
        wait = trouble = 0.0
        while not self._stopping.wait(trouble or wait):
            self._on_turn()
            try:
                wait = 0.0 if self._round() else self._longer(wait)
                trouble = 0.0
            except StoreUnavailable as error:
                trouble = min(TROUBLE_SECONDS_MAX, 2 * trouble or TROUBLE_SECONDS_FIRST)
                reason = {"reason": str(error), "again_in_seconds": trouble}
                self._log.warning("projector.trouble", **reason)
        self._leave()
        self._log.info("projector.stopped")

    def catch_up(self) -> bool:
        """Bring every read model up to what the logs hold now, whoever else is at work; say if so.

        Needs no lease. Raises `StoreUnavailable`.
        """
        self._on_ready()
        heads = {each: self._logs.log(each).head() for each in range(self._logs.count)}
        for partition, head in heads.items():
            folding = self._folding(partition)
            while self._turn(folding, head) and not self._stopping.is_set():
                self._on_turn()
        behind = [each for each in self._lag() if each.position < heads[each.partition]]
        self._log.info("projector.caught_up", behind=len(behind))
        return not behind

    def _round(self) -> bool:
        """Look after the leases and give every partition a turn; say whether anything was done."""
        self._follow_leases()
        self._look_again_if_due()
        busy = False
        for partition in self.share.held:
            self._follow_leases()  # a round over many partitions may last longer than a lease
            if partition in self.share.held and not self._stopping.is_set():
                busy |= self._turn(self._folding(partition))
        self._tell()
        return busy

    def _turn(self, folding: Folding, head: int | None = None) -> bool:
        try:
            return folding.turn(self._clock.now(), BATCH_EVENTS, head)
        except Conflict as error:
            reason = {"partition": folding.partition, "reason": str(error)}
            self._log.info("projector.not_alone", **reason)
            return True

    def _longer(self, wait: float) -> float:
        """Return how long to wait when there was nothing to do: longer each time."""
        if not self.share.held:
            return STANDBY_SECONDS
        return min(IDLE_SECONDS_MAX, 2 * wait or IDLE_SECONDS_MIN)

    def _folding(self, partition: int) -> Folding:
        if partition not in self._foldings:
            self._foldings[partition] = Folding(
                self._logs.log(partition), self._views, partition, on_folded=self._on_folded
            )
        return self._foldings[partition]

    # --- partitions ------------------------------------------------------------------------------

    def _follow_leases(self) -> None:
        change = self.share.refresh(self._clock.now())
        for partition in change.lost:
            self._foldings.pop(partition, None)
            self._log.warning("lease.lost", partition=partition)
        for partition in change.taken:
            self._log.info("lease.taken", partition=partition)
        for partition in change.surplus:
            self._foldings.pop(partition, None)
            self.share.give_up(partition)
            self._log.info("lease.handed_over", partition=partition)

    def _leave(self) -> None:
        """Hand everything over; what cannot be said to a store that is away runs out by itself."""
        try:
            self.share.give_up_all()
        except StoreUnavailable as error:
            self._log.warning("projector.trouble", reason=str(error))

    def _look_again_if_due(self) -> None:
        now = self._clock.now()
        if self._look_again is None or now >= self._look_again:
            self._look_again = now + timedelta(seconds=LOOK_AGAIN_SECONDS)
            for folding in self._foldings.values():
                folding.look_again()

    # --- telling ---------------------------------------------------------------------------------

    def _lag(self) -> list[Lag]:
        return lag(self._logs, self._views, self._clock.now())

    def _tell(self) -> None:
        """Log now and then how far the read models are behind."""
        now = self._clock.now()
        if self._next_status is not None and now < self._next_status:
            return
        self._next_status = now + timedelta(seconds=STATUS_SECONDS)
        held = self.share.held
        for each in self._lag():
            if each.partition in held:
                self._log.info(
                    "projector.status",
                    partition=each.partition,
                    model=each.model,
                    position=each.position,
                    events_behind=each.events,
                    seconds_behind=round(each.seconds, 3),
                    stopped=each.stopped is not None,
                )
