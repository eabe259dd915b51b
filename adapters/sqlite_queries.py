"""The longer statements that read the views in SQLite, each with its values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

from warrener.adapters.sqlite_tables import microseconds
from warrener.projections.attempt_views import AttemptView
from warrener.projections.ports import ActionFilter, IncidentFilter, JobFilter
from warrener.projections.views import JobView

_WAITING = "FROM view_steps WHERE request = ?"
WAITERS: Final = (
    "SELECT TOTAL(steps), COUNT(*), MIN(until) FROM"
    f" (SELECT COUNT(*) AS steps, MIN(until) AS until {_WAITING} GROUP BY job)"
)
WAITERS_FIRST: Final = f"SELECT doc {_WAITING} ORDER BY job, path LIMIT ?"


def action_query(wanted: ActionFilter) -> tuple[str, tuple[Any, ...]]:
    """Return statement and values that find requests for people."""
    asked = {"subject": wanted.subject, "state": wanted.state}
    conditions = {name: value for name, value in asked.items() if value is not None}
    texts = " AND ".join(f"{name} = ?" for name in conditions)
    sql = (
        f"SELECT doc FROM view_actions {'WHERE ' if texts else ''}{texts}"
        " ORDER BY opened_at DESC, request DESC LIMIT ?"
    )
    return sql, (*conditions.values(), wanted.limit)


def incident_query(wanted: IncidentFilter) -> tuple[str, tuple[Any, ...]]:
    """Return statement and values that find incidents of starvation."""
    since = 0 if wanted.since is None else microseconds(wanted.since)
    where, values = ("state = ? AND ", (wanted.state,)) if wanted.state else ("", ())
    sql = (
        f"SELECT doc FROM view_incidents WHERE {where}opened_at >= ?"
        " ORDER BY opened_at DESC, incident DESC LIMIT ?"
    )
    return sql, (*values, since, wanted.limit)


def job_query(wanted: JobFilter, column: str = "doc") -> tuple[str, tuple[Any, ...]]:
    """Return statement and values that find jobs: by a label first, if one is asked for."""
    labels = [label_of(key, value) for key, value in sorted(wanted.labels.items())]
    conditions: list[tuple[str, Any]] = []
    source, of = "view_jobs", ""
    if labels:
        source, of = "view_labels AS first JOIN view_jobs USING (job)", "first."
        conditions.append(("first.label = ?", labels[0]))
    conditions += [
        ("EXISTS (SELECT 1 FROM view_labels WHERE label = ? AND job = view_jobs.job)", label)
        for label in labels[1:]
    ]
    if wanted.roots_only and labels:
        conditions.append(("first.top = ?", 1))
    if wanted.state is not None:
        conditions.append((f"{of}state = ?", wanted.state))
    if wanted.name is not None:
        conditions.append(("name = ?", wanted.name))
    if wanted.since is not None:
        conditions.append((f"{of}submitted_at >= ?", microseconds(wanted.since)))
    if wanted.until is not None:
        conditions.append((f"{of}submitted_at < ?", microseconds(wanted.until)))
    texts = [text for text, _ in conditions]
    if wanted.roots_only and not labels:
        texts.append("parent IS NULL")
    values = [value for _, value in conditions]
    if wanted.after is not None:
        texts.append(f"({of}submitted_at, {of}job) < (?, ?)")
        values += [microseconds(wanted.after.submitted_at), wanted.after.job.bytes]
    where = f"WHERE {' AND '.join(texts)} " if texts else ""
    order = f"ORDER BY {of}submitted_at DESC, {of}job DESC LIMIT ?"
    return f"SELECT {column} FROM {source} {where}{order}", (*values, wanted.limit)


def label_rows(view: JobView) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a job's labels."""
    at, top = microseconds(view.submitted_at), int(view.parent is None)
    for key, value in view.labels.items():
        yield label_of(key, value), view.state, top, at, view.job.bytes


def label_of(key: str, value: str) -> str:
    """Return a label as one text."""
    return f"{key}\x1f{value}"


def timeline_query(
    job: UUID | None, root: UUID | None, after: AttemptView | None, limit: int
) -> tuple[str, tuple[Any, ...]]:
    """Return statement and values that find attempts of a job or a tree in order of time."""
    column, of = ("job", job) if job is not None else ("root", root)
    order = "begun_at, path, attempt" if job is not None else "begun_at, job, path, attempt"
    values: list[Any] = [of.bytes if of else None]
    later = ""
    if after is not None:
        later = f" AND ({order}) > ({'?, ' * order.count(',')}?)"
        place = (after.path, after.attempt)
        values += [microseconds(after.begun_at), *(() if job else (after.job.bytes,)), *place]
    sql = f"SELECT doc FROM view_attempts WHERE {column} = ?{later} ORDER BY {order} LIMIT ?"
    return sql, (*values, limit)
