"""How a job as a whole differs: what it is, its deadline, and how it ends."""

from __future__ import annotations

from typing import Any

from warrener.domain.definition.params import complete
from warrener.domain.job_state import Job
from warrener.domain.states import JOB_ENDED
from warrener.services.dry_run.differences import MISSING, first_difference
from warrener.services.dry_run.ends import StepDiff
from warrener.services.dry_run.shapes import Kind
from warrener.services.dry_run.story import JobStory
from warrener.services.shapes import optional_time


def other_job(old: JobStory, new: JobStory, params: tuple[Any, Any]) -> StepDiff | None:
    """Return how a sub-job is another one, or gets other parameters; None if it is the same."""
    one, other = old.submitted.name, new.submitted.name
    if one != other:
        sentence = f"it started job {one}; it would start {other}"
        return StepDiff(path="", kind="child-differs", sentence=sentence, old=one, new=other)
    sentence = f"the parameters of job {one} would differ"
    return _value("child-differs", sentence, _known(old, new, params))


def _known(old: JobStory, new: JobStory, params: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return the parameters on both sides, without defaults that the other side does not know."""
    one, other = params
    if not isinstance(one, dict) or not isinstance(other, dict):
        return one, other
    return _without_defaults(old, one, other), _without_defaults(new, other, one)


def _without_defaults(
    side: JobStory, mine: dict[str, Any], theirs: dict[str, Any]
) -> dict[str, Any]:
    defaults = complete(side.plan.definition, {})
    return {
        name: value
        for name, value in mine.items()
        if name in theirs or defaults.get(name, MISSING) != value
    }


def deadline(old: JobStory, new: JobStory) -> StepDiff | None:
    """Return that a job passes its deadline on one side alone."""
    if old.job.overdue == new.job.overdue:
        return None
    if new.job.overdue:
        sentence = f"the job would not be done by its deadline, {optional_time(new.job.deadline)}"
    else:
        sentence = "the job passed its deadline, and would have longer: what then is unknown"
    return StepDiff(
        path="",
        kind="deadline",
        sentence=sentence,
        old=optional_time(old.job.deadline),
        new=optional_time(new.job.deadline),
        unknown=not new.job.overdue,
    )


def other_end(old: Job, new: Job, results: tuple[Any, Any]) -> StepDiff | None:
    """Return how a job that has ended would end otherwise; None if it would not."""
    if old.state != new.state:
        return other_state(old, new)
    if old.state == "failed":
        return _other_failure(old, new)
    return _value("job-result-differs", "the result of the job would differ", results)


def other_state(old: Job, new: Job) -> StepDiff:
    """Return that a job would end in another state, or not at all."""
    error = new.error
    if error is not None and error.path is None and error.code == "expression-error":
        return StepDiff(
            path="",
            kind="result-does-not-fit",
            sentence=f"the job {_was(old)}; it would fail: {error.message}",
            old=old.state,
            new=error.code,
        )
    if new.state not in JOB_ENDED:
        sentence = f"the job {_was(old)}; it would not have ended"
    else:
        why = "" if error is None else f": {error.code}: {error.message}"
        would = {"succeeded": "succeed", "failed": "fail", "cancelled": "be cancelled"}
        sentence = f"the job {_was(old)}; it would {would[new.state]}{why}"
    return StepDiff(
        path="",
        kind="job-state-differs",
        sentence=sentence,
        old=old.state,
        new=new.state,
        unknown=new.state not in JOB_ENDED,
    )


def _was(job: Job) -> str:
    return "was cancelled" if job.state == "cancelled" else job.state


def _other_failure(old: Job, new: Job) -> StepDiff | None:
    one, other = old.error, new.error
    if one is None or other is None or (one.code, one.path) == (other.code, other.path):
        return None
    return StepDiff(
        path="",
        kind="job-state-differs",
        sentence=f"the job failed; it would fail otherwise: {other.code}: {other.message}",
        old=one.code,
        new=other.code,
    )


def _value(kind: Kind, sentence: str, values: tuple[Any, Any]) -> StepDiff | None:
    found = first_difference(*values)
    if found is None:
        return None
    return StepDiff(
        path="",
        kind=kind,
        sentence=f"{sentence} at {found.at}",
        old=found.old,
        new=found.new,
        at=found.at,
    )
