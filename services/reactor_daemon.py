"""The reactor as a daemon: holds leases of partitions, and works on their logs while it does.

Several may run: they share the partitions, and take over from one that stops or falls silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from threading import Event

import msgspec
import structlog
from structlog.contextvars import bound_contextvars

from warrener.domain.errors import BrokerUnavailable, Conflict, StoreUnavailable
from warrener.domain.fleet import Fleet
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.orders import ORDERS, Order
from warrener.domain.limit_shares import LimitShares
from warrener.domain.messages import CallWorkers
from warrener.domain.partitions import Logs
from warrener.domain.ports import Broker, Channel, Clock, Leases, Notice
from warrener.domain.topology import (
    CONTROL,
    FLEET,
    POISON,
    inbox_queue,
    reactor_queue,
    results_queue,
)
from warrener.services.controller import Controller
from warrener.services.limit_balance import SOON_SECONDS, LimitBalance
from warrener.services.pace import Pace
from warrener.services.reactor import Reactor
from warrener.services.routing import Router
from warrener.services.shares import Identity, PartitionShare
from warrener.services.switchboard import Switchboard
from warrener.services.turn import Chance
from warrener.services.windows import SharedWindows

POLL_SECONDS = 0.25
STANDBY_SECONDS = 0.25
DRAIN_SECONDS = 10.0
CONFLICT_SECONDS = 0.5  # until a partition is tried again in which somebody else writes
FAULT_SECONDS = 10.0  # until one is that met a fault of ours, or data that cannot be read
TROUBLE_SECONDS_MAX = 10.0  # between two tries while store or broker are away
STATUS_SECONDS = 60.0

log = structlog.get_logger()


class ReactorDaemon:
    """Runs until `stop` is called. Belongs to one thread; only `stop` may come from elsewhere."""

    def __init__(
        self,
        identity: Identity,
        logs: Logs,
        leases: Leases,
        broker: Broker,
        *,
        clock: Clock,
        chance: Chance,
        limit_shares: LimitShares | None = None,
        orders: Mapping[str, Order] = ORDERS,
        on_ready: Callable[[], None] = lambda: None,
        on_turn: Callable[[], None] = lambda: None,
        on_round: Callable[[Mapping[int, Reactor]], None] = lambda _: None,
        pace: Callable[[], Pace] = Pace,
    ) -> None:
        """Take the parts; several partitions need `limit_shares`. `orders` are policies by name.

        `on_ready` is called once it stands by, `on_turn` now and then, `on_round` after each round
        with the reactors by partition. `pace` makes what measures the pace of each of them.
        """
        self._pace = pace
        self.identity = identity
        self._logs = logs
        self._broker = broker
        self._clock = clock
        self._chance = chance
        self._orders = orders
        self._on_ready = on_ready
        self._on_turn = on_turn
        self._on_round = on_round
        self._share = PartitionShare(
            leases, identity.name, logs.count, lease_seconds=identity.lease_seconds
        )
        self._stopping = Event()
        self._board: Switchboard | None = None
        self._reactors: dict[int, Reactor] = {}
        self._windows = SharedWindows(self._working_reactors)
        self._balance = LimitBalance(limit_shares, logs.count, clock)
        self._next_status: datetime | None = None
        self._resting: dict[int, datetime] = {}  # partitions that failed, until when
        self._log = log.bind(reactor=identity.name)

    def stop(self) -> None:
        """Have the daemon finish what it is at and end. Safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Stand by, work, and go on after every trouble, until it is stopped."""
        self._log.info(
            "reactor.started",
            lease_seconds=self.identity.lease_seconds,
            partitions=self._logs.count,
        )
        self._on_ready()
        wait = 0.0
        try:
            while not self._stopping.wait(wait):
                self._on_turn()
                wait = self._round_or_wait(wait)
            self._stop_working()
        except (StoreUnavailable, BrokerUnavailable) as error:
            self._log.warning("reactor.trouble", error=type(error).__name__, reason=str(error))
        finally:
            self._hang_up()
        self._log.info("reactor.stopped")

    def _round_or_wait(self, waited: float) -> float:
        """Do one round; return how long to wait before the next."""
        try:
            self._round()
        except (StoreUnavailable, BrokerUnavailable) as error:
            self._hang_up()
            wait = min(TROUBLE_SECONDS_MAX, 2 * waited or POLL_SECONDS)
            trouble = {"error": type(error).__name__, "reason": str(error)}
            self._log.warning("reactor.trouble", **trouble, again_in_seconds=wait)
            return wait
        return 0.0 if self._reactors else STANDBY_SECONDS

    def _round(self) -> None:
        """Look after the leases, and give the reactor of every partition that is held a turn."""
        self._look_after_leases()
        if not self._reactors and not self._waiting():
            self._hang_up()  # or it would make queues anew that others are to miss
        if self._board is None:
            self._on_round(self._reactors)
            return
        at_once = self._board.waiting or self._waiting()
        patience = SOON_SECONDS if self._balance.ask_soon else POLL_SECONDS
        self._board.pump(0.0 if at_once else patience)
        self._windows.begin_round()
        for partition, reactor in list(self._reactors.items()):
            if self._share.holds(partition, self._clock.now()):
                with self._apart(partition):
                    self._balance.look_after(partition, self._share.held[partition], reactor)
                    reactor.turn()
        self._on_round(self._reactors)
        self._tell()

    # --- partitions ------------------------------------------------------------------------------

    def _look_after_leases(self) -> None:
        """Renew leases in time, begin with partitions that fell to us, end with those lost."""
        change = self._share.refresh(self._clock.now())
        for partition in change.lost:
            self._leave(partition)
            self._log.warning("lease.lost", partition=partition)
        for partition in change.surplus:
            self._hand_over(partition)
        for partition in self._waiting()[:1]:  # one a round: the others are not to stand still
            with self._apart(partition):
                self._work_on(partition)

    def _waiting(self) -> list[int]:
        """Return the partitions that are held, not worked on yet, and not at rest after a fault."""
        now = self._clock.now()
        fresh = [each for each in self._share.held if each not in self._reactors]
        return [each for each in fresh if self._resting.get(each, now) <= now]

    @contextmanager
    def _apart(self, partition: int) -> Iterator[None]:
        """Let what goes wrong with one partition stop that one only, for a while."""
        try:
            with bound_contextvars(partition=partition):
                yield
        except (StoreUnavailable, BrokerUnavailable):
            raise
        except Exception as error:
            self._leave(partition)
            seconds = CONFLICT_SECONDS if isinstance(error, Conflict) else FAULT_SECONDS
            self._resting[partition] = self._clock.now() + timedelta(seconds=seconds)
            facts = {"partition": partition, "reason": str(error), "again_in_seconds": seconds}
            if isinstance(error, Conflict):
                self._log.warning("partition.conflict", **facts)
            else:
                self._log.error("partition.failed", **facts, exc_info=error)

    def _keep_leases(self) -> None:
        """Renew the leases in the midst of work that takes long."""
        self._share.keep(self._clock.now())

    def _work_on(self, partition: int) -> None:
        if self._board is None:
            self._board = Switchboard(self._broker.channel())
        line = self._board.line()
        try:
            reactor = self._reactor(partition, line)
            reactor.take_over()
        except BaseException:
            line.close()
            self._windows.remove(partition)
            raise
        self._reactors[partition] = reactor
        jobs = len(reactor.controller.memory.jobs)
        epoch = self._share.held.get(partition)
        self._log.info("reactor.working", partition=partition, jobs=jobs, epoch=epoch)

    def _reactor(self, partition: int, channel: Channel) -> Reactor:
        store, fleet = self._logs.log(partition), Fleet()
        slots = self._windows.add(partition, fleet)
        controller = Controller(
            store,
            partial(self._flow, partition, slots),
            self._chance,
            results_queue(partition),
            fleet=fleet,
            while_loading=self._keep_leases,
            shares_limits=self._balance.shared,
            watches=True,
        )
        controller.pace = self._pace()
        reactor = Reactor(
            controller,
            store,
            channel,
            self._clock,
            inboxes=[results_queue(partition), inbox_queue(partition), POISON],
            exclusive=True,
            router=Router(self._logs, partition),
        )
        channel.subscribe(reactor_queue(self.identity.name), FLEET, ["worker.*"])
        body, name = msgspec.json.encode(CallWorkers()), f"call/{self.identity.name}"
        channel.publish([Notice(CONTROL, "worker.call", body, name)])
        return reactor

    def _flow(self, partition: int, slots: Callable[[str], int]) -> Flow:
        """Return a fresh flow for a partition, whose windows it has to share with the others."""
        flow = Flow(slots, orders=self._orders, on_answer=self._windows.answered)
        self._windows.use(partition, flow)
        return flow

    def _working_reactors(self) -> int:
        """Return how many reactors have partitions to work on."""
        return min(len(self._share.members) or 1, self._logs.count)

    def _hand_over(self, partition: int) -> None:
        """Give a partition to another reactor, with all that was sent confirmed."""
        reactor = self._reactors.get(partition)
        if reactor is not None:
            reactor.drain(DRAIN_SECONDS)
        self._leave(partition)
        self._share.give_up(partition)
        self._log.info("lease.handed_over", partition=partition)

    def _leave(self, partition: int) -> None:
        reactor = self._reactors.pop(partition, None)
        self._windows.remove(partition)
        self._balance.forget(partition)
        if reactor is not None:
            reactor.close()

    def _stop_working(self) -> None:
        """Hand everything over that is held."""
        for partition in list(self._reactors):
            self._hand_over(partition)
        self._share.give_up_all()

    def _hang_up(self) -> None:
        """Close the channel with all that hangs on it; leases are kept until they run out."""
        self._reactors.clear()
        self._windows.clear()
        self._balance.clear()
        board, self._board = self._board, None
        if board is not None:
            board.close()

    # --- telling ---------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Log now and then how things stand."""
        now = self._clock.now()
        if self._next_status is not None and now < self._next_status:
            return
        self._next_status = now + timedelta(seconds=STATUS_SECONDS)
        for partition, reactor in self._reactors.items():
            controller = reactor.controller
            self._log.info(
                "reactor.status",
                partition=partition,
                jobs=len(controller.memory.jobs),
                steps_out=len(controller.memory.steps),
                ready=controller.flow.waiting(),
                workers=len(controller.fleet.members),
                ignored=controller.ignored,
                quarantined=reactor.quarantined,
            )
