"""Compares what was decided with what is decided anew, and names what leads to what.

A step whose outcome is another one, or unknown, is told once; what differs below it because of
that is counted with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain.definition.params import complete
from warrener.domain.ids import split_path
from warrener.domain.payloads import Payload
from warrener.domain.states import JOB_ENDED, STEP_ENDED
from warrener.services.active_job import read_payload
from warrener.services.dry_run.because import Because
from warrener.services.dry_run.differences import MISSING, first_difference
from warrener.services.dry_run.ends import StepDiff
from warrener.services.dry_run.play import Refused
from warrener.services.dry_run.shapes import Finding
from warrener.services.dry_run.steps import StepComparison
from warrener.services.dry_run.story import JobStory, Stories

TURNS, LATE = 3, 2  # of the steps of a job; undoing and cleaning up come late
_INDEX = re.compile(r"\[\d+\]")


class Told(msgspec.Struct):
    """A finding while more is found: what follows from it, and how many are alike."""

    finding: Finding
    follows: int = 0
    alike: int = 1


class Comparison:
    """All findings about a tree. Both sides are folded from events alone."""

    def __init__(self, old: Stories, new: Stories, refused: Iterable[Refused] = ()) -> None:
        """Take both sides, and what of the recorded commands would be refused now."""
        self._old = old
        self._new = new
        self._told: list[Told] = []
        self._alike: dict[tuple[str, str], Told] = {}
        self._refused: dict[UUID, dict[str, str]] = {}
        for each in refused:
            self._refused.setdefault(each.job, {}).setdefault(each.path, each.reason)
        self._children: dict[tuple[UUID, str], list[UUID]] = {}
        for job, story in old.jobs.items():
            parent = story.submitted.parent
            if parent is not None and job in new.jobs:
                name, _ = split_path(parent.path)
                self._children.setdefault((parent.job, name), []).append(job)

    def findings(self) -> list[Finding]:
        """Compare; return what was found, what comes first in the job first."""
        root = next(job for job, each in self._old.jobs.items() if each.submitted.parent is None)
        OneJob(self, root, "", None).compare()
        replace = msgspec.structs.replace
        return [replace(t.finding, follows=t.follows, alike=t.alike) for t in self._told]

    def tell(self, finding: Finding, alike: int = 1) -> Told:
        """Keep a finding; the same about other items is counted with the first."""
        generic = generic_path(finding.path)
        key = (finding.kind, generic)
        known = self._alike.get(key) if "[*]" in generic else None
        if known is not None:
            known.alike += alike
            return known
        told = self._alike[key] = Told(finding, alike=alike)
        self._told.append(told)
        return told

    def one(self, job: UUID) -> tuple[JobStory, JobStory]:
        """Return a job on both sides."""
        return self._old.jobs[job], self._new.jobs[job]

    def children(self, job: UUID, name: str) -> list[UUID]:
        """Return the jobs that a step, or its items, started on both sides."""
        return self._children.get((job, name), [])

    def refused(self, job: UUID) -> dict[str, str]:
        """Return why commands about a job would be refused, by path."""
        return self._refused.get(job, {})

    def steps(self, job: UUID) -> StepComparison:
        """Return the comparison of the steps of a job."""
        old, new = self.one(job)

        read = (partial(_read, self._old), partial(_read, self._new))
        return StepComparison(old, new, read, self.refused(job))

    def values(self, old: JobStory, new: JobStory, what: str) -> tuple[object, object]:
        """Return a value of a job on both sides: `params` or `result`."""
        one, other = getattr(old.job, what), getattr(new.job, what)
        if one == other:
            return None, None
        return _read(self._old, one), _read(self._new, other)


class OneJob:
    """Compares one job that both sides have, and those below it."""

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

    def compare(self) -> Told | None:
        """Return the first finding that changes how the job ends, if it ends otherwise."""
        self._cause = self._cause or self._child_differs() or self._deadline()
        diffs = {name: self._steps.compare(name) for name in self._steps.names()}
        turns: dict[int, list[str]] = {}
        for name, found in diffs.items():
            turns.setdefault(self._turn(name, found), []).append(name)
        for turn in range(TURNS):
            if turn == LATE and not self._affected:
                self._fails_otherwise()  # what undoes it follows from that
            for name in turns.get(turn, ()):
                self._step(name, diffs[name])
        self._commands()
        return self._end()

    def _turn(self, name: str, diffs: list[StepDiff]) -> int:
        """Return when a step has its turn: what anything may lead to comes after all that may."""
        step = self._new.plan.steps.get(name) or self._old.plan.steps[name]
        late = 0 if step.phase == "main" else LATE
        return late or int(any(diff.cancelled for diff in diffs))

    def _tell(self, diff: StepDiff, because: str | None) -> Told:
        parts = (self._path, diff.path)
        finding = Finding(
            job=self._job,
            path="/".join(part for part in parts if part),
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

    def _step(self, name: str, diffs: list[StepDiff]) -> None:
        leading = self._cause or self._leading(name, anything=self._turn(name, diffs) > 0)
        inner = [diff for diff in diffs if diff.inner]
        outer = [diff for diff in diffs if not diff.inner]
        changed = any(diff.changed for diff in diffs)
        if outer:
            leading = self._led(leading, outer)
        within = None
        for child in self._whole.children(self._job, name):
            parent = self._whole.one(child)[0].submitted.parent
            path = "/".join(p for p in (self._path, parent.path if parent else "") if p)
            found = OneJob(self._whole, child, path, leading).compare()
            within = within or found
        if inner:
            leading = self._led(leading or within, inner)
        if within is not None or (changed and leading is not None):
            found_now = leading or within
            if found_now is not None:
                self._affected[name] = found_now

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

    def _child_differs(self) -> Told | None:
        """Tell if a sub-job would be another one, or get other parameters."""
        old, new = self._old.submitted, self._new.submitted
        if old.parent is None:
            return None
        if old.name != new.name:
            sentence = f"it started job {old.name}; it would start {new.name}"
            diff = StepDiff(
                path="", kind="child-differs", sentence=sentence, old=old.name, new=new.name
            )
        else:
            found = first_difference(*self._params())
            if found is None:
                return None
            sentence = f"the parameters of job {old.name} would differ at {found.at}"
            diff = StepDiff(
                path="",
                kind="child-differs",
                sentence=sentence,
                old=found.old,
                new=found.new,
                at=found.at,
            )
        because = Because(*self._whole.one(old.parent.job))
        return self._tell(diff, because.of_step(split_path(old.parent.path)[0]))

    def _params(self) -> tuple[Any, Any]:
        """Return the parameters of a sub-job on both sides.

        Defaults of parameters that one side does not know are left out.
        """
        one, other = self._whole.values(self._old, self._new, "params")
        if not isinstance(one, dict) or not isinstance(other, dict):
            return one, other
        sides = (self._old, one, other), (self._new, other, one)
        known = [complete(side.plan.definition, {}) for side, _, _ in sides]
        return tuple(
            {k: v for k, v in mine.items() if k in theirs or defaults.get(k, MISSING) != v}
            for defaults, (_, mine, theirs) in zip(known, sides, strict=True)
        )  # type: ignore[return-value]

    def _deadline(self) -> Told | None:
        old, new = self._old.job, self._new.job
        if old.overdue == new.overdue:
            return None
        if new.overdue:
            sentence = f"the job would not be done by its deadline, {new.deadline}"
        else:
            sentence = "the job passed its deadline, and would have longer: what then is unknown"
        diff = StepDiff(
            path="",
            kind="deadline",
            sentence=sentence,
            old=old.deadline,
            new=new.deadline,
            unknown=not new.overdue,
        )
        return self._tell(diff, self._because.of_job("deadline"))

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
            diff = self._other_state()
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
        diff = self._ended()
        if diff is None:
            return first if new.state not in JOB_ENDED else None
        if first is None:
            return self._tell(diff, self._why(diff))
        told_here = first.finding.job == self._job and first.finding.path == self._path
        is_root = self._old.submitted.parent is None
        if is_root and not told_here and new.state in JOB_ENDED and old.state != new.state:
            self._tell(diff, first.finding.because)
        return first

    def _ended(self) -> StepDiff | None:
        old, new = self._old.job, self._new.job
        if old.state != new.state:
            return self._other_state()
        if old.state == "failed" and old.error != new.error:
            codes = [None if e is None else (e.code, e.path) for e in (old.error, new.error)]
            if codes[0] == codes[1]:
                return None
            said = "" if new.error is None else f": {new.error.code}: {new.error.message}"
            return StepDiff(
                path="",
                kind="job-state-differs",
                sentence=f"the job failed; it would fail otherwise{said}",
                old=None if old.error is None else old.error.code,
                new=None if new.error is None else new.error.code,
            )
        found = first_difference(*self._whole.values(self._old, self._new, "result"))
        if found is None:
            return None
        return StepDiff(
            path="",
            kind="job-result-differs",
            sentence=f"the result of the job would differ at {found.at}",
            old=found.old,
            new=found.new,
            at=found.at,
        )

    def _other_state(self) -> StepDiff:
        old, new = self._old.job, self._new.job
        error = new.error
        if error is not None and error.path is None and error.code == "expression-error":
            return StepDiff(
                path="",
                kind="result-does-not-fit",
                sentence=f"the job {old.state}; it would fail: {error.message}",
                old=old.state,
                new=error.code,
            )
        if new.state not in JOB_ENDED:
            sentence = f"the job {old.state}; it would not have ended"
        else:
            why = "" if error is None else f": {error.code}: {error.message}"
            sentence = f"the job {old.state}; it would have {new.state}{why}"
        return StepDiff(
            path="",
            kind="job-state-differs",
            sentence=sentence,
            old=old.state,
            new=new.state,
            unknown=new.state not in JOB_ENDED,
        )


def _read(side: Stories, payload: Payload | None) -> Any:
    return read_payload(payload, side.log)


def open_steps(stories: Stories) -> int:
    """Count the steps that had begun and not ended when a history did."""
    count = 0
    for story in stories.jobs.values():
        if story.job.state in JOB_ENDED:
            continue
        named = [*story.named.values()]
        items = [each for group in story.items.values() for each in group.values()]
        count += sum(each.step.state not in STEP_ENDED for each in [*named, *items])
    return count


def generic_path(path: str) -> str:
    """Return the path of a step for all items: `groups[*]/merge`."""
    return _INDEX.sub("[*]", path)
