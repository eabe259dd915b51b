"""Which part of a changed definition led to a difference, as far as that can be told."""

from __future__ import annotations

from collections import deque

from warrener.services.dry_run.differences import HARMLESS, changed_fields, changed_in_job, told
from warrener.services.dry_run.story import JobStory


class Because:
    """Looks for what changed in the definition of one job."""

    def __init__(self, old: JobStory, new: JobStory) -> None:
        """Take the job on both sides."""
        self._old = old
        self._new = new
        self._known: dict[str, str | None] = {}

    def of_step(self, name: str) -> str | None:
        """Return what changed about a step, or about the nearest that has to do with it.

        That is first one that it depends on, then one that depends on it, else the job itself.
        """
        for near in (self._above, self._below):
            seen, todo = {name}, deque([name])
            while todo:
                each = todo.popleft()
                found = self._own(each)
                if found is not None:
                    return found
                for other in near(each):
                    if other not in seen:
                        seen.add(other)
                        todo.append(other)
        return self.of_job() or self._of_sub_job(name)

    def _of_sub_job(self, name: str) -> str | None:
        step = self._new.plan.steps.get(name)
        sub_job = None if step is None else step.definition.job
        return None if sub_job is None else f"the definition of job {sub_job}"

    def of_job(self, first: str | None = None) -> str | None:
        """Return what changed about a job beside its steps; `first` is the field to look at."""
        found = dict(changed_in_job(self._old.plan.definition, self._new.plan.definition))
        name = first if first in found else next(iter(found), None)
        return None if name is None else told("", found[name])

    def _own(self, name: str) -> str | None:
        if name not in self._known:
            self._known[name] = self._changed(name)
        return self._known[name]

    def _changed(self, name: str) -> str | None:
        before = self._old.plan.definition.steps.get(name)
        after = self._new.plan.definition.steps.get(name)
        for field, found in changed_fields(before, after):
            if field not in HARMLESS:
                return told(f"steps.{name}.", found)
        if (before is None) != (after is None) and "." not in name:
            return f"steps.{name}: {'added' if before is None else 'removed'}"
        return None

    def _above(self, name: str) -> list[str]:
        step = self._new.plan.steps.get(name) or self._old.plan.steps.get(name)
        if step is None:
            return []
        undone = [] if step.undoes is None else [step.undoes]
        return [*(edge.dependency for edge in step.edges), *step.catches, *undone]

    def _below(self, name: str) -> list[str]:
        step = self._new.plan.steps.get(name) or self._old.plan.steps.get(name)
        return [] if step is None else [*step.readers, *step.handlers]
