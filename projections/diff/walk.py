"""Two runs side by side, step by step in the order of their graphs, and where they first differ.

A step is looked at before what is inside of it (items, child jobs), and again after that. So memory
follows the definitions and how deep jobs are nested, and not how many steps there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain.errors import UnknownJob
from warrener.domain.ids import joined_path
from warrener.domain.plan import Plan, PlannedStep
from warrener.projections.diff import compare
from warrener.projections.diff.compare import Values
from warrener.projections.diff.facts import JobFacts, Run, StepFacts, job_facts, step_facts
from warrener.projections.diff.model import CAUSE, EFFECT, Divergence, Kind, Row, rank
from warrener.projections.diff.values import first_difference

OnRow = Callable[[Row], None]


class Pair(msgspec.Struct, frozen=True):
    """Two jobs, and where they are below those that were asked about."""

    a: JobFacts
    b: JobFacts
    path: str
    levels: dict[str, int]  # steps of A -> how many are before them at most


class Candidate(msgspec.Struct, frozen=True):
    """A difference that may be the first one of a job; the one of the least place is.

    `place` is its rank, how many steps are before it at most, and where its step is in the log.
    """

    place: tuple[int, int, float]
    difference: Divergence

    def __lt__(self, other: Candidate) -> bool:
        """Say whether it comes first."""
        return self.place < other.place


class Walk:
    """Compares two runs."""

    def __init__(self, a: Run, b: Run, on_row: OnRow, *, tree: bool = True) -> None:
        """Take both sides; `on_row` gets every step, with `tree` those of child jobs, too."""
        self._a = a
        self._b = b
        self._on_row = on_row
        self._tree = tree
        self._values = Values(a, b)

    def jobs(self, a: UUID, b: UUID) -> Divergence | None:
        """Compare two jobs and all that is in them; return the first difference."""
        return self._of_pair(self.pair(a, b), follows=False)

    def _of_pair(self, pair: Pair, *, follows: bool) -> Divergence | None:
        path = pair.path
        begun = compare.of_jobs(pair.a, pair.b, path, self._values)
        others = begun is not None and begun.kind == "params"
        inside = self._of_steps(pair, follows=follows or others)
        ended = compare.of_ended_jobs(pair.a, pair.b, path, self._values)
        stopped = pair.a.job.cancelled != pair.b.job.cancelled
        stopped = stopped or pair.a.job.overdue != pair.b.job.overdue
        return begun or (ended if stopped else None) or inside or ended

    def pair(self, a: UUID, b: UUID) -> Pair:
        """Return two jobs; raises `UnknownJob`."""
        found = self._known(a, b, "")
        if found is None:
            raise UnknownJob(f"job {a} or job {b} is not in the store")
        return found

    def _known(self, a: UUID, b: UUID, path: str) -> Pair | None:
        left, right = job_facts(self._a, a), job_facts(self._b, b)
        if left is None or right is None:
            return None
        return Pair(left, right, path, _levels(left.plan))

    def steps(self, pair: Pair, a: str, b: str) -> Divergence | None:
        """Compare two steps by their paths in their jobs; return the first difference."""
        names = (ids.split_path(path)[0] for path in (a, b))
        plans = zip((pair.a.plan, pair.b.plan), names, strict=True)
        definitions = [msgspec.to_builtins(plan.steps[name].definition) for plan, name in plans]
        begun = compare.found("definition", a, first_difference(*definitions))
        return begun or self._step(_Step(pair, a, b))[0]

    # --- the steps of one job --------------------------------------------------------------------

    def _of_steps(self, pair: Pair, *, follows: bool) -> Divergence | None:
        found: dict[str, Divergence] = {}
        ranks: dict[str, int] = {}
        causes: list[str] = []
        for name in _names(pair):
            least_before = _least_before(pair, name, ranks)
            explained = least_before == CAUSE
            step = _Step(pair, name, name, follows or explained, least_before is not None)
            difference, worth = self._step(step)
            if difference is not None:
                found[name], ranks[name] = difference, worth
                if not explained or difference.kind == "order":
                    causes.append(name)
        candidates = [self._candidate(pair, name, found, ranks) for name in causes]
        least = min((each for each in candidates if each is not None), default=None)
        return next(iter(found.values()), None) if least is None else least.difference

    def _candidate(
        self, pair: Pair, name: str, found: dict[str, Divergence], ranks: dict[str, int]
    ) -> Candidate | None:
        """Return a difference that nothing else explains; it may be that a decision caused it."""
        decided = _undemanded(pair, ranks, name)
        if decided is None:
            return self._placed(pair, name, ranks[name], found[name])
        reader, dependency = decided
        others = [each for each in _before(pair.a.plan.steps[reader]) if each in found]
        if any(_undemanded(pair, ranks, each) is None for each in others):
            return None  # what the decision was made on differs already
        required = (each.job.edges[reader][dependency] for each in (pair.a, pair.b))
        difference = Divergence("edge", joined_path(pair.path, reader), dependency, *required)
        return self._placed(pair, reader, CAUSE, difference)

    def _placed(self, pair: Pair, name: str, worth: int, difference: Divergence) -> Candidate:
        begun = self._a.position(ids.step_id(pair.a.job.id, name), 1)
        position = float("inf") if begun is None else begun
        return Candidate((worth, pair.levels.get(name, 0), position), difference)

    # --- one step --------------------------------------------------------------------------------

    def _step(self, step: _Step) -> tuple[Divergence | None, int]:
        """Compare a step or item of two jobs; return the first difference, and its rank."""
        pair, path = step.pair, joined_path(step.pair.path, step.a)
        sides = _sides(pair, step)
        if sides is None:
            return self._only_in_one(pair, step, path)
        a = step_facts(self._a, pair.a, step.a)
        b = step_facts(self._b, pair.b, step.b)
        begun = compare.before(a, b, sides, path, self._values)
        inside = self._inside(step, a, b, follows=step.follows or begun is not None)
        ended = compare.after(a, b, path, self._values)
        own = begun or ended
        worth = CAUSE if inside is not None else rank(own, a, b, weak=step.weak)
        follows = step.follows or worth == EFFECT or (begun is None and inside is not None)
        self._on_row(Row(path, a, b, None if own is None else own.kind, follows))
        return begun or inside or ended, worth

    def _only_in_one(self, pair: Pair, step: _Step, path: str) -> tuple[Divergence | None, int]:
        in_a = ids.split_path(step.a)[0] in pair.a.plan.steps
        run, facts = (self._a, pair.a) if in_a else (self._b, pair.b)
        own = step_facts(run, facts, step.a)
        a, b = (own, None) if in_a else (None, own)
        kind: Kind = "only-in-a" if in_a else "only-in-b"
        self._on_row(Row(path, a, b, kind, step.follows))
        return Divergence(kind, path), CAUSE

    def _inside(
        self, step: _Step, a: StepFacts, b: StepFacts, *, follows: bool
    ) -> Divergence | None:
        """Compare the items of a fan-out, or the child jobs."""
        if a.count is not None or b.count is not None:
            return self._of_items(step, a.count or 0, b.count or 0, follows=follows)
        if self._tree and a.child is not None and b.child is not None:
            children = self._known(a.child, b.child, joined_path(step.pair.path, step.a))
            if children is not None:  # one that was cancelled at once is in no log
                return self._of_pair(children, follows=follows)
        return None

    def _of_items(
        self, step: _Step, count_a: int, count_b: int, *, follows: bool
    ) -> Divergence | None:
        """Compare items by index. What was cancelled comes after all else: it is no cause."""
        first: tuple[int, Divergence] | None = None
        for index in range(min(count_a, count_b)):
            item = _Step(
                step.pair, ids.item_path(step.a, index), ids.item_path(step.b, index), follows
            )
            difference, worth = self._step(item)
            if difference is not None and (first is None or worth < first[0]):
                first = worth, difference
        return None if first is None else first[1]


class _Step(msgspec.Struct, frozen=True):
    """A step or an item by its paths in both jobs.

    `follows` says that a cause is before it already, `weak` that something before it differs.
    """

    pair: Pair
    a: str
    b: str
    follows: bool = False
    weak: bool = False


def _sides(pair: Pair, step: _Step) -> PlannedStep | None:
    """Return the plan of a step that is in both jobs."""
    a, b = (ids.split_path(path)[0] for path in (step.a, step.b))
    return pair.a.plan.steps[a] if a in pair.a.plan.steps and b in pair.b.plan.steps else None


def _names(pair: Pair) -> Iterator[str]:
    """Yield the steps of both plans: those of A in their order, then what only B has."""
    yield from pair.a.plan.steps
    yield from (name for name in pair.b.plan.steps if name not in pair.a.plan.steps)


def _before(planned: PlannedStep) -> Iterator[str]:
    """Yield what a step comes after: what it depends on, or whose failures it answers for."""
    yield from (edge.dependency for edge in planned.edges)
    yield from planned.catches
    if planned.undoes is not None:
        yield planned.undoes


def _undemanded(pair: Pair, ranks: dict[str, int], name: str) -> tuple[str, str] | None:
    """Return the conditional edge for which only one run needed a step, if it is for that.

    It leads to the step itself, or to one before which it was needed, from its reader.
    """
    steps, waiting, seen = pair.a.plan.steps, [name], {name}
    if ranks[name] == CAUSE or name not in steps:
        return None
    while waiting:
        step = waiting.pop()
        for reader in steps[step].readers:
            left, right = (each.job.edges.get(reader, {}) for each in (pair.a, pair.b))
            if step in left and step in right and left[step] != right[step]:
                return reader, step
            if reader in ranks and reader not in seen:
                seen.add(reader)
                waiting.append(reader)
    return None


def _least_before(pair: Pair, name: str, ranks: dict[str, int]) -> int | None:
    """Return the least rank of what differs before a step, None if nothing does."""
    planned = pair.a.plan.steps.get(name) or pair.b.plan.steps[name]
    # What is not of the main part is begun by the end of that.
    before = _before(planned) if planned.phase == "main" else ranks
    return min((ranks[each] for each in before if each in ranks), default=None)


def _levels(plan: Plan) -> dict[str, int]:
    levels: dict[str, int] = {}
    for name, planned in plan.steps.items():
        before = (levels.get(each, -1) + 1 for each in _before(planned))
        levels[name] = max(before, default=0)
    return levels
