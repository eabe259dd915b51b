"""Hears the beats of workers at the broker, and tells who is there: for those who only look."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Final
from uuid import uuid4

import msgspec
import structlog

from warrener.domain.errors import BrokerUnavailable
from warrener.domain.fleet import Fleet, Member
from warrener.domain.messages import CallWorkers, FleetMessage, decoder
from warrener.domain.ports import Broker, Channel, Clock, Notice
from warrener.domain.topology import CONTROL, FLEET, reply_queue
from warrener.services.shapes import Shape, Time, format_time

DELIVERIES_MAX: Final = 1_000
POLL_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 5.0

log = structlog.get_logger()
_decode: Callable[[bytes], FleetMessage] = decoder(FleetMessage)


class WorkerLine(Shape, frozen=True, kw_only=True):
    """A worker as it announced itself last, at `seen_at`; it counts as gone after `gone_at`."""

    worker: str
    host: str
    pid: int
    queues: tuple[str, ...]
    endpoints: int
    slots: int
    busy: int
    seen_at: Time
    gone_at: Time


class FleetWatch:
    """Who is there, by what was heard. One thread listens, any may ask."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        """Take the broker; nothing is heard before `start`."""
        self._broker = broker
        self._clock = clock
        self._lock = threading.Lock()
        self._fleet = Fleet()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleet-watch", daemon=True)

    def start(self) -> None:
        """Begin to listen; where the broker is away, as soon as it is there again."""
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def workers(self) -> tuple[WorkerLine, ...]:
        """Return the workers that are there, by name."""
        with self._lock:
            self._fleet.expire(self._clock.now())
            members = sorted(self._fleet.members.items())
        return tuple(_line(member) for _, member in members)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with closing(self._broker.channel()) as channel:
                    self._listen(channel)
            except BrokerUnavailable as error:
                log.warning("fleet_watch.no_broker", reason=str(error))
                self._stopping.wait(RETRY_SECONDS)

    def _listen(self, channel: Channel) -> None:
        channel.subscribe(reply_queue(f"fleet-{uuid4()}"), FLEET, ["worker.*"])
        _call(channel)
        while not self._stopping.is_set():
            found = channel.poll(DELIVERIES_MAX, POLL_SECONDS)
            for delivery in found.deliveries:
                self._hear(delivery.body)
            if found.broken:
                _call(channel)  # who came or went meanwhile was not heard

    def _hear(self, body: bytes) -> None:
        try:
            message = _decode(body)
        except (msgspec.DecodeError, ValueError):
            return  # the reactor puts what nobody understands into the quarantine
        with self._lock:
            self._fleet.hear(message, self._clock.now())


def _call(channel: Channel) -> None:
    """Ask everybody to say at once that they are there."""
    body = msgspec.json.encode(CallWorkers())
    channel.publish([Notice(CONTROL, "worker.call", body, f"call/{uuid4()}")])


def _line(member: Member) -> WorkerLine:
    state = member.state
    return WorkerLine(
        worker=state.worker,
        host=state.host,
        pid=state.pid,
        queues=state.queues,
        endpoints=len(state.endpoints),
        slots=state.slots,
        busy=state.busy,
        seen_at=format_time(member.seen_at),
        gone_at=format_time(member.gone_at),
    )
