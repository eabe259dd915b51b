"""Telling systemd how a daemon stands; does nothing where nobody listens."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Sends what `systemd` asks for by `NOTIFY_SOCKET` and `WATCHDOG_USEC`."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        """Read the two variables."""
        self._address = environ.get("NOTIFY_SOCKET", "")
        microseconds = environ.get("WATCHDOG_USEC", "")
        self._every_seconds = int(microseconds) / 2e6 if microseconds.isdigit() else 0.0
        self._next_sign = 0.0

    def ready(self) -> None:
        """The daemon does its work now."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The daemon is asked to stop and does so."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """The daemon's loop goes round; tells the watchdog often enough, and no more often."""
        if self._every_seconds and time.monotonic() >= self._next_sign:
            self._next_sign = time.monotonic() + self._every_seconds
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        address = self._address.replace("@", "\0", 1)
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link,
        ):
            link.sendto(text.encode(), address)
