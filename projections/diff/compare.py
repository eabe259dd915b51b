"""How two steps differ: before their work, and after it."""

from __future__ import annotations

from typing import Any

import msgspec

from warrener.domain.events import Error
from warrener.domain.payloads import NULL, Payload
from warrener.domain.plan import PlannedStep
from warrener.projections.diff.facts import JobFacts, Run, StepFacts, Tried
from warrener.projections.diff.model import Divergence, Kind
from warrener.projections.diff.values import ABSENT, Difference, first_difference

_UNDECIDED = frozenset({"pending", "not_needed", "upstream_failed", "cancelled"})


class Values:
    """Compares payloads of two runs. Blobs are loaded until the first that differs is found."""

    def __init__(self, a: Run, b: Run) -> None:
        self._a = a
        self._b = b
        self._loads = True

    def difference(self, a: Payload | None, b: Payload | None) -> Difference | None:
        """Return the first difference of two values; without loading it is that of their hashes."""
        left, right = a or NULL, b or NULL
        if left == right:
            return None
        blobs = left.blob is not None or right.blob is not None
        if blobs and not self._loads:
            return Difference("", _digest(left), _digest(right))
        first = first_difference(self._a.value(left), self._b.value(right))
        self._loads = self._loads and not (blobs and first is not None)
        return first


def _digest(payload: Payload) -> Any:
    if payload.json is not None:
        return msgspec.json.decode(payload.json)
    return {"digest": payload.blob, "size": payload.size}


def of_jobs(a: JobFacts, b: JobFacts, path: str, values: Values) -> Divergence | None:
    """Return how two jobs differ before their first step."""
    if a.job.definition != b.job.definition:
        parts = (msgspec.to_builtins(facts.plan.definition) for facts in (a, b))
        differs = found("definition", path, first_difference(*parts))
        if differs is not None:
            return differs
    params = found("params", path, values.difference(a.job.params, b.job.params))
    return params or found("part", path, first_difference(_part(a), _part(b)))


def _part(facts: JobFacts) -> Any:
    """Return which part of a job is run, and which steps are not for they are given."""
    selection = facts.job.selection
    part = None if selection is None else {"mode": selection.mode, "step": selection.step}
    given = {name: each.state for name, each in sorted(facts.job.given.items())}
    return {"selection": part, "given": given}


def of_ended_jobs(a: JobFacts, b: JobFacts, path: str, values: Values) -> Divergence | None:
    """Return how the ends of two jobs differ."""
    if a.job.state != b.job.state:
        return Divergence("state", path, "", _job_state(a), _job_state(b))
    error = first_difference(_named(a.job.error), _named(b.job.error))
    if error is not None:
        return found("error", path, error)
    return found("result", path, values.difference(a.job.result, b.job.result))


def _job_state(facts: JobFacts) -> str:
    reason = f" ({facts.job.reason})" if facts.job.reason else ""
    return f"{facts.job.state}{reason}"


def before(
    a: StepFacts, b: StepFacts, planned: PlannedStep, path: str, values: Values
) -> Divergence | None:
    """Return how two steps differ in what was decided about them and what they were given."""
    for dependency in a.edges:
        if dependency in b.edges and a.edges[dependency] != b.edges[dependency]:
            return Divergence("edge", path, dependency, a.edges[dependency], b.edges[dependency])
    if planned.when is not None and _decided_otherwise(a, b):
        return Divergence("when", path, "", a.state != "skipped", b.state != "skipped")
    if a.given != b.given:
        return Divergence("part", path, "", a.given, b.given)
    inputs = _of_inputs(a, b, path, values)
    unlike = inputs is not None or a.state != b.state or a.result != b.result
    if unlike and a.blind is not None and b.blind is not None and a.blind != b.blind:
        return Divergence("order", path, "", list(a.blind), list(b.blind))
    return inputs


def _decided_otherwise(a: StepFacts, b: StepFacts) -> bool:
    """Say whether one step was passed over before it began, and the other one was not."""
    passed_over = [each.state == "skipped" and not each.begun for each in (a, b)]
    open_too = any(each.state in _UNDECIDED for each in (a, b))
    return passed_over[0] != passed_over[1] and not open_too


def _of_inputs(a: StepFacts, b: StepFacts, path: str, values: Values) -> Divergence | None:
    if a.count is not None and b.count is not None and a.count != b.count:
        return Divergence("count", path, "", a.count, b.count)
    if a.items is not None and b.items is not None:
        return found("inputs", path, values.difference(a.items, b.items))
    if a.args is not None and b.args is not None:
        return found("inputs", path, values.difference(a.args, b.args))
    return None


def after(a: StepFacts, b: StepFacts, path: str, values: Values) -> Divergence | None:
    """Return how two steps differ in what became of them."""
    if a.state != b.state:
        return Divergence("state", path, "", _state(a), _state(b))
    error = first_difference(_named(a.error), _named(b.error))
    if error is not None:
        return found("error", path, error)
    tried = _of_tries(a, b, path)
    if tried is not None:
        return tried
    return found("result", path, values.difference(a.result, b.result))


def _of_tries(a: StepFacts, b: StepFacts, path: str) -> Divergence | None:
    for number in range(max(len(a.tries), len(b.tries))):
        left, right = (_tried(each.tries, number) for each in (a, b))
        if left != right:
            return Divergence("attempts", path, f"attempt {number + 1}", left, right)
    if a.attempts != b.attempts:
        return Divergence("attempts", path, "", a.attempts, b.attempts)
    return None


def _tried(tries: tuple[Tried, ...], number: int) -> Any:
    if number >= len(tries):
        return ABSENT
    tried = tries[number]
    return tried.outcome + (f": {tried.code}" if tried.code else "")


def _state(facts: StepFacts) -> str:
    return facts.state + (f": {facts.error.code}" if facts.error else "")


def _named(error: Error | None) -> Any:
    return None if error is None else {"code": error.code, "type": error.type}


def found(kind: Kind, path: str, difference: Difference | None) -> Divergence | None:
    """Return a difference of two values as one of a step."""
    if difference is None:
        return None
    return Divergence(kind, path, difference.path, difference.left, difference.right)
