"""`report`: where the time of a job went, as text, as JSON, or as a page to show around."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from warrener.services.cli import options
from warrener.services.cli.output import (
    Output,
    duration,
    error_text,
    moment,
    number_of,
    one_line,
    plain,
    share_text,
    state_text,
    table,
)
from warrener.services.cli.session import Session, job_named

if TYPE_CHECKING:
    from uuid import UUID

    from warrener.services.queries import Queries
    from warrener.services.report.shapes import Report

_EXAMPLES = """Examples:

warrener report 5f2c71e0

warrener report 5f2c71e0 --html report.html

warrener report 5f2c71e0 --json | jq '.critical_path[] | select(.kind == "limit")'"""

SEGMENTS_SHOWN = 20
ROWS_SHOWN = 5
SENTENCE_CHARACTERS = 160

_Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write one page that needs no network: graph, chart over time and tables, without"
        " what looks like a secret.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report", epilog=_EXAMPLES)(report)


def report(
    *,
    job: options.Job,
    html: _Html = None,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Tell where the time of a job went: waits, work, retries, and the critical path."""
    session = Session(as_json=as_json, store=store)
    with session.logs() as logs, session.queries(logs) as queries:
        from warrener.services.cli.progress import working
        from warrener.services.report.gather import run_report
        from warrener.services.report.redaction import without_secrets
        from warrener.services.settings import listed

        found = job_named(queries, job)
        with working(session.output, "events", "reading the history") as on_progress:
            made = run_report(queries, logs, found, _now(session), on_progress)
        if html is not None:
            patterns = listed(session.settings.redact)
            _write(html, without_secrets(made, patterns), queries, found)
    if as_json:
        session.output.json(made)
    elif html is None:
        _show(session.output, made)
        session.output.note(f"as a page: {session.command('report', job, '--html', 'FILE')}")
    if html is not None:
        session.output.note(f"the report of job {found} is in {html.absolute()}")


def _now(session: Session) -> datetime:
    """Return the time; of a history that of its export, for nothing has been known since."""
    from warrener.services.histories.read import read_header
    from warrener.services.settings import history_path, is_history

    url = session.settings.store_url
    if is_history(url):
        return read_header(Path(history_path(url))).made_at
    return datetime.now(UTC)


def _write(path: Path, made: Report, queries: Queries, job: UUID) -> None:
    from warrener.domain.errors import UsageError
    from warrener.services.report.page import page, write

    steps = queries.show(job, whole=False).steps
    states = {name: step.state for name, step in steps.items()}
    items = {name: step.items for name, step in steps.items() if step.items is not None}
    text = page(made, queries.definition(job), states, items)
    try:
        write(path, text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


# --- for people ----------------------------------------------------------------------------------


def _show(output: Output, made: Report) -> None:
    output.show(*_head(made))
    output.show(_totals(made))
    output.show(_path(made))
    output.show(*_tables(made))


def _head(made: Report) -> list[Text]:
    so_far = " so far" if made.so_far else ""
    lines = [
        Text.assemble(
            plain(f"{made.name} ", "bold"),
            state_text(made.state),
            f" {duration(made.elapsed_seconds)}{so_far}, from {moment(made.begun_at)}"
            f" to {moment(made.ended_at)}",
        )
    ]
    if made.error is not None:
        lines.append(error_text(made.error.code, one_line(made.error.message)))
    if made.rerun:
        lines.append(plain(f"This is about generation {made.generation}, the latest.", "dim"))
    jobs = f" in {made.jobs:,} jobs" if made.jobs > 1 else ""
    steps = number_of(made.steps, "step")
    lines.append(plain(f"{steps}{jobs}, {duration(made.step_seconds)} of their time", "dim"))
    return lines


def _totals(made: Report) -> object:
    rows = table("where the time went", ">critical path", "", ">all steps", ">")
    for kind in made.totals:
        critical = duration(kind.critical_seconds) if kind.critical_seconds else "–"
        steps = duration(kind.step_seconds) if kind.step_seconds else "–"
        rows.add_row(
            plain(kind.label),
            critical,
            share_text(kind.critical_share, 20) if kind.critical_seconds else plain(""),
            steps,
            percent(kind.step_share) if kind.step_seconds else "",
        )
    return rows


def percent(share: float) -> str:
    """Return a share as people read it; what is there is never nothing."""
    return "<1 %" if 0 < share < 0.01 else f"{share * 100:.0f} %"


def _path(made: Report) -> object:
    shown = made.critical_path
    if len(shown) > SEGMENTS_SHOWN:
        least = sorted((each.seconds for each in shown), reverse=True)[SEGMENTS_SHOWN - 1]
        shown = tuple(each for each in shown if each.seconds >= least)[:SEGMENTS_SHOWN]
    rows = table("critical path", ">after", ">took", ">share", "what", title=None)
    for each in shown:
        rows.add_row(
            plain(each.path or "(job)"),
            duration(each.from_seconds),
            duration(each.seconds),
            percent(each.share),
            plain(one_line(each.sentence, SENTENCE_CHARACTERS)),
        )
    left = len(made.critical_path) - len(shown)
    if left:
        rows.add_row("", "", "", "", plain(f"and {left:,} shorter ones: --json has all", "dim"))
    return rows


def _tables(made: Report) -> list[object]:
    found: list[object] = []
    if made.slowest:
        rows = table("slowest steps", ">computing", ">waiting", ">attempts", "worker", "state")
        for slow in made.slowest[:ROWS_SHOWN]:
            rows.add_row(
                plain(slow.path),
                duration(slow.computing_seconds),
                duration(slow.waited_seconds),
                str(slow.attempts),
                plain(slow.worker or ""),
                state_text(slow.state),
            )
        found.append(rows)
    if made.retries:
        rows = table("tried again", ">attempts", ">lost", "errors", "state")
        for again in made.retries[:ROWS_SHOWN]:
            rows.add_row(
                plain(again.path),
                str(again.attempts),
                duration(again.lost_seconds),
                plain(one_line(", ".join(again.codes))),
                state_text(again.state),
            )
        found.append(rows)
        found.append(
            plain(
                f"tried again: {made.retried:,} in all, which took"
                f" {duration(made.lost_seconds)} of their time",
                "dim",
            )
        )
    return found
