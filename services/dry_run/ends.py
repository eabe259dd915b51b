"""How the end of a step or an item differs, or that it has none where it had one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from warrener.domain.events import Error
from warrener.domain.plan import PlannedStep
from warrener.domain.states import JOB_ENDED, STEP_ENDED
from warrener.domain.step_events import StepFailed, StepRetryScheduled
from warrener.domain.timers import TIMEOUT_CODES
from warrener.services.dry_run.inputs import PATIENCE_CODES
from warrener.services.dry_run.shapes import Kind
from warrener.services.dry_run.story import JobStory, StepStory

_WORDS = {
    "skipped": "would be skipped",
    "not_needed": "would not be needed",
    "cancelled": "would be cancelled",
    "succeeded": "would succeed",
    "upstream_failed": "would not run: a step that it needs would not succeed",
    "pending": "would not be reached",
    "ready": "would not go out",
}


class StepDiff(msgspec.Struct, kw_only=True):
    """One difference. `changed` says that the outcome is another one, or unknown.

    `inner` says that a child job of the step may have led to it.
    """

    path: str
    kind: Kind
    sentence: str
    old: Any = None
    new: Any = None
    at: str | None = None
    unknown: bool = False
    changed: bool = True
    cancelled: bool = False
    inner: bool = False
    alike: int = 1


class Ends:
    """Compares how steps of one job end."""

    def __init__(self, old: JobStory, refused: Mapping[str, str]) -> None:
        """Take the job as it is recorded, and why commands would be refused, by path."""
        self._old = old
        self._refused = refused
        self._is_open = old.job.state not in JOB_ENDED

    def of(
        self, path: str, step: PlannedStep, old: StepStory | None, new: StepStory
    ) -> Iterator[StepDiff]:
        """Yield how a step that began ends otherwise; None stands for one that never began."""
        late = None if old is None else self._too_late(path, step, old)
        if late is not None:
            yield late
            return
        was = "pending" if old is None else old.step.state
        state = new.step.state
        if state in STEP_ENDED:
            if isinstance(new.end, StepFailed):
                same = old is not None and _is_same_failure(old, new)
                if not same and (was in STEP_ENDED or old is not None):
                    yield self.failed(path, step, new.end.error, was, inner=step.kind == "job")
            elif state != was and old is not None:
                yield self._ended_otherwise(path, was, state, step)
        elif was in STEP_ENDED:
            yield self._still_open(path, step, old, new)
        elif self._is_open and old is not None and new.step.attempt > old.step.attempt:
            yield self._one_more(path, new)

    def _too_late(self, path: str, step: PlannedStep, old: StepStory) -> StepDiff | None:
        """Return that a sub-job took longer than it may now: time alone would have ended it."""
        timeout, known = step.definition.timeout, self._old.plan.at(path).definition.timeout
        if step.kind != "job" or timeout is None or timeout.total is None:
            return None
        if old.opened is None or old.end is None:
            return None
        took = (old.end.at - old.opened.at).total_seconds()
        if took <= timeout.total or (known and known.total is not None and took > known.total):
            return None
        return StepDiff(
            path=path,
            kind="timeout",
            sentence=f"the sub-job took {took:g} s, and may take {timeout.total:g} s",
            old=took,
            new=timeout.total,
            unknown=True,
        )

    def _ended_otherwise(self, path: str, was: str, state: str, step: PlannedStep) -> StepDiff:
        return StepDiff(
            path=path,
            kind="outcome-differs",
            sentence=f"the step {_was(was)}; it {in_words(state)}",
            old=was,
            new=state,
            cancelled=state == "cancelled",
            inner=step.kind == "job",
        )

    def _still_open(
        self, path: str, step: PlannedStep, old: StepStory | None, new: StepStory
    ) -> StepDiff:
        was = "" if old is None else old.step.state
        state, attempt = new.step.state, new.step.attempt
        ended = None if old is None else _struck(old, attempt)
        kind: Kind = "outcome-differs"
        if path in self._refused:
            kind, sentence = "command-refused", self._refused[path]
        elif state == "retrying" and _by_time(new.failures[attempt].error):
            kind, error = "timeout", new.failures[attempt].error
            sentence = f"attempt {attempt} would be over its time: {error.message}"
        elif state == "retrying":
            sentence = (
                f"after attempt {attempt} it would be tried again: nothing is recorded of that"
            )
        elif ended is not None:
            kind = "timeout"
            sentence = (
                f"the step was over its time ({ended.code}), and would have more:"
                " what it would come to is not recorded"
            )
        elif state in {"released", "running"}:
            return self._one_more(path, new)
        else:
            what = "an answer" if state == "waiting_user" else "what it waits for"
            sentence = f"the step {_was(was)}; it would still wait for {what}"
        return StepDiff(
            path=path,
            kind=kind,
            sentence=sentence,
            old=was,
            new=state,
            unknown=True,
            inner=step.kind == "job" or step.fan_out,
        )

    def _one_more(self, path: str, new: StepStory) -> StepDiff:
        attempt = new.step.attempt
        return StepDiff(
            path=path,
            kind="outcome-differs",
            sentence=f"attempt {attempt} would be made: nothing is recorded of it",
            new=new.step.state,
            unknown=True,
        )

    def failed(
        self, path: str, step: PlannedStep, error: Error, was: str | None, *, inner: bool = False
    ) -> StepDiff:
        """Return that a step would fail now, or fail otherwise."""
        name = f"would fail with {error.code}: {error.message}"
        after = f" after attempt {error.attempt}" if error.attempt else ""
        before = "" if was is None else f"the step {_was(was)}; "
        return StepDiff(
            path=path,
            kind=_kind_of(error, step),
            sentence=f"{before}it {name}{after}",
            old=was,
            new=error.code,
            inner=inner and error.code not in {"bad-input", "budget-exceeded", "recursion-loop"},
        )


def _was(state: str) -> str:
    return state if state in {"succeeded", "failed"} else f"was {state}"


def in_words(state: str) -> str:
    """Return how a step would end, or how far it would come."""
    return _WORDS.get(state, f"would be {state}")


def _is_same_failure(old: StepStory, new: StepStory) -> bool:
    one, other = old.end, new.end
    if not isinstance(one, StepFailed) or not isinstance(other, StepFailed):
        return False
    return (one.error.code, one.error.attempt) == (other.error.code, other.error.attempt)


def _struck(step: StepStory, attempt: int) -> Error | None:
    """Return the error of a step that ran out of time in an attempt, or while it waited."""
    ended = step.failures.get(attempt) or step.end
    error = ended.error if isinstance(ended, StepFailed | StepRetryScheduled) else None
    return error if error is not None and _by_time(error) else None


def _by_time(error: Error) -> bool:
    return error.code in TIMEOUT_CODES or error.code in PATIENCE_CODES


def _kind_of(error: Error, step: PlannedStep) -> Kind:
    if error.path is not None and step.kind == "job":
        return "outcome-differs"
    if error.code in {"expression-error", "bad-json"}:
        return "result-does-not-fit"
    if error.code == "budget-exceeded":
        return "budget"
    if _by_time(error):
        return "timeout"
    if error.code == "bad-input" and step.kind == "job":
        return "params-refused"
    if error.code == "recursion-loop":
        return "child-differs"
    return "outcome-differs"
