"""Which step waits for which: by the definition, or as far as histories tell it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from warrener.domain.definition.model import JobDefinition, Limit
from warrener.domain.errors import DefinitionError, UsageError
from warrener.domain.events import DefinitionStored
from warrener.domain.messages import DEFAULT_QUEUE
from warrener.domain.plan import Plan, build_plan
from warrener.services.simulate.runs import JobRun


class PlannedName(msgspec.Struct, frozen=True):
    """A step of a definition. `last`: it goes when all others have ended. `draws`: it is run."""

    name: str
    after: tuple[str, ...]
    queue: str = DEFAULT_QUEUE
    last: bool = False
    draws: bool = False
    fans_out: bool = False
    window: int | None = None
    limits: tuple[Limit, ...] = ()
    remaining: int | None = None


class Graphs:
    """The graphs of all jobs, by the hash of their definition."""

    def __init__(self) -> None:
        """Begin with none."""
        self._texts: dict[str, str] = {}
        self._graphs: dict[str, Sequence[PlannedName]] = {}

    def define(self, event: DefinitionStored) -> None:
        """Take a definition."""
        self._texts[event.hash] = event.json

    def is_known(self, definition: str) -> bool:
        """Say whether there is a definition of this hash."""
        return definition in self._texts

    def infer(self, jobs: Iterable[JobRun]) -> None:
        """Find out how the steps of those jobs follow each other whose definition is not there."""
        unknown: dict[str, list[JobRun]] = {}
        for job in jobs:
            if not self.is_known(job.fact.definition):
                unknown.setdefault(job.fact.definition, []).append(job)
        for definition, runs in unknown.items():
            self._graphs[definition] = _inferred(runs)

    def of(self, job: JobRun) -> Sequence[PlannedName]:
        """Return the steps that a job may have, each after those that it waits for."""
        definition = job.fact.definition
        found = self._graphs.get(definition)
        if found is None:
            found = self._graphs[definition] = _planned(_plan(self._texts[definition]))
        return found


def _plan(text: str) -> Plan:
    try:
        return build_plan(msgspec.json.decode(text, type=JobDefinition))
    except (msgspec.MsgspecError, DefinitionError, ValueError) as error:
        raise UsageError(f"a definition in the store cannot be read: {error}") from error


def _planned(plan: Plan) -> Sequence[PlannedName]:
    found = []
    for name, step in plan.steps.items():
        edges = tuple(edge.dependency for edge in step.edges)
        found.append(
            PlannedName(
                name=name,
                after=(*edges, *step.catches),
                queue=step.queue,
                last=step.phase != "main",
                draws=step.kind == "call" and step.phase == "main" and not step.catches,
                fans_out=step.fan_out,
                window=step.definition.window,
                limits=step.definition.limits,
                remaining=plan.remaining[name],
            )
        )
    return found


def _inferred(jobs: Sequence[JobRun]) -> Sequence[PlannedName]:
    """Return a graph by what always had ended before a step, and what its readiness followed.

    A step waits for those that ended with the decision that readied it, in any of the jobs, as far
    as they had ended by then in all of them.
    """
    followed: dict[str, set[str]] = {}
    before: dict[str, set[str]] = {}
    for job in jobs:
        for name, found in job.followed.items():
            followed.setdefault(name, set()).update(found)
            ended = job.before[name]
            before[name] = before[name] & ended if name in before else set(ended)
    edges = {name: followed[name] & before[name] for name in followed}
    order = _ordered(edges, [name for job in jobs for name in job.settled])
    places = {name: place for place, name in enumerate(order)}
    return [
        PlannedName(
            name, tuple(each for each in order[: places[name]] if each in edges.get(name, ()))
        )
        for name in order
    ]


def _ordered(edges: Mapping[str, set[str]], names: Iterable[str]) -> list[str]:
    """Return all names, each after those that it waits for; a hostile circle is cut."""
    order: dict[str, None] = {}
    for name in dict.fromkeys((*edges, *names)):
        stack, open_names = [name], {name}
        while stack:
            top = stack[-1]
            waits = next(
                (e for e in sorted(edges.get(top, ())) if e not in order and e not in open_names),
                None,
            )
            if waits is None:
                order[stack.pop()] = None
            else:
                stack.append(waits)
                open_names.add(waits)
    return list(order)
