"""Which steps of a job are demanded: wanted for themselves, or by a demanded step's edge."""

from __future__ import annotations

from collections.abc import Iterator

from warrener.domain.plan import Edge, Plan, PlannedStep

from warrener.domain.job import Job

DEMANDS_NOTHING = frozenset({"not_needed", "cancelled"})


class Demand:
    """Answers questions of demand about a job as it is now.

    `known` remembers steps found to be demanded: that never changes back.
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

    def of(self, name: str) -> tuple[bool | None, list[str]]:
        """Return whether a step is demanded (None: undecided), and the steps newly known to be."""
        if name in self._known:
            return True, []
        verdicts: dict[str, bool | None] = {}
        found = []
        for candidate in self._pending_above(name):
            verdicts[candidate] = self._verdict(candidate, verdicts)
            if verdicts[candidate] and candidate not in self._known:
                self._known.add(candidate)
                found.append(candidate)
        return verdicts[name], found

    def _pending_above(self, name: str) -> list[str]:
        """Return the step and the pending steps whose demand could reach it, readers first."""
        found = {name}
        waiting = [name]
        while waiting:
            for reader in self._plan.steps[waiting.pop()].readers:
                if reader not in found and self._job.step(reader) == "pending":
                    found.add(reader)
                    waiting.append(reader)
        return sorted(found, key=lambda step: self._plan.steps[step].order, reverse=True)

    def _verdict(self, name: str, verdicts: dict[str, bool | None]) -> bool | None:
        if name in self._known or self._wanted(name):
            return True
        answers = set(self._answers(name, verdicts))
        return True if True in answers else None if None in answers else False

    def _answers(self, name: str, verdicts: dict[str, bool | None]) -> Iterator[bool | None]:
        for reader in self._plan.steps[name].readers:
            yield self._over(reader, name, verdicts)

    def _over(self, reader: str, name: str, verdicts: dict[str, bool | None]) -> bool | None:
        """Return whether one reader demands the step."""
        state = self._job.step(reader)
        if state in DEMANDS_NOTHING or reader in self._job.given:
            return False
        required = self.required_by(reader, name)
        if required is False:
            return False
        if state != "pending":
            return bool(required)  # its join is decided: an undecided edge is closed
        demanded = verdicts.get(reader)
        if demanded is False:
            return False
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
        if any(edge.dependency in found for edge in step.edges):
            found.add(step.name)
    return frozenset(found)


def depends_on(step: PlannedStep) -> list[str]:
    """Return the names of a step's dependencies."""
    return [edge.dependency for edge in step.edges]
