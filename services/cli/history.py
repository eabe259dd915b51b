"""`history`: every event of a job, or of a whole tree, and what caused it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer
from rich.text import Text

from warrener.domain.errors import UsageError
from warrener.services.cli import options, values
from warrener.services.cli.output import clean, one_line, plain
from warrener.services.cli.session import Session, job_named

if TYPE_CHECKING:
    from uuid import UUID

    from warrener.domain.partitions import Logs
    from warrener.services.causes import Paths
    from warrener.services.history_filter import HistoryFilter
    from warrener.services.queries import Queries
    from warrener.services.shapes import HistoryLine

FOLLOW_SECONDS: Final = 0.25
LAST_MAX: Final = 100_000
_EXAMPLES = """Examples:

warrener history 5f2c71e0 --tree

warrener history 5f2c71e0 --follow --json

warrener history 5f2c71e0 --step groups[3] --type '*Failed' --since 2d

warrener history 5f2c71e0 --why 48213"""


def _option(name: str, metavar: str, text: str, **more: Any) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False, **more)


_Archive = Annotated[
    Path | None, _option("--archive", "FILE", "Where a pruned job is, if its archive was moved.")
]
_Step = Annotated[
    str | None,
    _option("--step", "PATH", "Only of this step, its items and what is below them."),
]
_Types = Annotated[
    list[str] | None,
    _option("--type", "GLOB", "Only events of this type, such as '*Failed'. May be repeated."),
]
_Cause = Annotated[
    str, _option("--cause", "TEXT", "Only where the cause has this in it: an id, timer, command.")
]
_Grep = Annotated[
    str, _option("--grep", "TEXT", "Only where an event has this in it, as --json shows it.")
]
_Since = Annotated[
    str | None,
    _option("--since", "TIME|POSITION", "Only from then on: a time, an age, or a position."),
]
_Until = Annotated[
    str | None, _option("--until", "TIME|POSITION", "Only up to then, that included.")
]
_Limit = Annotated[int | None, _option("--limit", "N", "Only the first so many.", min=1)]
_Last = Annotated[int | None, _option("--last", "N", "Only the last so many.", min=1, max=LAST_MAX)]
_Why = Annotated[
    int | None,
    _option(
        "--why",
        "POSITION",
        "Instead: the event there and what led to it, back to the command from outside.",
        min=1,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("history", epilog=_EXAMPLES)(history)


def history(
    *,
    job: options.Job,
    tree: Annotated[bool, typer.Option("--tree", help="Of the jobs below it, too.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with new events until the job has ended.")
    ] = False,
    step: _Step = None,
    types: _Types = None,
    cause: _Cause = "",
    grep: _Grep = "",
    since: _Since = None,
    until: _Until = None,
    limit: _Limit = None,
    last: _Last = None,
    why: _Why = None,
    archive: _Archive = None,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Print every event, with its position in the log, its time and what caused it.

    That of a pruned job is read back from its archive.
    """
    from warrener.services.causes import paths_of
    from warrener.services.history_filter import HistoryFilter

    if follow and last is not None:
        raise UsageError("--last and --follow exclude each other: leave one of them out")
    session, now = Session(as_json=as_json, store=store), datetime.now(UTC)
    wanted = HistoryFilter(
        step=step,
        types=tuple(types or ()),
        cause=cause,
        text=grep,
        since=None if since is None else values.point(since, now),
        until=None if until is None else values.point(until, now),
        limit=limit,
        last=last,
    )
    tree = tree or step is not None  # what is below a step may be in other jobs
    with session.logs() as logs, session.queries(logs) as queries:
        if why is not None:
            lines = _causes(queries, job, why)
        else:
            found = None if archive else _lines(logs, queries, job, (tree, follow, wanted))
            if found is None:
                found = _pruned(logs, job, tree, archive)
            lines = wanted.take(found)
        paths = paths_of(lambda stream: _last_event(logs, stream))
        for line in lines:
            if as_json:
                session.output.json(line)
            else:
                session.output.show(_line(line, paths))


