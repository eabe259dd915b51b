"""Makes sure of queues for one channel, and tells its owner of losses and of refusals."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import msgspec
import structlog
from pika.exceptions import ChannelClosedByBroker

from warrener.adapters.rabbitmq_declarer import Declarer
from warrener.adapters.rabbitmq_mailbox import Mailbox
from warrener.adapters.rabbitmq_reasons import ACCESS_REFUSED, PRECONDITION_FAILED, refusal
from warrener.adapters.rabbitmq_topology import ensure_exchange, ensure_queue, temporary_queue
from warrener.domain.errors import BrokerUnavailable
from warrener.domain.topology import QUARANTINE, QueueType

PATIENCE_SECONDS = 30.0  # how long others may take to make again what was there and is not ours

Done = Callable[[bool], None]  # whether the broker has it now

log = structlog.get_logger()


class Consumption(msgspec.Struct, frozen=True):
    """A queue that is taken part in, or (without prefetch) a temporary one that is heard."""

    queue: str
    prefetch: int = 0
    exchange: str = ""
    patterns: tuple[str, ...] = ()


class Queues:
    """What the owner relies on being there. Belongs to the I/O thread.

    A durable queue that has to be made is a loss, even if it is only new: that cannot be told from
    one that was deleted while nobody looked, and sending twice is harmless.
    """

    def __init__(self, mailbox: Mailbox, declarer: Declarer, queue_type: QueueType) -> None:
        """Know of nothing yet."""
        self._mailbox = mailbox
        self._declarer = declarer
        self._queue_type = queue_type
        self._declared: dict[str, None] = {}
        self._seen: set[str] = set()  # queues and exchanges that were there at some time
        self._refused_since: dict[str, float] = {}

    def declare(self, queue: str, done: Done) -> None:
        """Make sure of a durable queue, now and whenever `verify` is called."""
        self._declared[queue] = None
        self.ensure(queue, done)

    def forget(self, queue: str) -> None:
        """Leave it to others to make a queue anew: they are to notice that it was gone."""
        self._declared.pop(queue, None)

    def is_declared(self, queue: str) -> bool:
        """Say whether the owner declared this queue."""
        return queue in self._declared

    def verify(self) -> None:
        """Make sure of everything again: the connection is a new one."""
        for queue in self._declared:
            self.ensure(queue, _nothing)

    def ensure(
        self, queue: str, done: Done, *, rebind: bool = False, patient: bool = False
    ) -> None:
        """Make sure of a queue; `rebind` one that gets nothing although it is there.

        `patient` says that it was there before.
        """
        what = f"the queue {queue}"
        self._seen.update([what] if patient else ())
        talk = partial(ensure_queue, queue, self._queue_type, rebind=rebind)
        self._declarer.ask(talk, partial(self._answered, what, queue, done))

    def ensure_exchange(self, exchange: str, done: Done, *, patient: bool = False) -> None:
        """Make sure of an exchange of the topology."""
        what = f"the exchange {exchange}"
        self._seen.update([what] if patient else ())
        talk = partial(ensure_exchange, exchange, self._queue_type)
        self._declarer.ask(talk, partial(self._answered, what, "", done))

    def subscribe(self, hearing: Consumption, done: Done) -> None:
        """Make a temporary queue with its bindings."""
        names = (hearing.queue, hearing.exchange, hearing.patterns)
        talk = partial(temporary_queue, *names, self._queue_type)
        what = f"the temporary queue {hearing.queue}"
        self._declarer.ask(talk, partial(self._answered, what, "", done))

    def _answered(
        self,
        what: str,
        queue: str,
        done: Done,
        made: bool | None,
        refused: ChannelClosedByBroker | None,
    ) -> None:
        if refused is None:
            self._seen.add(what)
            self._refused_since.pop(what, None)
            if made and queue != QUARANTINE:  # which holds nothing that is still open
                log.info("broker.queue_made", queue=queue)
                self._mailbox.lose()
        else:
            self._refuse(what, refused)
        done(refused is None)

    def _refuse(self, what: str, refused: ChannelClosedByBroker) -> None:
        """Tell the owner, unless somebody else may be about to make it again."""
        reason = refusal(f"declaring {what}", refused)
        now = time.monotonic()
        since = self._refused_since.setdefault(what, now)
        patient = what in self._seen and now - since < PATIENCE_SECONDS
        if patient or refused.reply_code not in (ACCESS_REFUSED, PRECONDITION_FAILED):
            log.warning("broker.refuses", reason=reason)
        else:
            self._mailbox.fail(BrokerUnavailable(reason))


def _nothing(_: bool) -> None:
    """Nobody waits for the answer."""
