"""Daemons of a fleet in threads of one process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from warrener.domain.errors import UsageError

_READY_SECONDS: Final = 150.0  # longer than children may take to load their endpoints

Open = Callable[[Callable[[], None]], AbstractContextManager[Any]]


class DaemonThread:
    """A daemon in a thread of its own, that opens what it works with there."""

    def __init__(self, name: str, opens: Open, on_end: Callable[[], None]) -> None:
        """Take what opens it, given what is to be called once it is ready."""
        self.name = name
        self.error: BaseException | None = None
        self._open = opens
        self._on_end = on_end
        self._ready = threading.Event()
        self._stopping = False
        self._daemon: Any = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start it and wait until it is ready; what kept it from that is raised."""
        self._thread.start()
        if not self._ready.wait(_READY_SECONDS):
            raise UsageError(f"the {self.name} was not ready after {_READY_SECONDS:g} s")
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Ask it to end in good order. Safe in a signal handler."""
        self._stopping = True
        if self._daemon is not None:
            self._daemon.stop()

    def join(self) -> None:
        """Wait for its end."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            with self._open(self._ready.set) as daemon:
                self._daemon = daemon
                if not self._stopping:
                    daemon.run()
        except BaseException as error:  # the main thread raises it
            self.error = error
        finally:
            self._ready.set()
            if not self._stopping:
                self._on_end()
