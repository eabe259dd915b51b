"""Finds jobs and steps by what users type, and tells where they are in their tree."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import StoredDataError, UnknownJob
from warrener.domain.ids import compensation, split_path, step_id
from warrener.domain.plan import Plan, build_plan
from warrener.projections.ports import JobFilter, ViewStore
from warrener.projections.views import DEFINITIONS, JOBS, STEPS, JobView, StepView

PREFIX_MIN = 4
KEPT_JOBS_MAX = 4_096
KEPT_DEFINITIONS_MAX = 64
NAMED_IN_ERRORS = 3

HEX = re.compile(r"[0-9a-f]{1,32}")
_SEGMENT = re.compile(r"[^/\[\]]+(\[\d+\])?")


class Place(msgspec.Struct, frozen=True):
    """A job, or with `path` one of its own steps."""

    job: UUID
    path: str | None = None

    @property
    def id(self) -> UUID:
        """Return the id of the step, or that of the job."""
        return self.job if self.path is None else step_id(self.job, self.path)


class Places:
    """Looks jobs up in the read models; what never changes of them is remembered, bounded."""

    def __init__(self, views: ViewStore) -> None:
        self._views = views
        self._definitions: OrderedDict[str, JobDefinition] = OrderedDict()
        self._plans: OrderedDict[str, Plan] = OrderedDict()
        self._kept: OrderedDict[UUID, JobView] = OrderedDict()

    def job(self, job: UUID) -> JobView:
        """Return a job as it is now; raises `UnknownJob`."""
        found: JobView | None = self._views.load({JOBS: [job]})[JOBS].get(job)
        if found is None:
            raise self._unknown(job.hex, str(job))
        return found

    def definition(self, content_hash: str) -> JobDefinition:
        """Return a stored definition."""
        if content_hash not in self._definitions:
            found = self._views.load({DEFINITIONS: [content_hash]})[DEFINITIONS].get(content_hash)
            if found is None:
                raise StoredDataError(f"no definition with the hash {content_hash} is stored")
            self._definitions[content_hash] = msgspec.json.decode(found.json, type=JobDefinition)
            _bound(self._definitions, KEPT_DEFINITIONS_MAX)
        return self._definitions[content_hash]

    def plan(self, content_hash: str) -> Plan:
        """Return a stored definition with its edges worked out."""
        if content_hash not in self._plans:
            self._plans[content_hash] = build_plan(self.definition(content_hash))
            _bound(self._plans, KEPT_DEFINITIONS_MAX)
        return self._plans[content_hash]

    def step(self, job: UUID, path: str) -> StepView | None:
        """Return the document of a step; None if it has none yet in the present generation."""
        key, above = (job, path), (job, split_path(path)[0])
        steps: Mapping[Any, StepView] = self._views.load({STEPS: {key, above}})[STEPS]
        found, fan_out = steps.get(key), steps.get(above)
        if found is None or fan_out is None or key == above:
            return found
        return None if found.born < fan_out.born else found

    def superseded(self, jobs: Sequence[JobView]) -> set[UUID]:
        """Return those jobs that are of an older generation of the step that started them."""
        starters = {view.job: view.above[-1] for view in jobs if view.above}
        steps = self._views.load({STEPS: set(starters.values())})[STEPS]
        born = {view.job: view.born for view in jobs}
        return {
            job
            for job, place in starters.items()
            if place in steps and born[job] < steps[place].born
        }

    def is_current(self, step: StepView, top: UUID) -> bool:
        """Say whether a step is of the present generation, as is all that leads down to it."""
        if self.step(step.job, step.path) is None:
            return False
        line = self._fixed(step.job).ancestors
        below = line[line.index(top) + 1 :] if top in line else ()
        jobs = [] if step.job == top else [self._fixed(each) for each in (*below, step.job)]
        return not self.superseded(jobs)

    def paused(self, job: JobView) -> JobView | None:
        """Return the paused job that holds a job back: itself, or the nearest above it."""
        if job.state == "paused":
            return job
        found: Mapping[UUID, JobView] = self._views.load({JOBS: job.ancestors})[JOBS]
        above = [found[each] for each in reversed(job.ancestors) if each in found]
        return next((view for view in above if view.state == "paused"), None)

    def path(self, job: UUID, top: UUID) -> str:
        """Return where a job is below another one, such as `groups[3]/sub`; "" for itself."""
        parts: list[str] = []
        while job != top:
            parent = self._fixed(job).parent
            if parent is None:
                raise UnknownJob(f"job {job} is not below job {top}")
            parts.append(parent.path)
            job = parent.job
        return "/".join(reversed(parts))

    def is_below(self, job: UUID, top: UUID) -> bool:
        """Tell whether a job is another one or below it."""
        return job == top or top in self._fixed(job).ancestors

    def resolve_job(self, text: str) -> UUID:
        """Return the job with this id, or whose id alone starts with these digits."""
        digits = text.strip().lower().replace("-", "")
        if not HEX.fullmatch(digits):
            raise UnknownJob(f"{text!r} is not the id of a job: ids are hexadecimal digits")
        if len(digits) < PREFIX_MIN:
            raise UnknownJob(f"{text!r} is too short: give at least {PREFIX_MIN} digits of the id")
        found = self._starting_with(digits)
        if not found:
            raise self._unknown(digits, text)
        if len(found) > 1:
            raise UnknownJob(f"{text!r} is the start of several jobs: {_listed(found)}")
        return found[0]

    def locate(self, text: str) -> Place:
        """Return the place that `JOB`, `JOB/STEP` or `JOB/groups[3]/merge` names."""
        head, slash, rest = text.partition("/")
        job = self.resolve_job(head)
        if not slash:
            return Place(job)
        *above, last = rest.split("/")
        for segment in above:
            step = self._checked(job, segment)
            child = step.child if step else None
            if child is None:
                raise UnknownJob(f"step {segment!r} of job {job} has started no job")
            job = child
        self._checked(job, last)
        return Place(job, last)

    def _checked(self, job: UUID, path: str) -> StepView | None:
        """Return the document of a step, None if it has none; raises if there is no such step."""
        names = step_names(self.definition(self.job(job).definition))
        if not _SEGMENT.fullmatch(path):
            raise UnknownJob(f"{path!r} is not the path of a step, such as merge or groups[3]")
        name, index = split_path(path)
        if name not in names:
            raise UnknownJob(f"job {job} has no step {name!r}: {_hint(name, names)}")
        if index is None:
            return self.step(job, path)
        fan_out = self.step(job, name)
        count = (fan_out.count if fan_out else None) or 0
        if index >= count:
            raise UnknownJob(f"step {name!r} of job {job} has no item {index}: it has {count}")
        return self.step(job, path)

    def _fixed(self, job: UUID) -> JobView:
        """Return a job for its place in the tree only, which never changes."""
        if job not in self._kept:
            self._kept[job] = self.job(job)
            _bound(self._kept, KEPT_JOBS_MAX)
        return self._kept[job]

    def _starting_with(self, digits: str) -> list[UUID]:
        low, high = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
        return list(self._views.jobs_between(low, high, NAMED_IN_ERRORS))

    def _unknown(self, digits: str, text: str) -> UnknownJob:
        for length in range(len(digits) - 1, 1, -1):
            near = self._starting_with(digits[:length])
            if near:
                return UnknownJob(f"no job has the id {text}: did you mean {_listed(near)}?")
        newest = self._views.find_jobs(JobFilter(limit=NAMED_IN_ERRORS))
        if not newest:
            return UnknownJob(f"no job has the id {text}: there are no jobs in this store")
        known = _listed([view.job for view in newest])
        return UnknownJob(f"no job has the id {text}: the newest are {known}")


def step_names(definition: JobDefinition) -> list[str]:
    """Return the steps that a definition names, and those that undo them."""
    steps = definition.steps
    undoing = [compensation(name) for name, step in steps.items() if step.compensate is not None]
    return [*steps, *undoing]


def _bound(kept: OrderedDict[Any, Any], size_max: int) -> None:
    while len(kept) > size_max:
        kept.popitem(last=False)


def _listed(jobs: Iterable[UUID]) -> str:
    return ", ".join(str(job) for job in jobs)


def _hint(name: str, names: Iterable[str]) -> str:
    known = list(names)
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
