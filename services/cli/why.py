"""`why`: the exact condition why something does not run, now or at any time before."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from warrener.services.cli import options, values
from warrener.services.cli.output import Output, moment, one_line, plain, state_text
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from warrener.domain.partitions import Logs
    from warrener.domain.ports import EventStore
    from warrener.services.shapes import Blocker, Why
    from warrener.services.why import Moment

_EXAMPLES = """Examples:

warrener why 5f2c71e0

warrener why 5f2c71e0/groups[3]/merge --json

warrener why 5f2c71e0/merge --at 2026-01-31T08:00:00Z"""

_What = Annotated[
    str,
    typer.Argument(metavar="JOB[/STEP]", help="A job's id or the start of one, or a step of it."),
]
_At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME",
        help="As it was then: a time, an age such as 90m or 2d, or a position of the log.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("why", epilog=_EXAMPLES)(why)


def why(
    *,
    what: _What,
    at: _At = None,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Say why a job or a step does not run, what it waits for, and what would release it."""
    from warrener.domain.errors import StoredDataError, StoreUnavailable
    from warrener.services.why import unreadable

    session = Session(as_json=as_json, store=store)
    now = datetime.now(UTC)
    try:
        with session.logs() as opened:
            found = _answer(session, opened, what, (at, now))
    except (StoreUnavailable, StoredDataError) as error:
        if as_json:
            session.output.json(unreadable(error, now))
        raise
    if as_json:
        session.output.json(found)
    else:
        _show(session.output, found, what, past=at is not None)
        if found.waiting.kind != "ended":
            _note_others(session)


def _answer(session: Session, logs: Logs, what: str, when: tuple[str | None, datetime]) -> Why:
    from warrener.services import wiring
    from warrener.services.cli.progress import catching_up
    from warrener.services.logs import partition_of_job
    from warrener.services.why import LogPast, ask, locate, moment_at

    at, now = when
    head, slash, path = what.partition("/")
    job = _job_of(session, logs, head)
    partition = partition_of_job(logs, job)
    store = logs.log(partition)
    exported = _exported(session, store) if at is None else None
    moment = exported or moment_at(store, None if at is None else values.point(at, now), now)
    is_now = at is None and exported is None
    leases = (lambda: wiring.open_leases(session.settings.store_url)) if is_now else None
    with catching_up(session.output) as report:
        past = LogPast(store, moment, leases, report, partition, partitions=logs.count)
        return ask(past, locate(past, job, path if slash else None))


def _exported(session: Session, store: EventStore) -> Moment | None:
    """Return the moment at which a history was exported, which is its present; None of a store."""
    from warrener.services import settings
    from warrener.services.histories.read import read_header
    from warrener.services.why import Moment

    url = session.settings.store_url
    if not settings.is_history(url):
        return None
    return Moment(store.head(), read_header(Path(settings.history_path(url))).made_at)


def _job_of(session: Session, logs: Logs, text: str) -> UUID:
    """Return the job of a whole id that is in the log, else of what the read models know of it."""
    from warrener.domain.events import JobEvent

    try:
        job = UUID(text)
    except ValueError:
        return session.find_job(logs, text)
    partition = logs.find(job)
    last = None if partition is None else logs.log(partition).last(job)
    known = last is not None and isinstance(last.event, JobEvent)
    return job if known else session.find_job(logs, text)


# --- for people ----------------------------------------------------------------------------------


def _show(output: Output, found: Why, what: str, *, past: bool) -> None:
    waiting = found.waiting
    head = Text.assemble(plain(f"{what} ", "bold"), state_text(found.state))
    facts = Table.grid(padding=(0, 2))
    facts.add_column()
    facts.add_column(overflow="fold")
    rows = {
        "why": waiting.sentence,
        "kind": waiting.kind,
        "since": moment(waiting.since),
        "until": moment(waiting.until),
        "release": waiting.release,
        "as of": f"{moment(found.at)}, position {found.position}" if past else "",
    }
    for name, value in rows.items():
        if value:
            facts.add_row(plain(name, "dim"), plain(value))
    output.show(head, facts)
    if waiting.blockers:
        output.show(_tree(head, found))


def _note_others(session: Session) -> None:
    """Say of a history that it does not have what others held of limits and workers."""
    from warrener.services import settings

    if settings.is_history(session.settings.store_url):
        session.output.note("of a history: what other jobs held of limits and workers is not in it")


def _tree(head: Text, found: Why) -> Tree:
    """Draw what is in the way: the last of each depth leads on to the next."""
    top = branch = Tree(head)
    depth, last = 1, branch
    for blocker in found.waiting.blockers:
        if blocker.depth > depth:
            branch, depth = last, blocker.depth
        last = branch.add(_line(blocker, found))
    return top


def _line(blocker: Blocker, found: Why) -> Text:
    path = blocker.path or "."
    elsewhere = blocker.job is not None and blocker.job != found.job
    place = f"{blocker.job}/{blocker.path}" if elsewhere and blocker.path else path
    if blocker.kind != "step":
        place = f"{blocker.kind} {blocker.id}"
    return Text.assemble(
        plain(place),
        " ",
        state_text(blocker.state),
        plain(f" {one_line(blocker.sentence)}", "dim"),
    )
