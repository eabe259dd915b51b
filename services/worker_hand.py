"""The orders that a worker has in hand, from their delivery to its acknowledgement."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from warrener.domain.ports import Channel
from warrener.services.runners import WAITING, Attempt, Task


class Hand:
    """All of them by attempt, at whatever stage, and those that wait for a slot, in order."""

    def __init__(self, channel: Channel) -> None:
        """Begin with none."""
        self.tasks: dict[Attempt, Task] = {}
        self.waiting: deque[Task] = deque()
        self._channel = channel

    def add(self, task: Task) -> None:
        """Take an order in hand; it waits."""
        self.tasks[task.attempt] = task
        self.waiting.append(task)

    def drop(self, task: Task) -> None:
        """Be done with a cancelled order: nobody waits for its report."""
        del self.tasks[task.attempt]
        self._channel.ack([task.tag, *task.joined])

    def give_back(self, task: Task) -> None:
        """Have its queue hand an order to somebody else, unless it is cancelled."""
        if task.pulse.cancelled:
            self.drop(task)
            return
        del self.tasks[task.attempt]
        for tag in (task.tag, *task.joined):
            self._channel.reject(tag, requeue=True)

    def sort_out(self, withdrawn: Iterable[Task], takes: Callable[[str], bool]) -> None:
        """Give back what has not begun of queues that are served no longer; the rest waits on."""
        unbegun = [*withdrawn, *self.waiting]
        self.waiting.clear()
        for task in unbegun:
            if takes(task.queue) and not task.pulse.cancelled:
                task.stage = WAITING
                self.waiting.append(task)
            else:
                self.give_back(task)
