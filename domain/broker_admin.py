"""What operators ask of a broker; adapters do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class QueueInfo(msgspec.Struct, frozen=True):
    """A queue of the topology, as the broker has it. Numbers are 0 where it does not exist."""

    queue: str
    exists: bool
    type: str = ""  # quorum, classic, or "" where that cannot be told
    messages: int = 0
    consumers: int = 0


class Finding(msgspec.Struct, frozen=True):
    """Something `doctor` has to say about the broker; `ok` things have no advice."""

    ok: bool
    detail: str
    advice: str = ""


class BrokerAdmin(Protocol):
    """Declares and looks at the topology. Errors are `BrokerUnavailable` and `UsageError`."""

    def declare(self, queues: Sequence[str], partitions: int = 1) -> None:
        """Declare everything durable; a queue that exists with other arguments is refused."""
        ...

    def info(self, queues: Sequence[str], partitions: int = 1) -> list[QueueInfo]:
        """Return how each queue stands."""
        ...

    def check(self, queues: Sequence[str], partitions: int = 1) -> list[Finding]:
        """Return what is wrong, and what is in order."""
        ...
