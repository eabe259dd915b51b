"""What follows for a job's steps: edges, demand, joins. The heart of the dependency semantics.

`Advance` takes the end of one step after the other, assigns what follows to the job and collects
it as one `JobAdvanced` event, and has the effects on others carried out.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from warrener.domain.demand import Demand, depends_on
from warrener.domain.errors import ExpressionError, PayloadError
from warrener.domain.events import Error, FanOut, JobAdvanced
from warrener.domain.expressions import Expression, Template
from warrener.domain.job import (
    Job,
    assign_below,
    assign_child,
    assign_edge,
    assign_fan_out,
    assign_item,
    assign_ready,
    assign_settled,
)
from warrener.domain.joins import Seen, verdict
from warrener.domain.payloads import check_size, encode_json
from warrener.domain.plan import Edge, Plan, PlannedStep
from warrener.domain.states import STEP_FAILED

# reader's name, whether for the conditions of its edges -> what its expressions see
ScopeFor = Callable[[str, bool], Mapping[str, Any]]


class Effect(msgspec.Struct, frozen=True):
    """Something to carry out: `begin` a step, `cancel` a begun one, record the end of one."""

    kind: Literal["begin", "cancel", "succeed", "fail"]
    step: str
    value: bytes = b""  # as JSON: the result for `succeed`, the arguments for `begin`
    error: Error | None = None  # `fail`
    items: tuple[int, ...] = ()  # `cancel`: items in flight


def value_error(error: ExpressionError | PayloadError) -> Error:
    """Return the error of a step whose expression failed, or gave what is no payload."""
    code = error.code if isinstance(error, PayloadError) else "expression-error"
    return Error(code=code, message=str(error))


def render(template: Template, scope: Mapping[str, Any]) -> bytes:
    """Render a template to JSON of acceptable size."""
    data = encode_json(template.render(scope))
    check_size(len(data))
    return data


class Advance:
    """The decisions of one batch about the steps of one job."""

    def __init__(
        self,
        job: Job,
        plan: Plan,
        scope_for: ScopeFor,
        carry_out: Callable[[Effect], None],
        demanded: set[str],
    ) -> None:
        """Begin an advance; `demanded` remembers across batches what is known to be demanded.

        `carry_out` is called at once for each effect; it must not call the advance back.
        """
        self.job = job
        self.plan = plan
        self._scope_for = scope_for
        self._carry_out = carry_out
        self._demand = Demand(job, plan, demanded)
        self._to_consider: list[tuple[int, str]] = []
        self._queued: set[str] = set()
        self._to_decide: dict[str, None] = {}
        self._edges: dict[str, dict[str, bool]] = {}
        self._readied: dict[str, tuple[str, ...]] = {}
        self._fan_outs: dict[str, FanOut] = {}
        self._children: dict[str, Any] = {}
        self._begun: dict[str, int] = {}
        self._settled: dict[str, str] = {}
        self._items: dict[str, dict[str, list[int]]] = {}
        self._below: dict[str, int] = {}

    # --- what happened ---------------------------------------------------------------------------

    def start(self) -> None:
        """Consider every step for the first time, after taking over what was given."""
        for name, given in self.job.given.items():
            self._assign_end(name, given.state)
        self._to_decide.update(dict.fromkeys(self.plan.steps))
        self._enqueue(self.plan.steps)
        self._consider_all()

    def settle(self, name: str, state: str) -> None:
        """A begun step ended."""
        self._settle(name, state)
        self._consider_all()

    def cancel_all(self) -> None:
        """Cancel every step that has not ended."""
        for name in self.plan.steps:
            if not self.job.ended(name):
                self._cancel(name)
        self._to_consider.clear()
        self._queued.clear()
        self._to_decide.clear()

    def open_fan_out(self, name: str, shape: FanOut) -> None:
        """A fan-out step was opened."""
        assign_fan_out(self.job, name, shape)
        self._fan_outs[name] = shape

    def open_child(self, name: str, child: Any) -> None:
        """A sub-job step started its child."""
        assign_child(self.job, name, child)
        self._children[name] = child

    def begin_items(self, name: str, begun: int) -> None:
        """Items below this index have begun."""
        self.job.fan_outs[name].begun = begun
        self._begun[name] = begun

    def end_item(self, name: str, index: int, state: str) -> None:
        """An item ended."""
        assign_item(self.job, name, index, state)
        self._items.setdefault(name, {}).setdefault(state, []).append(index)

    def add_below(self, steps: dict[str, int]) -> None:
        """A child job ended."""
        assign_below(self.job, steps)
        for state, count in steps.items():
            self._below[state] = self._below.get(state, 0) + count

    def event(self, at: datetime, cause: str) -> JobAdvanced | None:
        """Return everything decided as one event, None if nothing was."""
        event = JobAdvanced(
            at=at,
            cause=cause,
            edges=self._edges,
            readied=self._readied,
            fan_outs=self._fan_outs,
            children=self._children,
            begun=self._begun,
            settled=self._settled,
            items={
                name: {state: tuple(indexes) for state, indexes in by_state.items()}
                for name, by_state in self._items.items()
            },
            below=self._below,
        )
        return None if event == JobAdvanced(at=at, cause=cause) else event

    # --- the fixpoint ----------------------------------------------------------------------------

    def _enqueue(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._queued and self.job.step(name) == "pending":
                self._queued.add(name)
                heapq.heappush(self._to_consider, (self.plan.steps[name].order, name))

    def _consider_all(self) -> None:
        """Let one step move after the other, the first in topological order of those that can.

        Every edge that can be decided is decided before the next step moves.
        """
        self._decide_all()
        while self._to_consider:
            _, name = heapq.heappop(self._to_consider)
            self._queued.discard(name)
            if self.job.step(name) == "pending":
                self._consider(self.plan.steps[name])
            self._decide_all()

    def _decide_all(self) -> None:
        while self._to_decide:
            name, _ = self._to_decide.popitem()
            if self.job.step(name) == "pending":
                self._decide_edges(self.plan.steps[name])

    def _consider(self, step: PlannedStep) -> None:
        broken = self._decide_edges(step)
        demanded = self._is_demanded(step.name)
        if demanded is None:
            return
        if not demanded:
            self._settle(step.name, "not_needed")
            return
        if broken is not None:
            self._fail(step.name, broken)
            return
        seen = self._seen(step)
        answer = verdict(step.definition.join, seen)
        if answer is None:
            return
        if answer == "run":
            self._run(step)
        else:
            self._settle(step.name, answer)
        if seen.waiting and step.definition.cancel_rest:
            self._cancel_rest(step)

    def _is_demanded(self, name: str) -> bool | None:
        demanded, found = self._demand.of(name)
        for newly in found:
            self._enqueue([newly, *depends_on(self.plan.steps[newly])])
        return demanded

    def _run(self, step: PlannedStep) -> None:
        blind = tuple(name for name in depends_on(step) if not self.job.ended(name))
        assign_ready(self.job, step.name, blind)
        try:
            scope = self._scope_for(step.name, False)
            if step.when is not None and not self._condition(step.when, scope):
                self._settle(step.name, "skipped")
                return
            value = (
                b""
                if step.fan_out
                else render(step.arguments if step.sets is None else step.sets, scope)
            )
        except (ExpressionError, PayloadError) as error:
            self._fail(step.name, error)
            return
        if step.sets is not None:
            self._carry_out(Effect("succeed", step.name, value))
            self._settle(step.name, "succeeded")
            return
        self._readied[step.name] = blind
        self._carry_out(Effect("begin", step.name, value))
        self._enqueue(depends_on(step))

    # --- ends ------------------------------------------------------------------------------------

    def _assign_end(self, name: str, state: str) -> None:
        assign_settled(self.job, name, state)
        self._settled[name] = state

    def _settle(self, name: str, state: str) -> None:
        self._assign_end(name, state)
        step = self.plan.steps[name]
        self._to_decide.update(dict.fromkeys(step.readers))
        self._enqueue(step.readers)
        self._enqueue(depends_on(step))
        stops = self.plan.definition.on_failure == "stop" and not step.definition.may_fail
        if state == "failed" and stops:
            self.cancel_all()

    def _fail(self, name: str, error: ExpressionError | PayloadError) -> None:
        self._carry_out(Effect("fail", name, error=value_error(error)))
        self._settle(name, "failed")

    def _cancel(self, name: str) -> None:
        if self.job.step(name) != "pending":
            items = self.job.fan_outs.get(name)
            in_flight = () if items is None else items.in_flight()
            self._carry_out(Effect("cancel", name, items=in_flight))
        self._demand.forget()
        self._settle(name, "cancelled")

    def _cancel_rest(self, step: PlannedStep) -> None:
        """Cancel what an early decision left behind, unless another step still requires it."""
        for edge in reversed(step.edges):
            name = edge.dependency
            if self.job.ended(name) or self._demand.required(step.name, edge) is False:
                continue
            others = (other for other in self.plan.steps[name].readers if other != step.name)
            if not any(self._still_requires(other, name) for other in others):
                self._cancel(name)

    def _still_requires(self, reader: str, dependency: str) -> bool:
        return (
            self.job.step(reader) == "pending"
            and self._demand.required_by(reader, dependency) is True
            and self._is_demanded(reader) is True
        )

    # --- edges and joins -------------------------------------------------------------------------

    def _decide_edges(self, step: PlannedStep) -> ExpressionError | None:
        """Decide what can be decided; return the error of a condition that cannot be evaluated."""
        broken = None
        undecided = [edge for edge in step.edges if self._demand.required(step.name, edge) is None]
        progress = True
        while progress:  # one decision may let another condition of the same step be evaluated
            progress = False
            for edge in [edge for edge in undecided if self._can_evaluate(step, edge)]:
                undecided.remove(edge)
                try:
                    self._decide_edge(step, edge)
                    progress = True
                except ExpressionError as error:
                    broken = broken or error
        return broken

    def _can_evaluate(self, step: PlannedStep, edge: Edge) -> bool:
        decided = self.job.edges.get(step.name, {})
        read = edge.when.steps if edge.when else ()
        return all(self.job.ended(name) or decided.get(name) is False for name in read)

    def _decide_edge(self, step: PlannedStep, edge: Edge) -> None:
        assert edge.when is not None
        required = self._condition(edge.when, self._scope_for(step.name, True))
        assign_edge(self.job, step.name, edge.dependency, required)
        self._edges.setdefault(step.name, {})[edge.dependency] = required
        self._enqueue([edge.dependency, step.name])

    def _condition(self, condition: Expression, scope: Mapping[str, Any]) -> bool:
        value = condition.evaluate(scope)
        if not isinstance(value, bool):
            raise ExpressionError(
                f"condition ${{{{ {condition.text} }}}} gave {type(value).__name__}, not a boolean"
            )
        return value

    def _seen(self, step: PlannedStep) -> Seen:
        """Look at the required dependencies of a step."""
        seen = Seen()
        for edge in step.edges:
            required = self._demand.required(step.name, edge)
            if required is False:
                continue
            seen.required = True
            if required is None or not self.job.ended(edge.dependency):
                seen.waiting = True
                continue
            outcome = self._outcome(edge.dependency)
            seen.ok = seen.ok or outcome == "ok"
            seen.failed = seen.failed or outcome == "failed"
        return seen

    def _outcome(self, name: str) -> str:
        state = self.job.step(name)
        if state == "succeeded":
            return "ok"
        if state in STEP_FAILED:
            return "ok" if self.plan.steps[name].definition.may_fail else "failed"
        return "skipped"
