"""Incidents of starvation: who waits too long, why, and what is done about it."""

from __future__ import annotations

from typing import Literal

import msgspec

Diagnosis = Literal[
    "upstream-flood",
    "slots-full",
    "rate-limit",
    "no-worker",
    "too-few-workers",
    "priority",
    "slow-step",
    "poison-loop",
    "store-or-broker-slow",
]
MeasureKind = Literal[
    "drain-downstream",
    "throttle-producer",
    "reserve-floor",
    "boost-aged",
    "hold-intake",
    "move-workers",
]
# With the incident, since it did not help, by its time, since people want no measures, or not this.
MeasureEnd = Literal["ended", "no-help", "expired", "withdrawn", "declined"]


class Victim(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stage whose steps wait too long: how many, and the longest wait in seconds."""

    job: str
    step: str
    waiting: int
    oldest_wait: float


class Measure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What can be done about an incident.

    It is about a queue, or about a stage (`job` and `step`) in it. `amount` is the bound of a
    throttle, the size of a floor, or the number of workers to move; `workers` names these.
    """

    kind: MeasureKind
    queue: str
    job: str = ""
    step: str = ""
    amount: int = 0
    workers: tuple[str, ...] = ()
