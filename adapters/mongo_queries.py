"""The questions to the read models in MongoDB, as filters and orders that an index answers.

Each is: equal fields, then a range over what the answer is sorted by. The range is given both its
ends even where every value is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from warrener.adapters.mongo_tables import Fields, Keys, child_place, label, step_key
from warrener.adapters.sqlite_tables import microseconds
from warrener.projections.attempt_views import ATTEMPTS, TRACKS, AttemptView
from warrener.projections.control_views import ACTIONS, LIMITS
from warrener.projections.flow_views import INCIDENTS
from warrener.projections.ports import ActionFilter, IncidentFilter, JobFilter
from warrener.projections.total_views import TOTALS
from warrener.projections.views import HISTORY, JOBS, ROOTS, STEPS, JobView, StepView

NUMBER_MAX: Final = 2**62  # over every position, index and time that there is
TEXT_MAX: Final = "\U0010ffff"  # sorts after every text that we make
_ALL: Final = {"$gte": 0, "$lte": NUMBER_MAX}


class Query(msgspec.Struct, frozen=True):
    """What to look for in which table, and in what order the answer comes."""

    table: str
    wanted: Fields
    order: Keys = ()
    limit: int = 0  # 0: all
    skip: int = 0


def jobs(wanted: JobFilter) -> Query:
    """Jobs, the newest first: by a label, if one is asked for, else by state, name or nothing."""
    labels = [label(key, value) for key, value in sorted(wanted.labels.items())]
    fields: Fields = {}
    if labels:
        fields["labels"] = labels[0] if len(labels) == 1 else {"$all": labels}
    if wanted.roots_only:
        fields["top"] = True
    asked = {"state": wanted.state, "name": wanted.name}
    fields.update({name: value for name, value in asked.items() if value is not None})
    fields["submitted"] = _submitted(wanted)
    if wanted.after is not None:  # of those of that very time, the ones before it
        at, job = microseconds(wanted.after.submitted_at), wanted.after.job
        fields["$or"] = [{"submitted": {"$lt": at}}, {"submitted": at, "_id": {"$lt": job}}]
    return Query(JOBS, fields, (("submitted", -1), ("_id", -1)), wanted.limit)


def _submitted(wanted: JobFilter) -> Fields:
    since = 0 if wanted.since is None else microseconds(wanted.since)
    ends = [NUMBER_MAX]
    if wanted.until is not None:
        ends.append(microseconds(wanted.until) - 1)
    if wanted.after is not None:
        ends.append(microseconds(wanted.after.submitted_at))
    return {"$gte": since, "$lte": min(ends)}


def ids_between(table: str, low: UUID, high: UUID, limit: int) -> Query:
    """Documents whose ids are from `low` to `high`, in order."""
    return Query(table, {"_id": {"$gte": low, "$lte": high}}, (("_id", 1),), limit)


def children(parent: UUID, after: JobView | None, limit: int) -> Query:
    """Jobs that a job started, in order, those after a given one."""
    places = {"$gt": child_place(after) if after else "", "$lte": TEXT_MAX}
    wanted = {"child.of": parent, "child.place": places}
    return Query(JOBS, wanted, (("child.place", 1),), limit)


def named_steps(job: UUID) -> Query:
    """Steps of a job that are no items."""
    return Query(STEPS, {"named": job})


def items(fan_out: StepView, state: str | None, after: int, limit: int) -> Query:
    """Items of the present generation of a fan-out, by index."""
    wanted: Fields = {"item.of": step_key(fan_out.job, fan_out.path)}
    if state is not None:
        wanted["item.state"] = state
    wanted["item.index"] = {"$gt": after, "$lte": NUMBER_MAX}
    if fan_out.born:
        wanted["item.born"] = {"$gte": fan_out.born, "$lte": NUMBER_MAX}
    return Query(STEPS, wanted, (("item.index", 1),), limit)


def slowest(root: UUID, limit: int, skip: int) -> Query:
    """Steps of a tree that ran, the longest first."""
    order = (("ran.seconds", -1), ("ran.step", 1))
    return Query(STEPS, {"ran.root": root}, order, limit, skip)


def attempts(job: UUID, path: str, after: int, limit: int) -> Query:
    """Attempts of a step, by number."""
    wanted = {"step": step_key(job, path), "number": {"$gt": after, "$lte": NUMBER_MAX}}
    return Query(ATTEMPTS, wanted, (("number", 1),), limit)


def timeline(job: UUID | None, root: UUID | None, after: AttemptView | None, limit: int) -> Query:
    """Attempts of one job or of one tree, in order of time."""
    field, of = ("job", job) if job is not None else ("root", root)
    begun = 0 if after is None else microseconds(after.begun_at)
    wanted: Fields = {field: of, "begun": {"$gte": begun, "$lte": NUMBER_MAX}}
    if after is not None:  # of those of that very time, the ones behind it
        step = step_key(after.job, after.path)
        same = {"begun": begun, "step": step, "number": {"$gt": after.attempt}}
        behind = {"begun": begun, "step": {"$gt": step}}
        wanted["$or"] = [{"begun": {"$gt": begun}}, behind, same]
    return Query(ATTEMPTS, wanted, (("begun", 1), ("step", 1), ("number", 1)), limit)


def actions(wanted: ActionFilter) -> Query:
    """Requests, the newest first."""
    asked = {"subject": wanted.subject, "state": wanted.state}
    fields: Fields = {name: value for name, value in asked.items() if value is not None}
    fields["opened"] = _ALL
    return Query(ACTIONS, fields, (("opened", -1), ("_id", -1)), wanted.limit)


def waiters(request: UUID, limit: int) -> Query:
    """Steps that wait for the answer to a request, by job and path."""
    return Query(STEPS, {"waits.request": request}, (("waits.step", 1),), limit)


def counted_waiters(request: UUID) -> list[dict[str, Any]]:
    """Stages that count those steps and their jobs, and find the first end of a wait."""
    of_job = {"_id": "$waits.job", "steps": {"$sum": 1}, "until": {"$min": "$waits.until"}}
    total = {
        "_id": None,
        "steps": {"$sum": "$steps"},
        "jobs": {"$sum": 1},
        "until": {"$min": "$until"},
    }
    return [{"$match": {"waits.request": request}}, {"$group": of_job}, {"$group": total}]


def limits(limit: int) -> Query:
    """Changed limits, by name and partition."""
    names = {"$gte": "", "$lte": TEXT_MAX}
    order = (("limit.name", 1), ("limit.partition", 1))
    return Query(LIMITS, {"limit.name": names}, order, limit)


def totals(of_steps: bool, limit: int) -> Query:
    """Totals by name, those with most first."""
    fields: Fields = {"of_steps": of_steps, "weight": {"$gte": 0, "$lte": NUMBER_MAX}}
    return Query(TOTALS, fields, (("weight", -1), ("name", 1)), limit)


def incidents(wanted: IncidentFilter) -> Query:
    """Incidents of starvation, the newest first."""
    fields: Fields = {} if wanted.state is None else {"state": wanted.state}
    since = 0 if wanted.since is None else microseconds(wanted.since)
    fields["opened"] = {"$gte": since, "$lte": NUMBER_MAX}
    return Query(INCIDENTS, fields, (("opened", -1), ("_id", -1)), wanted.limit)


def history(job: UUID | None, root: UUID | None, after: int, limit: int) -> Query:
    """Positions of one job or of one tree, in order."""
    field, of = ("job", job) if job is not None else ("root", root)
    wanted = {field: of, "position": {"$gt": after, "$lte": NUMBER_MAX}}
    return Query(HISTORY, wanted, (("position", 1),), limit)


def of_jobs(jobs: Sequence[UUID]) -> Iterator[tuple[str, Fields]]:
    """Yield tables, and what in them is kept of these jobs alone."""
    for table in (JOBS, ROOTS):
        yield table, {"_id": {"$in": list(jobs)}}
    for table in (HISTORY, ATTEMPTS):
        yield table, {"job": {"$in": list(jobs)}}
    for table in (STEPS, TRACKS):
        for job in jobs:  # their ids begin with that of the job and a colon
            yield table, {"_id": {"$gte": step_key(job, ""), "$lt": f"{job.hex};"}}
