"""Compares one job with what is decided anew, and names what leads to what.

A step whose outcome is another one, or unknown, is told once; what differs below it because of
that is counted with it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from warrener.domain.ids import joined_path, split_path
from warrener.domain.states import JOB_ENDED
from warrener.services.dry_run import job_ends
from warrener.services.dry_run.because import Because
from warrener.services.dry_run.differences import MISSING
from warrener.services.dry_run.ends import StepDiff
from warrener.services.dry_run.shapes import Finding

if TYPE_CHECKING:
    from warrener.services.dry_run.compare import Comparison

TURNS, LATE = 3, 2  # of the steps of a job; undoing and cleaning up come late


class Told(msgspec.Struct):
    """A finding while more is found: what follows from it, and how many are alike."""

    finding: Finding
    follows: int = 0
    alike: int = 1


Comparing = Generator["JobComparison", Told | None, Told | None]


class JobComparison:
    """Compares one job that both sides have; those below it are compared by whoever drives it."""

    def __init__(self, whole: Comparison, job: UUID, path: str, cause: Told | None) -> None:
        """Take where the job is; `cause` is what led to all of it being another one."""
        self._whole = whole
        self._job = job
        self._path = path
        self._old, self._new = whole.one(job)
        self._because = Because(self._old, self._new)
        self._steps = whole.steps(job)
        self._cause = cause
        self._affected: dict[str, Told] = {}

    def compare(self) -> Comparing:
        """Yield the comparisons of jobs below it, each to be answered by what it returned.

        Returns the first finding that changes how the job ends, if it ends otherwise.
        """
        self._cause = self._cause or self._other_job() or self._deadline()
        diffs = {name: self._steps.compare(name) for name in self._steps.names()}
        turns: dict[int, list[str]] = {}
        for name, found in diffs.items():
            turns.setdefault(self._turn(name, found), []).append(name)
        for turn in range(TURNS):
            if turn == LATE and not self._affected:
                self._fails_otherwise()  # what undoes it follows from that
            for name in turns.get(turn, ()):
                yield from self._step(name, diffs[name])
        self._commands()
        return self._end()

    def _turn(self, name: str, diffs: list[StepDiff]) -> int:
        """Return when a step has its turn: what anything may lead to comes after all that may."""
        step = self._new.plan.steps.get(name) or self._old.plan.steps[name]
        late = 0 if step.phase == "main" else LATE
        return late or int(any(diff.cancelled for diff in diffs))

    def _tell(self, diff: StepDiff, because: str | None) -> Told:
        finding = Finding(
            job=self._job,
            path=joined_path(self._path, diff.path),
            kind=diff.kind,
            sentence=diff.sentence,
            old=None if diff.old is MISSING else diff.old,
            new=None if diff.new is MISSING else diff.new,
            at=diff.at,
            because=because,
            unknown=diff.unknown,
        )
        return self._whole.tell(finding, diff.alike)

    # --- steps -----------------------------------------------------------------------------------

    def _step(self, name: str, diffs: list[StepDiff]) -> Comparing:
        leading = self._cause or self._leading(name, anything=self._turn(name, diffs) > 0)
        inner = [diff for diff in diffs if diff.inner]
        outer = [diff for diff in diffs if not diff.inner]
        if outer:
            leading = self._led(leading, outer)
        within = None
        for child in self._whole.children(self._job, name):
            parent = self._whole.one(child)[0].submitted.parent
            path = joined_path(self._path, parent.path if parent else "")
            found = yield JobComparison(self._whole, child, path, leading)
            within = within or found
        if inner:
            leading = self._led(leading or within, inner)
        led = leading or within
        if led is not None and (within is not None or any(diff.changed for diff in diffs)):
            self._affected[name] = led
        return None

    def _led(self, leading: Told | None, diffs: list[StepDiff]) -> Told:
        """Count what differs with what led to it, or tell it."""
        if leading is not None:
            leading.follows += 1
            return leading
        name, _ = split_path(diffs[0].path)
        told = [self._tell(diff, self._because.of_step(name)) for diff in diffs]
        return told[0]

    def _leading(self, name: str, *, anything: bool) -> Told | None:
        """Return what led to a step being another one, if something it depends on did."""
        if not self._affected:
            return None
        found = next((e for e in self._steps.depends(name) if e in self._affected), None)
        if found is not None:
            return self._affected[found]
        return next(iter(self._affected.values())) if anything else None

    # --- the job itself --------------------------------------------------------------------------

    def _other_job(self) -> Told | None:
        """Tell if a sub-job would be another one, or get other parameters."""
        parent = self._old.submitted.parent
        if parent is None:
            return None
        values = self._whole.values(self._job, "params")
        diff = job_ends.other_job(self._old, self._new, values)
        if diff is None:
            return None
        name, _ = split_path(parent.path)
        return self._tell(diff, Because(*self._whole.one(parent.job)).of_step(name))

    def _deadline(self) -> Told | None:
        diff = job_ends.deadline(self._old, self._new)
        return None if diff is None else self._tell(diff, self._because.of_job("deadline"))

    def _commands(self) -> None:
        """Tell what people asked for and would be refused, unless a step tells of it."""
        if self._cause is not None or self._affected:
            return
        for path, reason in self._whole.refused(self._job).items():
            diff = StepDiff(path=path, kind="command-refused", sentence=reason)
            name, _ = split_path(path)
            self._tell(diff, self._because.of_step(name) if path else None)

    def _fails_otherwise(self) -> None:
        """Tell if the job would fail or succeed though no step of it ends otherwise."""
        old, new = self._old.job.state, self._new.job.state
        if self._cause is None and old != new and {old, new} <= JOB_ENDED:
            diff = job_ends.other_state(self._old.job, self._new.job)
            self._affected[""] = self._tell(diff, self._why(diff))

    def _why(self, diff: StepDiff) -> str | None:
        """Return what led to the job ending otherwise."""
        error = self._new.job.error
        if diff.kind == "job-state-differs" and error is not None and error.path is not None:
            name, _ = split_path(error.path.partition("/")[0])
            return self._because.of_step(name)
        return self._because.of_job("result")

    def _end(self) -> Told | None:
        """Tell if the job would end otherwise; return what led to that."""
        old, new = self._old.job, self._new.job
        first = self._cause or next(iter(self._affected.values()), None)
        if old.state not in JOB_ENDED:
            return first
        diff = job_ends.other_end(old, new, self._whole.values(self._job, "result"))
        if diff is None:
            return first if new.state not in JOB_ENDED else None
        if first is None:
            return self._tell(diff, self._why(diff))
        told_here = (first.finding.job, first.finding.path) == (self._job, self._path)
        is_root = self._old.submitted.parent is None
        if is_root and not told_here and new.state in JOB_ENDED and old.state != new.state:
            self._tell(diff, first.finding.because)
        return first
