"""`replay`: a job as it was at any point of its past, computed from its events alone.

With `--definition` it is decided anew instead: `replay_definition` does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from warrener.domain.errors import UsageError
from warrener.services.cli import options
from warrener.services.cli import replay_definition as again
from warrener.services.cli.replay_source import opened
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from warrener.domain.partitions import Logs
    from warrener.services.past import Past
    from warrener.services.places import Place
    from warrener.services.queries import Queries

_EXAMPLES = """Examples:

warrener replay 5f2c71e0 --at 48213

warrener replay 5f2c71e0 --at v12 --tree

warrener replay 5f2c71e0/merge --at 2026-01-31T08:00:00Z --json

warrener replay 5f2c71e0 --step-through

warrener replay 5f2c71e0 --export failure.jsonl --redact '*.password'

warrener replay --import failure.jsonl --step-through"""
_EXAMPLES += again.EXAMPLES

_What = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="JOB[/STEP]",
        help="A job's id or the start of one, or a step of it; with --import it may be left out,"
        " with --definition several jobs may be named.",
        show_default=False,
    ),
]
_At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="POSITION|vN|TIME|AGE",
        help="The point: a position of the log as `history` shows it (48213), the job's own event"
        " of this number (v12), a time, or an age such as 90m or 2d. Default: the end.",
        show_default=False,
    ),
]
_StepThrough = Annotated[
    bool,
    typer.Option(
        "--step-through",
        help="Go through the events on this terminal, forth and back; with --json, a line for"
        " each event with what it changed.",
    ),
]
_Export = Annotated[
    Path | None,
    typer.Option(
        "--export",
        metavar="FILE",
        help="Write the history of the whole tree into one file, with all that it needs.",
        show_default=False,
    ),
]
_Redact = Annotated[
    list[str] | None,
    typer.Option(
        "--redact",
        metavar="PATTERN",
        help="With --export: values to leave out, beside those that look secret. May be repeated.",
        show_default=False,
    ),
]
_NoRedact = Annotated[
    bool, typer.Option("--no-redact", help="With --export: leave nothing out, secrets neither.")
]
_Import = Annotated[
    Path | None,
    typer.Option(
        "--import",
        metavar="FILE",
        help="Replay the history in a file that --export wrote; nothing of this machine is used.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay", epilog=_EXAMPLES)(replay)


def replay(
    *,
    whats: _What = None,
    at: _At = None,
    tree: Annotated[bool, typer.Option("--tree", help="The jobs below it, too.")] = False,
    step_through: _StepThrough = False,
    export: _Export = None,
    redact: _Redact = None,
    no_redact: _NoRedact = False,
    imported: _Import = None,
    definition: again.Definition = None,
    endpoints: again.Endpoints = None,
    name: again.Name = None,
    state: again.State = None,
    label: again.Label = None,
    since: again.Since = None,
    limit: again.Limit = again.LIMIT,
    max_findings: again.MaxFindings = again.FINDINGS,
    force: again.Force = False,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Show a job as it was at any point of its past, computed from its events alone.

    A pruned job is read back from its archive. With --definition, decide recorded jobs anew by
    another definition, and tell what would differ.
    """
    question = again.Question(
        definition=definition or "",
        jobs=tuple(whats or ()),
        endpoints=tuple(endpoints or ()),
        name=name,
        state=state,
        labels=tuple(label or ()),
        since=since,
        limit=limit,
        findings_max=max_findings,
        force=force,
    )
    url = _store(store, imported)
    if definition is not None:
        if any((at, tree, step_through, export, redact, no_redact)):
            raise UsageError("--definition decides anew: it goes with no other view of the past")
        again.dry_run(question, store=url, as_json=as_json)
        return
    if question.selects or endpoints or force or question.bounded:
        raise UsageError("which jobs to choose is said with --definition WHAT alone")
    session, what = Session(as_json=as_json, store=url), _one(whats)
    if export is not None and (at is not None or step_through):
        raise UsageError("--export writes the whole history: leave --at and --step-through out")
    if export is not None:
        _export(session, what, export, redact or (), no_redact=no_redact)
    elif redact or no_redact:
        raise UsageError("--redact and --no-redact are about --export FILE")
    elif step_through:
        _walk(session, what, at, tree=tree)
    else:
        with opened(session, what) as (logs, queries, place):
            _show(session, _past(logs, queries, place, at), tree=tree)


def _walk(session: Session, what: str | None, at: str | None, *, tree: bool) -> None:
    from warrener.services.cli.replay_walk import check, step_through

    check(session.output)
    when = None if at is None else point(at, datetime.now(UTC))
    with opened(session, what) as (logs, queries, place):
        step_through(session, logs, queries, place, at=when, tree=tree)


def _one(whats: Sequence[str] | None) -> str | None:
    """Return the one job or step that is named, None if none is."""
    if whats is not None and len(whats) > 1:
        raise UsageError("name one job: only --definition takes several")
    return whats[0] if whats else None


def _export(
    session: Session, job: str | None, file: Path, redact: Sequence[str], *, no_redact: bool
) -> None:
    from warrener.services.cli.replay_files import export_history

    export_history(session, job, str(file), redact, no_redact=no_redact)


def _store(store: str | None, imported: Path | None) -> str | None:
    """Return the URL of the store: a file that was exported is one, too."""
    if imported is None:
        return store
    if store is not None:
        raise UsageError("--import reads a file and no store: leave --store away")
    return f"history:{imported}"


def _past(logs: Logs, queries: Queries, place: Place, at: str | None) -> Past:
    from warrener.services import wiring
    from warrener.services.past import replay as replayed

    now = datetime.now(UTC)
    when = None if at is None else point(at, now)
    return replayed(logs, queries, place, when, now=now, open_views=wiring.open_past_views)


def point(text: str, now: datetime) -> Any:
    """Return the point of the past that `--at` names."""
    from warrener.services.cli import values
    from warrener.services.past import Version

    stripped = text.strip().lower()
    number = stripped.removeprefix("v")
    if number != stripped and number.isascii() and number.isdigit() and len(number) < 19:
        return Version(int(number))
    return values.point(text, now)


def _show(session: Session, past: Past, *, tree: bool) -> None:
    from warrener.services.cli.jobs import document_of, show_job, show_step, tree_of
    from warrener.services.cli.replay_text import point_text

    output = session.output
    if output.as_json:
        if past.place.path is None:
            document = document_of(past.queries, past.place.job, tree)
        else:
            document = msgspec.structs.asdict(past.step())
        output.json({**document, **msgspec.structs.asdict(past.point)})
        return
    output.show(point_text(past.point))
    if past.place.path is not None:
        show_step(output, past.step(whole=False))
        return
    show_job(output, past.show(whole=False))
    if tree:
        output.show(tree_of(past.tree()))
