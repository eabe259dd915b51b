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

from warrener.domain.decided import Decided
from warrener.domain.definition.model import Join
from warrener.domain.demand import Demand, depends_on
from warrener.domain.errors import ExpressionError, PayloadError
from warrener.domain.events import Error, JobAdvanced
from warrener.domain.expressions import Expression, Template
from warrener.domain.job_state import Job, assign_ready
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
        self.decided = Decided(job)

    # --- what happened ---------------------------------------------------------------------------

    def start(self) -> None:
        """Consider every step for the first time, after taking over what was given."""
        for name, given in self.job.given.items():
            self._assign_end(name, given.state, given.error)
        self.consider(self.plan.steps)

    def consider(self, names: Iterable[str]) -> None:
        """Look at steps that may not have been considered yet."""
        known = list(names)
        self._to_decide.update(dict.fromkeys(known))
        self._enqueue(known)
        self._consider_all()

    def settle(self, name: str, state: str, error: Error | None = None) -> None:
        """A begun step ended; `error` is that of one that failed."""
        self._settle(name, state, error)
        self._consider_all()

    def cancel_all(self) -> None:
        """Cancel every step of the main part of the job that has not ended."""
        for name, step in self.plan.steps.items():
            if step.phase == "main" and not self.job.ended(name):
                self._cancel(name)
        self._to_consider.clear()
        self._queued.clear()
        self._to_decide.clear()

    def undo(self, name: str) -> None:
        """Begin the compensation of this name."""
        assign_ready(self.job, name, ())
        self._begin(name, (), b"")

    def leave_out(self, name: str) -> None:
        """A step that was never considered is not needed."""
        self._assign_end(name, "not_needed")

    def close(self) -> None:
        """Everything but the clean-up has ended: begin with that."""
        self.decided.closing()
        self.consider(name for name, step in self.plan.steps.items() if step.phase == "always")

    def event(self, at: datetime, cause: str) -> JobAdvanced | None:
        """Return everything decided as one event, None if nothing was."""
        return self.decided.event(at, cause)

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
        if step.phase != "main" and not (step.phase == "always" and self.job.closing):
            return  # its time has not come
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
        join = step.definition.join if step.phase == "main" else Join.ALL_DONE
        answer = verdict(join, seen)
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
        blind = tuple(name for name in depends_on(step) if not self.job.resolved(name))
        assign_ready(self.job, step.name, blind)
        try:
            scope = self._scope_for(step.name, False)
            if step.when is not None and not self._condition(step.when, scope):
                self._settle(step.name, "skipped")
                return
            value = b"" if step.fan_out else render(_values(step), scope)
        except (ExpressionError, PayloadError) as error:
            self._fail(step.name, error)
            return
        if step.sets is not None:
            self._carry_out(Effect("succeed", step.name, value))
            self._settle(step.name, "succeeded")
            return
        self._begin(step.name, blind, value)
        self._enqueue(depends_on(step))

    def _begin(self, name: str, blind: tuple[str, ...], value: bytes) -> None:
        self.decided.ready(name, blind)
        self._carry_out(Effect("begin", name, value))

    # --- ends ------------------------------------------------------------------------------------

    def _assign_end(self, name: str, state: str, error: Error | None = None) -> None:
        self.decided.settled(name, state)
        if error is not None and state == "failed":
            handler = self.plan.steps[name].handler(error)
            if handler is not None:
                self.decided.caught(name, handler)

    def _settle(self, name: str, state: str, error: Error | None = None) -> None:
        self._assign_end(name, state, error)
        step = self.plan.steps[name]
        for affected in self._answered_by(name):
            readers = self.plan.steps[affected].readers
            self._to_decide.update(dict.fromkeys(readers))
            self._enqueue(readers)
        self._enqueue(step.handlers)
        self._enqueue(depends_on(step))
        allowed = step.definition.may_fail or name in self.job.caught or step.phase != "main"
        if state == "failed" and self.plan.definition.on_failure == "stop" and not allowed:
            self.cancel_all()

    def _answered_by(self, name: str) -> list[str]:
        """Return the step, and the steps for whose failures it answers, directly or not."""
        found = [name]
        for each in found:
            caught = self.plan.steps[each].catches
            found += [step for step in caught if self.job.caught.get(step) == each]
        return found

    def _fail(self, name: str, problem: ExpressionError | PayloadError) -> None:
        error = value_error(problem)
        self._carry_out(Effect("fail", name, error=error))
        self._settle(name, "failed", error)

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
            readers = self.plan.steps[name].readers
            others = (other for other in readers if other != step.name)
            if not any(self._still_requires(other, name) for other in others):
                self._cancel(name)

    def _still_requires(self, reader: str, dependency: str) -> bool:
        return (
            self.job.step(reader) == "pending"
            and self.plan.steps[reader].phase == "main"
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
        return all(self.job.resolved(name) or decided.get(name) is False for name in read)

    def _decide_edge(self, step: PlannedStep, edge: Edge) -> None:
        assert edge.when is not None
        required = self._condition(edge.when, self._scope_for(step.name, True))
        self.decided.edge(step.name, edge.dependency, required)
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
            if required is None or not self.job.resolved(edge.dependency):
                seen.waiting = True
                continue
            outcome = self._outcome(edge.dependency)
            seen.ok = seen.ok or outcome == "ok"
            seen.failed = seen.failed or outcome == "failed"
        return seen

    def _outcome(self, name: str) -> str:
        answering = self.job.stand_in(name)
        state = self.job.step(answering)
        if state == "succeeded":
            return "ok"
        if state in STEP_FAILED:
            return "ok" if self.plan.steps[answering].definition.may_fail else "failed"
        return "skipped"


def _values(step: PlannedStep) -> Template:
    """Return what is to be rendered when a step begins."""
    if step.sets is not None:
        return step.sets
    return step.arguments if step.sleep is None else step.sleep
