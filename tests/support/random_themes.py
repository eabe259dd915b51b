"""What the worlds are about: each seed has all features, and more of some of them.

Faults that need three things at once hardly ever come about where everything is equally likely.
"""

from __future__ import annotations

from random import Random

import msgspec

KINDS = ("call",) * 9 + ("each",) * 3 + ("child_job",) * 3 + ("jobs",) * 2
KINDS += ("set", "set", "wait", "wait", "sleep")
COMMANDS = {
    "cancel": 1,
    "pause": 2,
    "resume": 2,
    "retry": 2,
    "rerun": 3,
    "signal": 3,
    "answer": 3,
    "adjust": 2,
    "change_limit": 2,
    "change_intake": 1,
}


class Theme(msgspec.Struct, frozen=True, kw_only=True):
    """How likely things are; shares from 0 to 1, and weights of commands."""

    kinds: tuple[str, ...] = KINDS
    commands: dict[str, int] = msgspec.field(default_factory=lambda: dict(COMMANDS))
    steered: float = 0.12  # of the turns, with faults
    limited: float = 0.35
    timed: float = 0.4
    deadline: float = 0.15
    stop: float = 0.25
    successes: int = 12  # beside a dozen failures of all kinds
    roots: tuple[int, ...] = (1, 1, 2, 3)
    queued: float = 0.2  # of the worlds have jobs wait for their start
    items_max: int = 4


ALL = Theme()
LIMITS = Theme(
    kinds=("call",) * 6 + ("each",) * 3 + ("child_job", "jobs", "set"),
    commands={**COMMANDS, "cancel": 4, "change_limit": 4, "pause": 4, "resume": 4},
    limited=0.9,
    timed=0.2,
    roots=(3, 4),
)
RERUNS = Theme(
    kinds=("call",) * 4 + ("each", "each", "set", "set", "child_job", "jobs", "wait"),
    commands={**COMMANDS, "rerun": 25, "retry": 8},
    steered=0.25,
    timed=0.1,
    deadline=0.4,
    successes=60,
)
WINDOWS = Theme(
    kinds=("each",) * 5 + ("jobs",) * 4 + ("call",) * 3,
    commands={**COMMANDS, "adjust": 20, "rerun": 8},
    steered=0.3,
    limited=0.3,
    successes=30,
    items_max=7,
)
WAITS = Theme(
    kinds=("wait",) * 4 + ("sleep",) * 3 + ("set",) * 3 + ("call",) * 3 + ("child_job",),
    commands={**COMMANDS, "signal": 16, "answer": 6},
    steered=0.25,
    stop=0.6,
    successes=40,
)
THEMES = (ALL, ALL, ALL, LIMITS, LIMITS, RERUNS, RERUNS, WINDOWS, WAITS)


def random_theme(random: Random) -> Theme:
    """Draw what a world is about."""
    return random.choice(THEMES)
