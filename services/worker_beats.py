"""Signs of life: of a worker on the fleet exchange, and of its long attempts to their reactors."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterable, Sequence

import msgspec

from warrener.domain import ids
from warrener.domain.messages import Beat, RunStep, WorkerBeat, WorkerBye, WorkerHello
from warrener.domain.ports import Clock, Notice, Outgoing
from warrener.domain.topology import FLEET
from warrener.services.runners import RUNNING, Task

BEAT_SECONDS = 10.0

_ENCODE = msgspec.json.Encoder().encode
_KEYS = {WorkerHello: "worker.hello", WorkerBeat: "worker.beat", WorkerBye: "worker.bye"}


class Beats:
    """What a worker has to say when. Times are seconds on the clock of `time.monotonic`."""

    def __init__(
        self,
        worker: str,
        queues: Sequence[str],
        slots: int,
        *,
        clock: Clock,
        beat_seconds: float = BEAT_SECONDS,
        endpoints: Sequence[str] = (),
        able: Sequence[str] = (),
    ) -> None:
        """Take what the worker announces; the first look is due at once."""
        self.next_at = 0.0
        self._worker = worker
        self._clock = clock
        self._beat_seconds = beat_seconds
        self._slots = slots
        self._fields = {
            "worker": worker,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "endpoints": tuple(endpoints),
            "queues": tuple(queues),
            "able": tuple(able),
            "slots": slots,
            "beat_seconds": beat_seconds,
        }
        self._worker_at = 0.0
        self._said = 0
        self._gone = False

    def due(self, tasks: Iterable[Task], busy: int, now: float) -> list[Outgoing | Notice]:
        """Return what is due, and note when to look again.

        An attempt gives its first sign of life once it has run for the beat interval.
        """
        found: list[Outgoing | Notice] = []
        self.next_at = now + self._beat_seconds  # no attempt that begins later is due before
        if now >= self._worker_at:
            found.append(self._announce(WorkerBeat if self._said else WorkerHello, busy))
            self._worker_at = now + self._beat_seconds
        for task in tasks:
            if task.pulse.begun is None:
                self.expect(task.order, now)
            elif task.stage == RUNNING:
                found += self._of(task, task.pulse.begun, now)
        self.next_at = min(self.next_at, self._worker_at)
        return found

    def expect(self, order: RunStep, now: float) -> None:
        """Look again in time for an attempt that may begin at once."""
        self.next_at = min(self.next_at, now + self._interval(order))

    def call(self) -> None:
        """Have the worker announce itself at once: a reactor asks who is there."""
        if not self._gone:
            self.next_at = self._worker_at = 0.0

    def serve(self, queues: Sequence[str], able: Sequence[str]) -> None:
        """Announce other queues, at once."""
        self._fields |= {"queues": tuple(queues), "able": tuple(able)}
        self.call()

    def bye(self, busy: int) -> Notice:
        """Return what tells the fleet that this worker takes no more; it says nothing after it."""
        self._gone = True
        self._worker_at = math.inf
        return self._announce(WorkerBye, busy)

    def _announce(self, kind: type[WorkerHello | WorkerBeat | WorkerBye], busy: int) -> Notice:
        """Return an announcement; `busy` counts what the runner has, a slot's next task too."""
        self._said += 1
        body = _ENCODE(kind(**self._fields, busy=min(busy, self._slots)))  # type: ignore[arg-type]
        return Notice(FLEET, _KEYS[kind], body, f"{self._worker}/fleet/{self._said}")

    def _of(self, task: Task, begun: float, now: float) -> list[Outgoing]:
        interval = self._interval(task.order)
        passed = int((now - begun) / interval)
        self.next_at = min(self.next_at, begun + (passed + 1) * interval)
        if passed <= task.beats or task.pulse.cancelled:
            return []
        task.beats = passed
        return [self._beat(task)]

    def _interval(self, order: RunStep) -> float:
        """Return how often an attempt must give a sign of life, in seconds."""
        return min(self._beat_seconds, order.beat_seconds or self._beat_seconds)

    def _beat(self, task: Task) -> Outgoing:
        order = task.order
        beat = Beat(
            job=order.job,
            step=order.step,
            attempt=order.attempt,
            token=order.token,
            worker=self._worker,
            at=self._clock.now(),
            progress=task.pulse.share,
            note=task.pulse.note,
        )
        name = ids.message_id(order.step, order.attempt, f"beat/{task.beats}")
        return Outgoing(order.reply_to, _ENCODE(beat), name)
