"""What people set about the flow, for all queues."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from warrener.domain.flow.orders import DEFAULT_ORDER
from warrener.domain.flow.ready import Stage

Mode = Literal["off", "observe", "advise", "act"]
IntakeMode = Literal["accept", "queue", "refuse"]

BOUND_SECONDS: Final = 60.0


class FlowSettings(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How ready steps are released, and what is done about starvation.

    `weights` are those of fairness keys, 1 for others. `mode` says what becomes of starvation: it
    is not looked for (`off`), only told (`observe`), a person is asked (`advise`), or it is acted
    upon (`act`). A step starves once it has waited for longer than `bound_seconds`. `intake` says
    what becomes of jobs that are submitted while as many are open as the limit `@jobs` allows.
    """

    policy: str = DEFAULT_ORDER
    weights: dict[str, float] = msgspec.field(default_factory=dict)
    mode: Mode = "act"
    bound_seconds: float = BOUND_SECONDS
    intake: IntakeMode = "accept"


DEFAULT_SETTINGS: Final = FlowSettings()


class Measures(msgspec.Struct):
    """What is done about starvation now. `Flow` obeys; `flow.alleviation` decides.

    A `throttled` stage has at most so many orders out; one with a `floors` goes first while it has
    fewer. In a `drained` queue the steps nearest to the end of their jobs go first. Every second
    release of a queue goes to a `boosted` stage that has any, the longest wait first.
    """

    throttled: dict[Stage, int] = {}
    floors: dict[Stage, int] = {}
    drained: set[str] = set()
    boosted: set[Stage] = set()
    intake_held: bool = False
