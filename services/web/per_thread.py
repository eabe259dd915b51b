"""What the threads of a pool have open, each for itself: most connections belong to one thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Generic, TypeVar

T = TypeVar("T")


class PerThread(Generic[T]):
    """Opens something in each thread that asks for it, and keeps it for the next time."""

    def __init__(self, opens: Callable[[], AbstractContextManager[T]]) -> None:
        """Take what opens it; nothing is opened before somebody asks."""
        self._open = opens
        self._own = threading.local()
        self._lock = threading.Lock()
        self._stacks: set[ExitStack] = set()
        self._generation = 0

    def get(self) -> T:
        """Return what this thread has open; it may raise whatever opening does."""
        generation = self._generation
        if getattr(self._own, "generation", None) != generation:
            self.let_go()
            stack = ExitStack()
            self._own.opened = stack.enter_context(self._open())
            self._own.stack, self._own.generation = stack, generation
            with self._lock:
                self._stacks.add(stack)
        found: T = self._own.opened
        return found

    def let_go(self) -> None:
        """Close what this thread has open."""
        stack = getattr(self._own, "stack", None)
        self._own.generation = self._own.stack = self._own.opened = None
        if stack is not None:
            self._close(stack)

    def renew(self) -> None:
        """Have each thread open it anew when it asks next."""
        self._generation += 1

    def close(self) -> None:
        """Close what all threads have open, once they have ended."""
        for stack in list(self._stacks):
            self._close(stack)

    def _close(self, stack: ExitStack) -> None:
        with self._lock:
            self._stacks.discard(stack)
        with contextlib.suppress(Exception):  # it may have failed before, whatever way
            stack.close()
