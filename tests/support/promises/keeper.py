"""All promises together: told of commits, turns, orders, reports and answers, they check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from support.promises.attempts import G1, G2, G3
from support.promises.ends import G6, G7
from support.promises.folded import Folded
from support.promises.limits import G9
from support.promises.live import Live
from support.promises.messages import G8
from support.promises.order import G4, G5
from support.promises.replayed import Replay, Restart

from warrener.domain.events import Recorded
from warrener.domain.messages import CommandReply, RunStep, StepReport
from warrener.domain.ports import EventStore
from warrener.domain.step_events import StepEvent
from warrener.services.controller import Controller


class Promises:
    """Follows one log and those who work with it."""

    def __init__(self, log: EventStore, window_max: int) -> None:
        self.folded = Folded()
        self.g1 = G1(self.folded)
        self.g2 = G2(self.folded, log)
        self.g3 = G3()
        self.g4 = G4()
        self.g5 = G5(self.folded, log)
        self.g6 = G6(self.folded)
        self.g7 = G7(self.folded, log)
        self.g8 = G8()
        self.g9 = G9(self.folded, window_max)
        self.replay = Replay(self.folded, self.g9)
        self.live = Live(self.folded)
        self.restart = Restart(self.folded, self.replay)
        self._log = log
        self._touched: set[UUID] = set()

    def committed(self, count: int) -> None:
        """The log has grown by so many events in one commit."""
        events: list[Recorded] = []
        for positioned in self._log.read(self.folded.position, count):
            recorded = positioned.recorded
            self.g1.event(recorded)
            self.g2.event(recorded)
            self.g3.event(recorded)
            self.g4.event(positioned)
            self.folded.apply(recorded)
            self.g2.ended(recorded)
            self.g9.event(recorded)
            events.append(recorded)
        self.g2.committed(events)
        self.g5.committed(events)
        self.g6.committed(events)
        self._touched.update(self._streams(events))

    def _streams(self, events: Sequence[Recorded]) -> set[UUID]:
        jobs = {each.event.job for each in events if isinstance(each.event, StepEvent)}
        return jobs | {each.originator_id for each in events}

    def after_turn(self, controller: Controller) -> None:
        """A turn is over, and what is in memory should be what is in the log."""
        self.g1.memory(list(controller.memory.jobs))
        self.replay.check(controller, self._touched)
        self._touched.clear()

    def after_load(self, controller: Controller) -> None:
        """A controller has loaded everything."""
        self.g1.memory(list(controller.memory.jobs))
        self.replay.check(controller)
        self._touched.clear()

    def order_arrived(self, order: RunStep) -> None:
        """A worker got an order."""
        self.g3.arrived(order)

    def report_sent(self, report: StepReport) -> None:
        """A worker sends a report."""
        self.g2.sent(report)

    def answered(self, reply: CommandReply) -> None:
        """A client got the answer to its command."""
        self.g1.told(reply)
        self.g8.answered(reply)

    def still(self, now: datetime) -> None:
        """Nothing moves any more and nothing is due: all that is open waits for people."""
        self.g6.check(now)

    def documents(self) -> Mapping[str, object]:
        """Return what the read models made of the log, after checking it."""
        return self.g7.check()
