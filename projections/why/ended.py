"""How and why a step came to its end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from warrener.domain import ids
from warrener.domain.definition.model import Join
from warrener.domain.joins import verdict
from warrener.domain.plan import PlannedStep
from warrener.projections.why.model import (
    Look,
    Place,
    Rank,
    asked_by,
    failure,
    listed,
    moment,
)
from warrener.projections.why.pending import outcome_of, places, seen
from warrener.projections.why.tales import Canceller, JobTale, StepTale, Tales

RERUN = "nothing; `warrener rerun` begins it anew"


def look(tales: Tales, tale: JobTale, path: str, state: str) -> Look:
    """Look at a step that has ended."""
    begun = tales.step(tale, path)
    if path in tale.job.given:
        said = f"was not run: it was given as {state} when the job was submitted"
        return _end(state, tale.submitted.at, said)
    if state == "succeeded":
        return _succeeded(tale, path, begun)
    if state == "failed":
        return _failed(tales, tale, path, begun)
    planned = tale.planned(path)
    since = begun.since if begun and begun.state == state else tale.since(path)
    if state == "upstream_failed":
        return _upstream_failed(tale, planned, since)
    if state == "skipped":
        return _skipped(tale, planned, begun, since)
    if state == "not_needed":
        return _end(state, since, _not_needed(tale, planned))
    return _end(state, since, f"was cancelled at {moment(since)}: {_canceller(tales, tale, path)}")


def _end(state: str, since: datetime | None, says: str, following: Iterable[Place] = ()) -> Look:
    return Look(
        state=state,
        kind="ended",
        since=since,
        says=says,
        release=RERUN,
        next=tuple(following),
        rank=Rank.ENDED,
    )


# --- by what it did ------------------------------------------------------------------------------


def _succeeded(tale: JobTale, path: str, begun: StepTale | None) -> Look:
    if begun is None:
        return _end("succeeded", tale.since(path), "succeeded")
    said = f"succeeded at {moment(begun.since)}{_attempt(begun)}"
    return _end("succeeded", begun.since, said)


def _attempt(begun: StepTale) -> str:
    if not begun.step.attempt:
        return ""
    worker = f" on worker {begun.worker}" if begun.worker else ""
    return f" in attempt {begun.step.attempt}{worker}"


def _failed(tales: Tales, tale: JobTale, path: str, begun: StepTale | None) -> Look:
    name, index = ids.split_path(path)
    since = begun.since if begun else tale.since(path)
    error = begun.error if begun else None
    said = f"failed at {moment(since)}{_attempt(begun) if begun else ''} with {failure(error)}"
    if index is None and name in tale.job.caught:
        said += f"; {tale.job.caught[name]} answers for it"
    elif index is None and tale.plan.steps[name].definition.may_fail:
        said += "; it may fail"
    if begun is not None and begun.step.child is not None and tales.job(begun.step.child):
        return _end("failed", since, f"{said}, because of", [Place(begun.step.child)])
    item = tale.failed_items.get(name)
    if index is None and item is not None and error is not None and error.code == "items-failed":
        last = tale.place(ids.item_path(name, item))
        return _end("failed", since, f"{said}, the last of them", [last])
    return _end("failed", since, said)


# --- by what others did --------------------------------------------------------------------------


def _upstream_failed(tale: JobTale, planned: PlannedStep, since: datetime | None) -> Look:
    demand = tale.demand()
    failed = [
        tale.job.stand_in(edge.dependency)
        for edge in planned.edges
        if demand.required(planned.name, edge) is not False
        and tale.job.resolved(edge.dependency)
        and outcome_of(tale, edge.dependency) == "failed"
    ]
    said = f"was given up at {moment(since)}: it needs {listed(failed) or 'a step that failed'}"
    if not failed:
        return _end("upstream_failed", since, said)
    return _end("upstream_failed", since, f"{said}; that is", places(tale, failed))


def _skipped(
    tale: JobTale, planned: PlannedStep, begun: StepTale | None, since: datetime | None
) -> Look:
    if begun is not None and begun.skipped:
        return _end("skipped", since, f"was skipped at {moment(since)}: {begun.skipped}")
    found = seen(tale, planned, tale.demand())
    join = planned.definition.join if planned.phase == "main" else Join.ALL_DONE
    if planned.when is not None and verdict(join, found) == "run":
        said = f"its condition ${{{{ {planned.when.text} }}}} was false"
    else:
        others = listed(edge.dependency for edge in planned.edges)
        said = f"its join {join.value} was not met by {others}"
    return _end("skipped", since, f"was skipped at {moment(since)}: {said}")


def _not_needed(tale: JobTale, planned: PlannedStep) -> str:
    said = "was not needed: "
    job, name = tale.job, planned.name
    if planned.undoes is not None:
        done = "succeeded" if planned.undoes in job.done else "did not succeed"
        return f"{said}{planned.undoes} {done}, and only a job that fails or is cancelled is undone"
    if planned.catches:
        return f"{said}{listed(planned.catches)} did not fail in a way that it answers for"
    if job.selection is not None:
        chosen = f"{job.selection.mode} {job.selection.step}"
        return f"{said}only a part of the job was run ({chosen})"
    return said + listed(_why_not(tale, reader, name) for reader in planned.readers)


def _why_not(tale: JobTale, reader: str, name: str) -> str:
    """Return why a reader did not demand a step."""
    edge = next(e for e in tale.plan.steps[reader].edges if e.dependency == name)
    if edge.when is not None and tale.job.edges.get(reader, {}).get(name) is False:
        return f"{reader} does not need it, as ${{{{ {edge.when.text} }}}} was false"
    return f"{reader}, which reads it, {_WAS.get(tale.job.step(reader), 'could do without it')}"


_WAS = {"not_needed": "was not needed either", "cancelled": "was cancelled"}


def _canceller(tales: Tales, tale: JobTale, path: str) -> str:
    """Return who or what cancelled a step."""
    name, index = ids.split_path(path)
    if index is not None and tale.job.step(name) == "failed":
        return f"its fan-out {name} failed"
    found = tale.cancellers.get(name, Canceller("other"))
    match found.kind:
        case "job":
            return f"its job was cancelled{cancelled_by(tales, tale)}"
        case "deadline":
            return f"its job was not done by its deadline {moment(tale.job.deadline)}"
        case "failure":
            return f"{found.step} failed, and the job stops at a failure"
        case "reader":
            return f"{found.step} was decided without it and cancels the rest"
    return "its job gave it up"


def cancelled_by(tales: Tales, tale: JobTale) -> str:
    """Return when and by whom a job was cancelled, as the end of a sentence.

    One that was started by another was so with the step that started it.
    """
    event, top, parent = tale.cancelling, tale, tale.job.parent
    if event is None:
        return ""
    while parent is not None and (above := tales.job(parent.job)) is not None:
        if above.cancelling is None or above.cancelling.at > event.at:
            reason = _canceller(tales, above, parent.path)
            return f" with step {parent.path} of job {above.job.id}: {reason}"
        event, top, parent = above.cancelling, above, above.job.parent
    which = "" if top is tale else f", as job {top.job.id} above it was,"
    return f"{which} at {moment(event.at)}{asked_by(event.by, event.reason)}"
