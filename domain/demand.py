"""Which steps of a job are demanded: wanted for themselves, or by a demanded step's edge."""

from __future__ import annotations

from warrener.domain.job_state import Job
from warrener.domain.plan import Edge, Plan, PlannedStep

DEMANDS_NOTHING = frozenset({"not_needed", "cancelled"})


class Demand:
    """Answers questions of demand about a job as it is now.

    `known` remembers steps found to be demanded. Only a cancellation can take that back: `forget`.
    """

    def __init__(self, job: Job, plan: Plan, known: set[str]) -> None:
        """Look at this job."""
        self._job = job
        self._plan = plan
        self._known = known

    def required(self, reader: str, edge: Edge) -> bool | None:
        """Return whether an edge is required; None while that is undecided."""
        if edge.when is None:
            return True
        return self._job.edges.get(reader, {}).get(edge.dependency)

    def required_by(self, reader: str, dependency: str) -> bool | None:
        """Return whether `reader` requires `dependency`; None while that is undecided."""
        edges = self._plan.steps[reader].edges
        return self.required(reader, next(e for e in edges if e.dependency == dependency))

    def forget(self) -> None:
        """A step was cancelled: what it alone demanded is demanded no longer."""
        self._known.clear()

    def of(self, name: str) -> tuple[bool | None, list[str]]:
        """Return whether a step is demanded (None: undecided), and the steps newly known to be."""
        if name in self._known:
            return True, []
        verdicts: dict[str, bool | None] = {}
        found = []
        for candidate in self._above(name):
            verdicts[candidate] = self._verdict(candidate, verdicts)
            if verdicts[candidate] and candidate not in self._known:
                self._known.add(candidate)
                found.append(candidate)
        return verdicts[name], found

    def _above(self, name: str) -> list[str]:
        """Return the step and the steps whose demand could reach it, readers first."""
        found = {name}
        waiting = [name]
        while waiting:
            step = waiting.pop()
            readers = () if step in self._known else self._plan.steps[step].readers
            for reader in readers:
                if reader not in found and self._job.step(reader) not in DEMANDS_NOTHING:
                    found.add(reader)
                    waiting.append(reader)
        return sorted(found, key=lambda step: self._plan.steps[step].order, reverse=True)

    def _verdict(self, name: str, verdicts: dict[str, bool | None]) -> bool | None:
        if name in self._known:
            return True
        if self._plan.steps[name].catches:
            return self._called(name)
        if self._wanted(name):
            return True
        readers = self._plan.steps[name].readers
        answers = {self._over(reader, name, verdicts) for reader in readers}
        return True if True in answers else None if None in answers else False

    def _called(self, name: str) -> bool | None:
        """Return whether a step is called to answer for a failure of another."""
        job = self._job
        caught = self._plan.steps[name].catches
        if any(job.caught.get(step) == name for step in caught):
            return True
        return False if all(job.ended(step) for step in caught) else None

    def _over(self, reader: str, name: str, verdicts: dict[str, bool | None]) -> bool | None:
        """Return whether one reader demands the step."""
        demanded = verdicts.get(reader, False)
        required = self.required_by(reader, name)
        if demanded is False or required is False or reader in self._job.given:
            return False
        if required is None and self._job.step(reader) != "pending":
            return False  # its join is decided, which closed the edge
        return True if demanded and required else None

    def _wanted(self, name: str) -> bool:
        selection = self._job.selection
        if selection is None:
            return self._plan.steps[name].wanted
        if selection.mode == "downstream":
            return name in downstream(self._plan, selection.step)
        return name == selection.step


def downstream(plan: Plan, name: str) -> frozenset[str]:
    """Return a step and everything that depends on it, directly or not."""
    found = {name}
    for step in plan.steps.values():  # in topological order
        above = [edge.dependency for edge in step.edges]
        answered = [handler for each in above for handler in plan.steps[each].handlers]
        if not found.isdisjoint((*above, *answered, *step.catches)):
            found.add(step.name)
    return frozenset(found)


def depends_on(step: PlannedStep) -> list[str]:
    """Return the names of a step's dependencies."""
    return [edge.dependency for edge in step.edges]
