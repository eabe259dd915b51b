"""Steers the jobs of a store without a broker, whether or not a run works on them just now.

A controller that lets nothing out decides as one of a fleet would. What it commits, a run that
works on the store finds in the log; a run that begins later starts from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from uuid import UUID

import structlog

from warrener.domain.errors import Conflict, StoredDataError, UsageError
from warrener.domain.flow import Flow
from warrener.domain.messages import AnswerUserAction, ChangeLimit, SteeringMessage
from warrener.domain.ports import Clock, EventStore
from warrener.domain.topology import results_queue
from warrener.services.controller import Controller
from warrener.services.logs import root_of
from warrener.services.steering_calls import SteeringCalls
from warrener.services.turn import Chance

CONFLICTS_MAX = 10

log = structlog.get_logger()


class StoreSteering(SteeringCalls):
    """Carries commands out on a log that no reactor of a fleet writes at the same time.

    `alone` keeps other writers waiting from loading to committing; without it the unique keys of
    the log tell if somebody was faster, and it is done again.
    """

    def __init__(
        self,
        store: EventStore,
        clock: Clock,
        chance: Chance,
        alone: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Take the store and what a controller needs."""
        self._store = store
        self._clock = clock
        self._chance = chance
        self._alone = alone

    def steer(self, command: SteeringMessage, name: str) -> bool:
        """Decide and commit; returns True. Raises `UsageError` if the command is refused."""
        for _ in range(CONFLICTS_MAX):
            try:
                with self._alone():
                    self._carry_out(command, name)
            except Conflict as conflict:
                log.info("commit.conflict", reason=str(conflict))
            else:
                return True
        raise Conflict(f"somebody else wrote first {CONFLICTS_MAX} times in a row: try again")

    def _carry_out(self, command: SteeringMessage, name: str) -> None:
        now = self._clock.now()
        controller = Controller(
            self._store, _lets_nothing_out, self._chance, results_queue(), announces=False
        )
        self._load(controller, command, now)
        batch = controller.handle([(name, command)], now)
        if batch.refused:
            raise UsageError("\n".join(refusal.reason for refusal in batch.refused))
        self._store.commit(batch.events, batch.blobs)

    def _load(self, controller: Controller, command: SteeringMessage, now: datetime) -> None:
        """Load what the command may touch: a tree, or all that is open."""
        if isinstance(command, AnswerUserAction | ChangeLimit):
            self._load_all(controller, self._store.open_roots(), now)
            return
        root = root_of(self._store, command.job)
        unreadable = controller.recover([root], now)
        if unreadable:
            raise StoredDataError(unreadable[root])
        if controller.memory.requests.open:
            # Steps of other trees may wait for the same answer.
            others = [other for other in self._store.open_roots() if other != root]
            self._load_all(controller, others, now)

    def _load_all(self, controller: Controller, roots: Iterable[UUID], now: datetime) -> None:
        for root, reason in controller.recover(roots, now).items():
            log.error("job.unreadable", job=str(root), reason=reason)


def _lets_nothing_out() -> Flow:
    return Flow(lambda _: 0, window_max=0)
