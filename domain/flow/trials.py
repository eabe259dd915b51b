"""From suspicions to findings: a cause must last to be found, and be gone for a while to end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from warrener.domain.flow.case import Suspicion
from warrener.domain.flow.incidents import Diagnosis, Victim

LOOKS_MIN: Final = 3
HOLD_SECONDS: Final = 5.0  # a cause that is seen for so long is found
WEAK_HOLD_SECONDS: Final = 15.0  # ... if it is only what remains when no other is seen
CHANGE_SECONDS: Final = 30.0  # ... if it takes the place of another; twice as long every time
CHANGES_MAX: Final = 5  # so many make it longer
CALM_SHARE: Final = 0.5  # of the bound: who waits less long does not starve any more
CALM_SECONDS: Final = 10.0
LIMITS: Final = frozenset({"slots-full", "rate-limit"})

Names = Collection[tuple[str, str]]  # stages, by job and step


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Steps of a queue starve. It is the same one as long as queue and diagnosis are the same.

    `evidence` are the figures that the diagnosis goes by, with a `sentence` for people, and `since`
    is when the first of the victims became ready.
    """

    queue: str
    diagnosis: Diagnosis
    victims: tuple[Victim, ...]
    evidence: dict[str, float | str]
    since: datetime


class _Trial(msgspec.Struct):
    """A diagnosis that was suspected lately; with a `finding` it is more than a suspicion."""

    seconds: float = 0.0
    looks: int = 0
    calm_seconds: float = 0.0
    calm_looks: int = 0
    finding: Finding | None = None

    @property
    def is_over(self) -> bool:
        """Say whether it is not suspected any more, or nobody has suffered from it for a while."""
        if self.finding is None:
            return self.seconds <= 0
        return self.calm_seconds >= CALM_SECONDS and self.calm_looks >= LOOKS_MIN


class Trials:
    """What is suspected and found of one queue."""

    def __init__(self, queue: str) -> None:
        """Begin with nothing."""
        self._queue = queue
        self._trials: dict[Diagnosis, _Trial] = {}
        self._changes = 0  # since anything stands

    def __bool__(self) -> bool:
        return bool(self._trials)

    def findings(self) -> list[Finding]:
        """Return what stands, the oldest first."""
        found = (trial.finding for trial in self._trials.values())
        return sorted((each for each in found if each is not None), key=lambda each: each.since)

    def weigh(
        self,
        at: datetime,
        elapsed: float,
        suspicions: Sequence[Suspicion],
        *,
        waiting: Names,
        falling: bool,
    ) -> None:
        """Take the suspicions of a look, `elapsed` seconds after the one before.

        `waiting` are the stages whose waits are not clearly below the bound. Where waits are
        `falling` what was found is about to be over: only a clear cause takes its place.
        """
        seen = {each.diagnosis for each in suspicions}
        stands = any(trial.finding for trial in self._trials.values())
        if not stands:
            self._changes = 0
        for diagnosis in [each for each in self._trials if each not in seen]:
            trial = self._trials[diagnosis]
            if trial.finding is not None:
                self._pass_over(trial, trial.finding, elapsed, waiting)
            else:
                trial.seconds -= elapsed if stands else elapsed / 2
            follows = any(self._trials[each].finding is None for each in seen & set(self._trials))
            if trial.is_over and not (trial.finding and follows):
                del self._trials[diagnosis]
        for suspicion in suspicions:
            self._take(at, elapsed, suspicion, seen, falling=falling)

    def _pass_over(self, trial: _Trial, finding: Finding, elapsed: float, waiting: Names) -> None:
        """A cause that was found is not suspected in this look."""
        if any((victim.job, victim.step) in waiting for victim in finding.victims):
            trial.calm_seconds, trial.calm_looks = 0.0, 0
        else:
            trial.calm_seconds += elapsed
            trial.calm_looks += 1

    def _take(
        self,
        at: datetime,
        elapsed: float,
        suspicion: Suspicion,
        seen: Collection[Diagnosis],
        *,
        falling: bool,
    ) -> None:
        """A cause is suspected in this look."""
        trial = self._trials.setdefault(suspicion.diagnosis, _Trial())
        trial.calm_seconds, trial.calm_looks = 0.0, 0
        if trial.finding is not None:
            trial.finding = self._finding(at, suspicion)
            return
        old = [each for each in self._rivals(suspicion) if each not in seen]
        trial.looks += 1
        passes = bool(old) and suspicion.weak and falling
        trial.seconds = max(0.0, trial.seconds - elapsed) if passes else trial.seconds + elapsed
        if trial.seconds >= self._hold_seconds(suspicion, old) and trial.looks >= LOOKS_MIN:
            trial.finding = self._finding(at, suspicion)
            self._changes += bool(old)
            for each in old:
                del self._trials[each]

    def _hold_seconds(self, suspicion: Suspicion, old: Sequence[Diagnosis]) -> float:
        """Return for how long a cause must be seen: longer if another one stands, and every time.

        So nothing changes to and fro. Where one is over the next one follows without a gap.
        """
        if any(not self._trials[each].is_over for each in old):
            return CHANGE_SECONDS * float(2 ** min(self._changes, CHANGES_MAX))
        return WEAK_HOLD_SECONDS if suspicion.weak else HOLD_SECONDS

    def _rivals(self, suspicion: Suspicion) -> list[Diagnosis]:
        """Return the other diagnoses that cannot stand beside one, if only one is true.

        Limits hold back who comes under them. What else there is concerns the whole queue.
        """
        names = {(victim.job, victim.step) for victim in suspicion.victims}
        return [
            diagnosis
            for diagnosis, trial in self._trials.items()
            if trial.finding is not None
            and (
                not {diagnosis, suspicion.diagnosis} & LIMITS
                or any((victim.job, victim.step) in names for victim in trial.finding.victims)
            )
        ]

    def _finding(self, at: datetime, suspicion: Suspicion) -> Finding:
        longest = max(victim.oldest_wait for victim in suspicion.victims)
        return Finding(
            queue=self._queue,
            diagnosis=suspicion.diagnosis,
            victims=suspicion.victims,
            evidence=suspicion.evidence,
            since=at - timedelta(seconds=longest),
        )
