"""What must hold of every log, and waiting for what will hold."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

from warrener.domain.ports import EventStore
from warrener.domain.step_events import StepReleased, StepSucceeded

WAIT_SECONDS = 60.0


def eventually(holds: Callable[[], Any], what: str = "", seconds: float = WAIT_SECONDS) -> Any:
    """Wait until something holds, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"in vain: {what or holds}"
        threading.Event().wait(0.005)
    return found


def check_log(log: EventStore) -> dict[UUID, int]:
    """Positions and versions have no gaps, attempts rise, and no step succeeded twice.

    Returns the attempts of each step that succeeded.
    """
    events = log.read(0, log.head())
    assert [each.position for each in events] == list(range(1, len(events) + 1))
    succeeded: Counter[UUID] = Counter()
    versions: dict[UUID, int] = {}
    attempts: dict[UUID, int] = {}
    for each in events:
        stream, event = each.recorded.originator_id, each.recorded.event
        assert each.recorded.originator_version == versions.get(stream, 0) + 1
        versions[stream] = each.recorded.originator_version
        if isinstance(event, StepReleased):
            assert event.attempt == attempts.get(stream, 0) + 1
            attempts[stream] = event.attempt
        if isinstance(event, StepSucceeded):
            succeeded[stream] += 1
    assert set(succeeded.values()) <= {1}
    return {step: attempts[step] for step in succeeded if step in attempts}
