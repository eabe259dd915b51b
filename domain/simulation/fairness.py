"""How evenly fairness keys were served: Jain's index of what each got, against its fair share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Shares:
    """Service that each fairness key got, and what a fair share would have been.

    In each interval a key can use what it was served and what of its work was ready but not done
    at the end. What was served in all is dealt out anew: equally by weight, to nobody more than it
    can use.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.ready: list[float] = []  # seconds of work that could be done now, by key
        self.received: list[float] = []
        self._got: list[float] = []  # in this interval
        self._due: list[float] = []

    def know(self, key: int) -> None:
        """There is a key of this number, and all below."""
        while len(self.ready) <= key:
            for each in (self.ready, self.received, self._got, self._due):
                each.append(0.0)

    def serve(self, key: int, planned: float, seconds: float) -> None:
        """A step that was planned to take so long has ended."""
        self.ready[key] -= planned
        self._got[key] += seconds
        self.received[key] += seconds

    def close_interval(self, weights: Sequence[float] = ()) -> None:
        """Deal out what was served since the last time."""
        got = self._got
        wants = {
            key: got[key] + ready
            for key, ready in enumerate(map(max, self.ready, [0.0] * len(got)))
            if got[key] + ready > 0
        }
        if len(got) > 1:
            by_key = {key: weights[key] if weights else 1.0 for key in wants}
            for key, share in fair_shares(sum(got), wants, by_key).items():
                self._due[key] += share
        self._got = [0.0] * len(got)

    def index(self) -> float:
        """Return Jain's index: 1 if all got the same part of their fair share, 1/n if only one."""
        parts = [got / due for got, due in zip(self.received, self._due, strict=True) if due > 0]
        return jain(parts)


def fair_shares(
    total: float, wants: Mapping[int, float], weights: Mapping[int, float]
) -> dict[int, float]:
    """Deal out a total by weight, to nobody more than it wants."""
    shares: dict[int, float] = {}
    left, weight = total, sum(weights.values())
    for key in sorted(wants, key=lambda each: wants[each] / weights[each]):
        share = min(wants[key], left * weights[key] / weight)
        shares[key] = share
        left, weight = left - share, weight - weights[key]
        if weight <= 0:  # all had their turn, or rounding says so
            break
    return shares


def jain(values: Sequence[float]) -> float:
    """Return Jain's fairness index of what was given: 1 if all are the same."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0
