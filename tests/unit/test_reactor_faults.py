"""A message that brings about a fault of ours stops nobody but itself."""

from __future__ import annotations

from typing import Any

import pytest
from support.hand_fleet import HandFleet

from warrener.adapters.memory import MemoryBroker
from warrener.domain.messages import CancelJob, PauseJob
from warrener.services import commands


def test_a_message_that_cannot_be_decided_is_put_away_and_the_others_are_taken(
    monkeypatch: pytest.MonkeyPatch,
):
    fleet = HandFleet(MemoryBroker())
    first = fleet.submit({"a": {"call": "work"}})
    second = fleet.submit({"a": {"call": "work"}})
    steer = commands.steer

    def faulty(turn: Any, message: Any, message_id: str) -> None:
        steer(turn, message, message_id)
        if isinstance(message, CancelJob):
            raise ZeroDivisionError("in the middle")

    monkeypatch.setattr(commands, "steer", faulty)
    fleet.send_all([CancelJob(job=first), PauseJob(job=second)])

    assert fleet.job(first).state == "running"  # nothing of it was recorded
    assert fleet.job(second).state == "paused"
    assert fleet.reactor.quarantined == 1
    fleet.report(fleet.order(first, "a"), "succeeded")
    assert fleet.job(first).state == "succeeded"
