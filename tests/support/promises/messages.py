"""G8: every message is applied, ignored and counted, refused with a reason, or quarantined."""

from __future__ import annotations

from typing import Any

from support.flow_chance import ChanceDetector
from support.promises.folded import Broken
from support.promises.live import Live, watching

from warrener.domain.messages import (
    AnswerUserAction,
    Beat,
    CommandReply,
    InboxMessage,
    StepReport,
)
from warrener.services.controller import Controller
from warrener.services.turn import Turn


class G8:
    """Nothing is dropped silently."""

    def __init__(self) -> None:
        self.replies: dict[str, CommandReply] = {}
        self._applied: set[str] = set()

    def taken(self, message_id: str, message: InboxMessage, what: str) -> None:
        """A message was taken, and this became of it; `""`: nothing to be seen."""
        # Other commands, and repeated ones, may find that everything is as they ask for already.
        if what:
            self._applied.add(message_id)
        elif isinstance(message, StepReport) or (
            isinstance(message, AnswerUserAction) and message_id not in self._applied
        ):
            raise Broken("G8", f"{type(message).__name__} {message_id} was dropped silently")

    def refused(self, message_id: str, reason: str) -> None:
        """A command was refused."""
        if not reason.strip() or reason.rstrip().endswith(":"):
            raise Broken("G8", f"{message_id} was refused without a reason: {reason!r}")

    def answered(self, reply: CommandReply) -> None:
        """A client got an answer."""
        self.replies[reply.command] = reply

    def unanswered(self, asked: list[str]) -> None:
        """All of these were asked when nothing was wrong, and should be answered by now."""
        left = [name for name in asked if name not in self.replies]
        if left:
            raise Broken("G8", f"nobody answered {left}")

    def quarantine(self, reasons: list[str], expected: int) -> None:
        """What could not be read lies in the quarantine, and says why."""
        if not all(reasons):
            raise Broken("G8", "a message was quarantined without a reason")
        if len(reasons) < expected:
            raise Broken("G8", f"{expected} messages were nonsense, {len(reasons)} are kept")

    def left_over(self, queue: str, count: int) -> None:
        """So many messages were neither acknowledged nor given away when all was still."""
        if count:
            raise Broken("G8", f"{count} messages of {queue} are left over")


class WatchedController(Controller):
    """A controller that tells what becomes of each message."""

    def __init__(
        self,
        g8: G8,
        *args: Any,
        detector: ChanceDetector | None = None,
        live: Live | None = None,
        **more: Any,
    ) -> None:
        self._g8 = g8
        if live is not None:
            self.turns = watching(live)
        self._detector = detector
        super().__init__(*args, **more)

    def forget(self) -> None:
        """Forget all but the detector, which is the test's."""
        super().forget()
        if self._detector is not None:
            self.control._detector = self._detector  # type: ignore[assignment]

    def _take(self, turn: Turn, message_id: str, message: InboxMessage) -> None:
        batch = turn.batch
        before = (len(batch._slots), batch.ignored, len(batch.refused))
        alive = dict(self.memory.heard)
        super()._take(turn, message_id, message)
        turn.drain()
        after = (len(batch._slots), batch.ignored, len(batch.refused))
        for refusal in batch.refused[before[2] :]:
            self._g8.refused(message_id, refusal.reason)
        self._g8.taken(message_id, message, "seen" if after != before else "")
        if isinstance(message, Beat) and after == before and message.step not in alive:
            raise Broken("G8", f"beat {message_id} was dropped silently")
