"""Totals of jobs and steps by name: what there is now by state, and what there ever was."""

from __future__ import annotations

from typing import Final

import msgspec

from warrener.projections.views import View

TOTALS: Final = "totals"
CODES_MAX: Final = 20  # of failures; further ones are counted together
OTHER: Final = "other"
ALL_JOBS: Final = ("", "")
ALL_STEPS: Final = ("", "*")
BUCKETS: Final = (0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0)


class TotalView(View, kw_only=True):
    """Totals of a partition: of jobs of a name, of a step of theirs, or of all jobs or steps.

    `now` counts those that have not ended, by state (pending steps are not counted); `ended` how
    often a state was reached that ends them, a rerun included. `attempts` are counted by what
    became of them, `failures` those that failed by code; `seconds` is how long answered ones took.
    That of all has `names`, how many others there are of its kind; that of all steps has `took`:
    how many attempts took no longer than each of `BUCKETS` but longer than the one before, and at
    the end how many took longer than any.
    """

    partition: int
    job: str
    step: str
    begun: int = 0  # jobs that were submitted
    names: int = 0
    now: dict[str, int] = msgspec.field(default_factory=dict)
    ended: dict[str, int] = msgspec.field(default_factory=dict)
    attempts: dict[str, int] = msgspec.field(default_factory=dict)
    failures: dict[str, int] = msgspec.field(default_factory=dict)
    seconds: float = 0.0
    took: list[int] = msgspec.field(default_factory=list)

    @property
    def key(self) -> tuple[int, str, str]:
        """Return partition, job and step, under which the document is kept."""
        return self.partition, self.job, self.step

    @property
    def is_of_steps(self) -> bool:
        """Say whether it counts steps."""
        return bool(self.step)

    @property
    def weight(self) -> int:
        """Return how much has happened, by which names are listed; -1 for totals of all."""
        if not self.job:
            return -1
        return self.begun + sum(self.ended.values()) + sum(self.attempts.values())

    def copied(self) -> TotalView:
        """Return a copy that shares nothing."""
        return msgspec.structs.replace(
            self,
            now=dict(self.now),
            ended=dict(self.ended),
            attempts=dict(self.attempts),
            failures=dict(self.failures),
            took=list(self.took),
        )
