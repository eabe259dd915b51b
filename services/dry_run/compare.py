"""Compares what was decided with what is decided anew: all findings about a tree of jobs."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain.ids import split_path
from warrener.domain.payloads import Payload
from warrener.domain.states import JOB_ENDED, STEP_ENDED
from warrener.services.active_job import read_payload
from warrener.services.dry_run.compare_job import JobComparison, Told
from warrener.services.dry_run.play import Refused
from warrener.services.dry_run.shapes import Finding
from warrener.services.dry_run.steps import StepComparison
from warrener.services.dry_run.story import JobStory, Stories

_INDEX = re.compile(r"\[\d+\]")


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
        _run(JobComparison(self, root, "", None))
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

    def values(self, job: UUID, what: str) -> tuple[Any, Any]:
        """Return a value of a job on both sides: `params` or `result`."""
        old, new = self.one(job)
        one, other = getattr(old.job, what), getattr(new.job, what)
        if one == other:
            return None, None
        return _read(self._old, one), _read(self._new, other)


def _run(top: JobComparison) -> None:
    """Compare a job and those below it, however deep, without recursion."""
    stack: list[Generator[JobComparison, Told | None, Told | None]] = [top.compare()]
    answer: Told | None = None
    while stack:
        try:
            below = stack[-1].send(answer)
        except StopIteration as done:
            stack.pop()
            answer = done.value
        else:
            stack.append(below.compare())
            answer = None


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