def _lines(
    logs: Logs, queries: Queries, job: str, how: tuple[bool, bool, HistoryFilter]
) -> Iterator[HistoryLine] | None:
    """Return the events of a job in the store, None if it was pruned."""
    from warrener.domain.errors import UnknownJob
    from warrener.services.upkeep.pruned import find_pruned

    tree, follow, wanted = how
    try:
        found = job_named(queries, job)
    except UnknownJob:
        if find_pruned(logs, job) is not None:
            return None
        raise
    if follow:
        return _followed(logs, queries, found, tree, wanted.after)
    return queries.history(found, tree=tree, after=wanted.after)


def _pruned(logs: Logs, job: str, tree: bool, archive: Path | None) -> Iterator[HistoryLine]:
    from warrener.domain.errors import UnknownJob
    from warrener.services.upkeep.pruned import find_pruned, pruned_history

    found = find_pruned(logs, job, archive)
    if found is None:
        raise UnknownJob(f"{archive} does not have a job {job}")
    return pruned_history(logs, found, tree=tree)


def _followed(
    logs: Logs, queries: Queries, job: UUID, tree: bool, after: int
) -> Iterator[HistoryLine]:
    """Yield events as they come, up to the one that ends the job.

    The log says which one that is: a fleet's read models may be behind it, each by itself.
    """
    position = after
    while True:
        end = _end_of(logs, job)  # before the last look
        for line in queries.history(job, tree=tree, after=position):
            position = line.position
            yield line
        if end is not None and end <= position:
            return
        time.sleep(FOLLOW_SECONDS)


def _end_of(logs: Logs, job: UUID) -> int | None:
    """Return the position of the event that ended a job, None if it goes on."""
    from warrener.domain.events import JobCancelled, JobFailed, JobSucceeded
    from warrener.services.logs import log_of_job

    log = log_of_job(logs, job)
    last = log.last(job)
    if last is None or not isinstance(last.event, JobSucceeded | JobFailed | JobCancelled):
        return None
    return log.position(job, last.originator_version)


def _causes(queries: Queries, job: str, position: int) -> Iterator[HistoryLine]:
    """Yield the event at a position and what led to it."""
    from warrener.projections.history import job_of
    from warrener.services.causes import told_chain
    from warrener.services.partial_log import PartialLog

    found = job_named(queries, job)
    log = PartialLog(queries.tree_events(found, until=position))
    event = next((each for each in log.read(position - 1, 1) if each.position == position), None)
    if event is None or job_of(event) is None:
        raise UsageError(
            f"position {position} is no event of the tree of job {job}:"
            f" `warrener history {job} --tree` shows those that are"
        )
    yield from told_chain(log, event)


def _last_event(logs: Logs, stream: UUID) -> Any:
    """Return the last event of a stream, None if no partition has it."""
    partition = logs.find(stream)
    return None if partition is None else logs.log(partition).last(stream)


def _line(line: HistoryLine, paths: Paths) -> Text:
    from warrener.services.causes import in_words

    told = {name: value for name, value in line.data.items() if name not in ("by", "reason")}
    data = one_line(clean(msgspec.json.encode(told).decode()), 160)
    return Text.assemble(
        (f"{line.position:>8} ", "dim"),
        f"{line.at} ",
        plain(f"{line.path or '.'} ", "cyan"),
        plain(line.type, "bold"),
        plain(_steered(line.data), "magenta"),
        plain(f" {data}"),
        plain(f"  [{one_line(in_words(line.cause, line.data, paths))}]", "dim"),
    )


def _steered(data: Mapping[str, Any]) -> str:
    """Return who asked for what an event says, and why."""
    by = f" by {one_line(data['by'])}" if data.get("by") else ""
    return f"{by}: {one_line(data['reason'])}" if data.get("reason") else by
