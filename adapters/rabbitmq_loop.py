"""The thread in which pika runs, and how others hand it something to do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from threading import Thread, get_ident
from typing import Any

from pika.adapters.select_connection import IOLoop


class IoThread(Thread):
    """Turns pika's loop: commands that were handed over, what there is to read, timers.

    Once a turn comes `end_of_turn`, where everything that piled up leaves in one go.
    Only `do` may be called from other threads. `failed` gets an error that ends the thread.
    """

    def __init__(
        self, end_of_turn: Callable[[], None], failed: Callable[[BaseException], None]
    ) -> None:
        """Wait for `start`."""
        super().__init__(name="warrener-amqp", daemon=True)
        self.loop = IOLoop()
        self._end_of_turn = end_of_turn
        self._failed = failed
        self._commands: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._asleep = False
        self._stopped = False
        self._context = copy_context()  # of who opens the connection: what is bound to log lines

    def do(self, command: Callable[..., None], *arguments: Any) -> None:
        """Have a command carried out by this thread, after those before it."""
        self._commands.append((command, arguments))
        # A loop that is awake looks for commands before it sleeps; waking it costs a system call.
        if self._asleep:
            self._asleep = False
            self.loop.add_callback_threadsafe(_nothing)

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call back after a time."""
        self.loop.call_later(seconds, callback)

    def stop(self) -> None:
        """End the thread after this turn."""
        self._stopped = True

    def check(self) -> None:
        """Make sure that this is the thread; pika's objects may be touched by no other."""
        assert get_ident() == self.ident, "not in the I/O thread"

    def run(self) -> None:
        """Turn until `stop`."""
        self._context.run(self._run)

    def _run(self) -> None:
        self.loop.activate_poller()
        try:
            while not self._stopped:
                self._turn()
        except BaseException as error:
            self._failed(error)
        finally:
            self._asleep = False
            self.loop.deactivate_poller()
            self.loop.close()

    def _turn(self) -> None:
        for _ in range(len(self._commands)):
            command, arguments = self._commands.popleft()
            command(*arguments)
        self._end_of_turn()
        self._asleep = True
        if self._commands:
            self.loop.add_callback_threadsafe(_nothing)  # look at the sockets, but do not wait
        self.loop.poll()
        self._asleep = False
        self.loop.process_timeouts()


def _nothing() -> None:
    """Only wakes the loop."""
