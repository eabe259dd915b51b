"""Random options of steps that call endpoints: retries, timeouts, limits, patience with people.

The limits of a world are drawn once: a name means the same limit wherever it stands.
"""

from __future__ import annotations

from random import Random
from typing import Any

from support.random_themes import Theme

KEYS: tuple[str | None, ...] = (None, None, "${{ params.flag }}")
ITEM_KEYS: tuple[str | None, ...] = (None, "${{ item }}", "${{ item }}")
RULES: tuple[tuple[dict[str, Any], ...], ...] = (
    ({"on": "flaky", "first": 0.5, "max": 5}, {"on": "*", "max": 2, "jitter": "none"}),
    ({"on": "throttled", "wait": "retry-after"}, {"on": "worker-lost", "max": 3, "first": 0.1}),
    ({"on": "*", "max": 3, "first": 0.2, "factor": 1.0},),
    (),
)


def maybe(random: Random, chance: float = 0.5) -> bool:
    """Draw a yes or a no."""
    return random.random() < chance


class Options:
    """Draws options; `limits` has the limits of the world by name."""

    def __init__(self, random: Random, theme: Theme) -> None:
        self.random = random
        self.theme = theme
        rate = [random.choice((1, 2, 5)), random.choice((1, 5, 10))]
        self.limits: dict[str, dict[str, Any]] = {
            "slots": {"slots": random.choice((1, 2))},
            "rate": {"rate": rate, "burst": random.choice((1, 2, 3))},
            "both": {"slots": random.choice((1, 2)), "rate": rate},
        }

    def of_call(self, *, items: bool = False) -> dict[str, Any]:
        """Return what a step that calls an endpoint says beside its endpoint and arguments."""
        found: dict[str, Any] = {}
        if maybe(self.random, 0.5):
            found["retry"] = list(self.random.choice(RULES))
        if maybe(self.random, self.theme.timed):
            found["timeout"] = self._timeout()
        if maybe(self.random, self.theme.limited):
            found["limits"] = self._limits(ITEM_KEYS if items else KEYS)
        if maybe(self.random, 0.3):
            found["on_user_action"] = self._patience()
        if maybe(self.random, 0.2):
            found["queue"] = "side"
        return found

    def _timeout(self) -> dict[str, float]:
        drawn = {
            "queue": self.random.choice((6.0, 20.0)),
            "run": self.random.choice((6.0, 20.0)),
            "beat": self.random.choice((3.0, 6.0)),
            "total": self.random.choice((15.0, 60.0)),
        }
        return {name: seconds for name, seconds in drawn.items() if maybe(self.random, 0.6)}

    def _limits(self, keys: tuple[str | None, ...]) -> list[dict[str, Any]]:
        names = self.random.sample(sorted(self.limits), self.random.choice((1, 1, 2)))
        found = []
        for name in names:
            key = self.random.choice(keys)
            found.append({"name": name, **self.limits[name], **({"key": key} if key else {})})
        return found

    def _patience(self) -> dict[str, Any]:
        expire = {"expire": self.random.choice((3.0, 30.0))} if maybe(self.random, 0.7) else {}
        # Without an end to patience people would be reminded for ever, and nothing come to rest.
        remind = {"remind": self.random.choice((1.0, 5.0))} if expire and maybe(self.random) else {}
        then = self.random.choice(("retry", "fail", "skip")) if expire else "fail"
        return {**expire, **remind, "then": then}
