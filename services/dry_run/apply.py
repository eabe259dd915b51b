"""Applies what is recorded of a step to the controller of a dry run, once it fits there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain.control_events import UserActionRequested
from warrener.domain.definition.model import StepDefinition
from warrener.domain.events import event_of
from warrener.domain.messages import AnswerUserAction, RetryJob, UserActionAsked
from warrener.domain.payloads import NULL, decode_json
from warrener.domain.states import STEP_ENDED
from warrener.domain.step import OUT, Step
from warrener.domain.step_events import StepParked, StepReadied
from warrener.domain.timers import Kind
from warrener.services.dry_run.inputs import Input, report_of

if TYPE_CHECKING:
    from warrener.services.dry_run.play import Play

_KINDS: tuple[Kind, ...] = ("queue", "run", "total")


class Apply:
    """Each call says whether the input is dealt with; if not, it is to come again later."""

    def __init__(self, play: Play) -> None:
        """Take the dry run that it is about."""
        self._play = play
        self._handlers: dict[str, Callable[[Input, Step | None], bool]] = {
            "go": self._go,
            "report": self._report,
            "timeout": self._timeout,
            "patience": self._patience,
            "wake": self._wake,
            "again": self._again,
            "answer": self._answer,
        }

    def __call__(self, given: Input) -> bool:
        """Apply an input if it fits, or drop it if it never will."""
        return self._handlers[given.what](given, self._play.memory.steps.get(given.id))

    def lose_patience(self, step_id: UUID, waited: float, old: StepDefinition | None) -> None:
        """End a step's patience before what it waited for comes, if it is shorter now."""
        step = self._play.memory.steps.get(step_id)
        if step is None or step.state not in {"waiting", "waiting_user"}:
            return
        new = _patience(self._definition(step))
        before = None if old is None else _patience(old)
        if new is not None and new < waited and not (before is not None and before < waited):
            self._bring_about(step, "patience")

    def _definition(self, step: Step) -> StepDefinition:
        return self._play.memory.jobs[step.job].plan.at(step.path).definition

    def _bring_about(self, step: Step, kind: Kind) -> None:
        self._play.memory.bring_about(step.id, kind)
        self._play.turn()

    def _is_over(self, given: Input) -> bool:
        """Say whether a step that is not at work will not be any more."""
        active = self._play.memory.jobs.get(given.job)
        if active is None:
            return self._play.log.last(given.job) is not None
        name, index = ids.split_path(given.path)
        if name not in active.plan.steps:
            return True
        if active.job.step(name) in STEP_ENDED:
            return True
        items = active.job.fan_outs.get(name)
        if index is None or items is None:
            return False
        return index >= items.shape.count or bool(items.ended[index])

    # --- what is recorded ------------------------------------------------------------------------

    def _go(self, given: Input, step: Step | None) -> bool:
        """Let a step out for an attempt; it may fail then, if its arguments cannot be had."""
        flow, key = self._play.flow, (given.job, given.path)
        if key in flow.ready:
            if step is None or not given.attempt or step.attempt < given.attempt:
                flow.let(key)
                self._play.turn()
            return True
        if not given.attempt:
            return True
        if step is not None and step.state == "retrying" and step.attempt < given.attempt:
            if self._takes_too_long(given, step):
                return True
            flow.let(key)
            self._bring_about(step, "retry")
            flow.no_longer(key)
            return True
        return self._past(given, step, given.attempt - 1)

    def _takes_too_long(self, given: Input, step: Step) -> bool:
        """End a step whose attempts took longer in all than they may now; say whether it was."""
        old = self._play.record.step(given.job, given.path)
        known = old is not None and given.spans.over("total", old.timeout)
        if known or not given.spans.over("total", self._definition(step).timeout):
            return False
        self._bring_about(step, "total")
        return True

    def _past(self, given: Input, step: Step | None, attempt: int) -> bool:
        """Say whether an input comes too late for a step, not too early."""
        return self._is_over(given) if step is None else step.attempt > attempt

    def _report(self, given: Input, step: Step | None) -> bool:
        if step is None or step.state not in OUT or step.attempt != given.attempt:
            late = step is not None and step.state not in OUT and step.attempt == given.attempt
            return late or self._past(given, step, given.attempt)
        old = self._play.record.step(given.job, given.path)
        new = self._definition(step)
        for kind in _KINDS:
            known = old is not None and given.spans.over(kind, old.timeout)
            if given.spans.over(kind, new.timeout) and not known:
                self._bring_about(step, kind)
                return True
        event = given.event
        record, asked = self._play.record, None
        if isinstance(event, StepParked):
            asked = self._asked(event.request)
        result = record.data(getattr(event, "result", None) or NULL)
        self._play.turn(report_of(given, step.token, result, asked))
        return True

    def _asked(self, request: UUID) -> UserActionAsked:
        first = next(iter(self._play.record.log.stream(request)), None)
        event = event_of(first, UserActionRequested)
        if event is None:
            return UserActionAsked(action="user-action", cause=str(request))
        form = None
        if event.form is not None:
            form = decode_json(self._play.record.data(event.form))
        return UserActionAsked(
            action=event.action, cause=event.subject, message=event.message, form=form
        )

    def _timeout(self, given: Input, step: Step | None) -> bool:
        """Let an attempt time out again, unless it may take longer now."""
        kind = given.kind or "total"
        at_work = step is not None and (step.state in OUT or kind == "total")
        if step is None or not at_work or step.attempt != given.attempt:
            return self._past(given, step, given.attempt)
        old = self._play.record.step(given.job, given.path)
        before = None if old is None or old.timeout is None else getattr(old.timeout, kind)
        timeout = self._definition(step).timeout
        bound = None if timeout is None else getattr(timeout, kind)
        if bound is not None and (
            (before is not None and bound <= before) or given.spans.over(kind, timeout)
        ):
            self._bring_about(step, kind)
        return True

    def _patience(self, given: Input, step: Step | None) -> bool:
        """Let patience end again, unless it is longer now."""
        if step is None or step.state not in {"waiting", "waiting_user"}:
            return self._past(given, step, given.attempt)
        old = self._play.record.step(given.job, given.path)
        before = None if old is None else _patience(old)
        new = _patience(self._definition(step))
        if new is not None and (
            (before is not None and new <= before) or new <= given.waited_seconds
        ):
            self._bring_about(step, "patience")
        return True

    def _wake(self, given: Input, step: Step | None) -> bool:
        if step is None:
            return self._is_over(given)
        if step.state == "waiting" and step.until is not None and step.signal is None:
            self._bring_about(step, "sleep")
        return True

    def _again(self, given: Input, step: Step | None) -> bool:
        """Let a step go out again that a person has asked it of."""
        if step is None or step.attempt < given.attempt or step.state in OUT:
            return self._past(given, step, given.attempt)
        if step.state in {"retrying", "waiting_user"}:
            event = given.event
            by = event.by if isinstance(event, StepReadied) else ""
            key = f"dry-run/{given.id}/{given.at.isoformat()}"
            message = RetryJob(job=given.job, path=given.path, key=key, by=by)
            self._play.ask(given.job, given.path, event, message)
        return True

    def _answer(self, given: Input, step: Step | None) -> bool:
        """Have the request answered that a step waits for."""
        if step is None:
            return self._is_over(given)
        if step.attempt < given.attempt or step.state in OUT:
            return step.attempt > given.attempt
        old = self._play.record.step(given.job, given.path)
        self.lose_patience(step.id, given.waited_seconds, old)
        if step.request is not None and step.state in {"waiting", "waiting_user"}:
            data = msgspec.Raw(self._play.record.data(given.data))
            by = getattr(given.event, "by", "")
            message = AnswerUserAction(request=step.request, data=data, by=by)
            self._play.ask(given.job, given.path, given.event, message)
        return True


def _patience(definition: StepDefinition) -> float | None:
    if definition.wait is not None:
        return definition.wait.expire
    rule = definition.on_user_action
    return None if rule is None else rule.expire
