"""Steers the jobs of a store without a broker, whether or not a run works on them just now.

A controller that lets nothing out decides as one of a fleet would. What it commits, a run that
works on the store finds in the log; a run that begins later starts from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from warrener.domain.errors import Conflict, StoredDataError, UsageError
from warrener.domain.flow.lanes import Flow
from warrener.domain.messages import AnswerUserAction, ChangeFlow, ChangeLimit, SteeringMessage
from warrener.domain.partitions import Logs
from warrener.domain.ports import Clock, EventStore
from warrener.domain.topology import results_queue
from warrener.services import policies
from warrener.services.controller import Controller
from warrener.services.log_facts import facts_of
from warrener.services.logs import each_log, log_of_job, root_of
from warrener.services.routing import shared_cause
from warrener.services.steering_calls import SteeringCalls
from warrener.services.turn import Chance

CONFLICTS_MAX = 10

logger = structlog.get_logger()


def _beside_others(_log: EventStore) -> AbstractContextManager[None]:
    """Keep nobody waiting."""
    return nullcontext()


class StoreSteering(SteeringCalls):
    """Carries commands out on a log that no reactor of a fleet writes at the same time.

    `alone` keeps other writers waiting from loading to committing; without it the unique keys of
    the log tell if somebody was faster, and it is done again.
    """

    def __init__(
        self,
        logs: Logs,
        clock: Clock,
        chance: Chance,
        alone: Callable[[EventStore], AbstractContextManager[None]] = _beside_others,
    ) -> None:
        """Take the logs and what a controller needs."""
        self._logs = logs
        self._clock = clock
        self._chance = chance
        self._alone = alone

    def steer(self, command: SteeringMessage, name: str) -> bool:
        """Decide and commit; returns True. Raises `UsageError` if the command is refused."""
        for log, part in self._parts(command):
            self._steer(log, part, name)
        return True

    def _parts(self, command: SteeringMessage) -> Iterator[tuple[EventStore, SteeringMessage]]:
        """Yield the logs that a command is about, each with what is asked there."""
        if isinstance(command, ChangeLimit | ChangeFlow):
            yield from ((log, command) for log in each_log(self._logs))
        elif isinstance(command, AnswerUserAction):
            home = self._logs.find(command.request) or 0
            yield self._logs.log(home), command
            cause = shared_cause(self._logs, home, command.request)
            if cause is not None:
                copy = msgspec.structs.replace(command, cause=cause)
                others = (each for each in range(self._logs.count) if each != home)
                yield from ((self._logs.log(each), copy) for each in others)
        else:
            yield log_of_job(self._logs, command.job), command

    def _steer(self, log: EventStore, command: SteeringMessage, name: str) -> None:
        for _ in range(CONFLICTS_MAX):
            try:
                with self._alone(log):
                    self._carry_out(log, command, name)
            except Conflict as conflict:
                logger.info("commit.conflict", **facts_of(command), reason=str(conflict))
            else:
                return
        raise Conflict(f"somebody else wrote first {CONFLICTS_MAX} times in a row: try again")

    def _carry_out(self, log: EventStore, command: SteeringMessage, name: str) -> None:
        now = self._clock.now()
        controller = Controller(
            log, _lets_nothing_out, self._chance, results_queue(), announces=False
        )
        _load(log, controller, command, now)
        batch = controller.handle([(name, command)], now)
        if batch.refused:
            raise UsageError("\n".join(refusal.reason for refusal in batch.refused))
        log.commit(batch.events, batch.blobs)


def _load(log: EventStore, controller: Controller, command: SteeringMessage, now: datetime) -> None:
    """Load what the command may touch: a tree, or all that is open."""
    if isinstance(command, AnswerUserAction | ChangeLimit | ChangeFlow):
        _load_all(controller, log.open_roots(), now)
        return
    root = root_of(log, command.job)
    unreadable = controller.recover([root], now)
    if unreadable:
        raise StoredDataError(unreadable[root])
    memory = controller.memory
    if any(step in memory.steps for each in memory.requests.open.values() for step in each.members):
        # Steps of other trees may wait for the same answer.
        others = [other for other in log.open_roots() if other != root]
        _load_all(controller, others, now)


def _load_all(controller: Controller, roots: Iterable[UUID], now: datetime) -> None:
    for root, reason in controller.recover(roots, now).items():
        logger.error("job.unreadable", job=str(root), reason=reason)


def _lets_nothing_out() -> Flow:
    flow = Flow(lambda _: 0, window_max=0, orders=policies.orders())
    flow.measures.intake_held = True
    return flow
