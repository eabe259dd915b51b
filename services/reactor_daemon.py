"""The reactor as a daemon: holds the lease of a partition, and works on its log while it does.

Several may run: one works, the others stand by and take over when it stops or falls silent.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Event

import msgspec
import structlog

from warrener.domain.errors import BrokerUnavailable, Conflict, StoreUnavailable
from warrener.domain.fleet import Fleet
from warrener.domain.flow import Flow
from warrener.domain.messages import CallWorkers
from warrener.domain.ports import Broker, Channel, Clock, EventStore, Leases, Notice
from warrener.domain.topology import (
    CONTROL,
    FLEET,
    POISON,
    inbox_queue,
    reactor_queue,
    results_queue,
)
from warrener.services.controller import Controller
from warrener.services.reactor import Reactor
from warrener.services.turn import Chance

POLL_SECONDS = 0.25
STANDBY_SECONDS = 1.0
DRAIN_SECONDS = 10.0
TROUBLE_SECONDS_MAX = 10.0  # between two tries while store or broker are away
RENEWALS_PER_LEASE = 3
STATUS_SECONDS = 60.0

log = structlog.get_logger()


class Identity(msgspec.Struct, frozen=True):
    """Which reactor this is, of which partition, and for how long a lease lasts."""

    name: str
    partition: int = 0
    lease_seconds: float = 15.0


class ReactorDaemon:
    """Runs until `stop` is called. Belongs to one thread; only `stop` may come from elsewhere."""

    def __init__(
        self,
        identity: Identity,
        store: EventStore,
        leases: Leases,
        broker: Broker,
        *,
        clock: Clock,
        chance: Chance,
        on_ready: Callable[[], None] = lambda: None,
        on_turn: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the parts. `on_ready` is called once it stands by, `on_turn` now and then."""
        self.identity = identity
        self._store = store
        self._leases = leases
        self._broker = broker
        self._clock = clock
        self._chance = chance
        self._on_ready = on_ready
        self._on_turn = on_turn
        self._stopping = Event()
        self._until: datetime | None = None  # end of the lease
        self._next_status: datetime | None = None
        self._log = log.bind(reactor=identity.name, partition=identity.partition)

    def stop(self) -> None:
        """Have the daemon finish what it is at and end. Safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Stand by, work, and go on after every trouble, until it is stopped."""
        self._log.info("reactor.started", lease_seconds=self.identity.lease_seconds)
        self._on_ready()
        wait = 0.0
        while not self._stopping.wait(wait):
            self._on_turn()
            try:
                wait = 0.0 if self._round() else STANDBY_SECONDS
            except (StoreUnavailable, BrokerUnavailable, Conflict) as error:
                wait = min(TROUBLE_SECONDS_MAX, 2 * wait or POLL_SECONDS)
                trouble = {"error": type(error).__name__, "reason": str(error)}
                self._log.warning("reactor.trouble", **trouble, again_in_seconds=wait)
        self._log.info("reactor.stopped")

    def _round(self) -> bool:
        """Work while the lease lasts; say whether there was one to be had."""
        if not self._hold_lease():
            return False
        channel = self._broker.channel()
        try:
            self._work(channel)
        finally:
            channel.close()
        return True

    def _hold_lease(self) -> bool:
        now, seconds = self._clock.now(), self.identity.lease_seconds
        name, partition = self.identity.name, self.identity.partition
        held = self._leases.take(partition, name, now, seconds)
        if held and self._until is None:
            self._log.info("lease.taken", seconds=seconds)
        if not held and self._until is not None:
            self._log.warning("lease.lost", holder=self._leases.holder(partition))
        self._until = now + timedelta(seconds=seconds) if held else None
        return held > 0

    def _work(self, channel: Channel) -> None:
        reactor = self._reactor(channel)
        reactor.take_over()
        self._log.info("reactor.working", jobs=len(reactor.controller.memory.jobs))
        while not self._stopping.is_set():
            if not self._still_holds():
                return
            reactor.turn(POLL_SECONDS)
            self._on_turn()
            self._tell(reactor)
        reactor.drain(DRAIN_SECONDS)
        self._leases.give_up(self.identity.partition, self.identity.name)

    def _reactor(self, channel: Channel) -> Reactor:
        partition, fleet = self.identity.partition, Fleet()
        controller = Controller(
            self._store,
            lambda: Flow(fleet.slots),
            self._chance,
            results_queue(partition),
            fleet=fleet,
        )
        inboxes = [results_queue(partition), inbox_queue(partition), POISON]
        reactor = Reactor(
            controller, self._store, channel, self._clock, inboxes=inboxes, exclusive=True
        )
        channel.subscribe(reactor_queue(self.identity.name), FLEET, ["worker.*"])
        body, name = msgspec.json.encode(CallWorkers()), f"call/{self.identity.name}"
        channel.publish([Notice(CONTROL, "worker.call", body, name)])
        return reactor

    def _still_holds(self) -> bool:
        """Renew the lease in time; a process that slept beyond it asks again, too."""
        if self._until is None:
            return False
        margin = self.identity.lease_seconds * (1 - 1 / RENEWALS_PER_LEASE)
        if self._clock.now() < self._until - timedelta(seconds=margin):
            return True
        return self._hold_lease()

    def _tell(self, reactor: Reactor) -> None:
        """Log now and then how things stand."""
        now = self._clock.now()
        if self._next_status is not None and now < self._next_status:
            return
        self._next_status = now + timedelta(seconds=STATUS_SECONDS)
        controller = reactor.controller
        self._log.info(
            "reactor.status",
            jobs=len(controller.memory.jobs),
            steps_out=len(controller.memory.steps),
            ready=controller.flow.waiting(),
            workers=len(controller.fleet.members),
            ignored=controller.ignored,
            quarantined=reactor.quarantined,
        )
