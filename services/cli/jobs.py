"""`jobs` and `show`: what there is, and how one job stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from warrener.services.cli import job_notes, options, values
from warrener.services.cli.attempts import show_attempts
from warrener.services.cli.output import (
    Output,
    counts_text,
    error_text,
    moment,
    one_line,
    plain,
    state_text,
    table,
    value_text,
)
from warrener.services.cli.session import Session
from warrener.services.labels import own_labels

if TYPE_CHECKING:
    from warrener.services.places import Place
    from warrener.services.queries import Queries
    from warrener.services.shapes import JobLine, Show, Step, TreeNode

_JOBS_EXAMPLES = """Examples:

warrener jobs --state failed --since 2d

warrener jobs --name social-report --label team=web --json"""
_SHOW_EXAMPLES = """Examples:

warrener show 5f2c71e0

warrener show 5f2c71e0 --tree

warrener show 5f2c71e0/merge --json

warrener show 5f2c71e0/merge --attempts"""


def _filter(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False)


_State = Annotated[str | None, _filter("--state", "STATE", "Only jobs in this state.")]
_Name = Annotated[str | None, _filter("--name", "NAME", "Only jobs of this name.")]
_Label = Annotated[list[str] | None, _filter("--label", "K=V", "Only jobs with this label.")]
_Since = Annotated[
    str | None, _filter("--since", "TIME", "Submitted then or later: a time, 90m, 2d.")
]
_Limit = Annotated[
    int, typer.Option("--limit", min=1, max=100_000, metavar="N", help="At most so many.")
]
_All = Annotated[bool, typer.Option("--all", help="Also jobs that were started by other jobs.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("jobs", epilog=_JOBS_EXAMPLES)(jobs)
    app.command("show", epilog=_SHOW_EXAMPLES)(show)


def jobs(
    *,
    state: _State = None,
    name: _Name = None,
    label: _Label = None,
    since: _Since = None,
    limit: _Limit = 50,
    everything: _All = False,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """List jobs, the newest first."""
    session = Session(as_json=as_json, store=store)
    if state is not None:
        values.check_state(state)
    wanted: dict[str, Any] = {
        "state": state,
        "name": name,
        "labels": values.labels(label or ()),
        "since": None if since is None else values.since(since, datetime.now(UTC)),
    }
    with session.queries() as queries:
        found = queries.jobs(**wanted, limit=limit, roots_only=not everything)
    if not as_json:
        session.output.show(_list(found) if found else "no jobs")
        return
    for line in found:
        session.output.json(msgspec.structs.replace(line, labels=own_labels(line.labels)))


def _list(found: Sequence[JobLine]) -> Table:
    rows = table("job", "name", "state", ">done", "submitted", "labels")
    for line in found:
        rows.add_row(
            str(line.job),
            plain(f"{line.name} v{line.version}"),
            state_text(line.state),
            f"{line.progress.done}/{line.progress.total}",
            moment(line.submitted_at),
            plain(_pairs(line.labels)),
        )
    return rows


def show(
    *,
    job: Annotated[
        str,
        typer.Argument(metavar="JOB", help="A job's id or the start of one, or a step: JOB/STEP."),
    ],
    tree: Annotated[bool, typer.Option("--tree", help="The jobs that it started, too.")] = False,
    attempts: Annotated[
        bool,
        typer.Option(
            "--attempts", help="Instead: all attempts of the step, or of the job by time."
        ),
    ] = False,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Show a job: state, progress, steps and what they wait for, result or error."""
    session = Session(as_json=as_json, store=store)
    with session.queries() as queries:
        place = queries.locate(job)
        if attempts:
            show_attempts(session.output, queries, place, tree=tree)
        elif place.path is not None:
            show_step(session.output, queries.step(place, whole=as_json))
        elif as_json:
            session.output.json(document_of(queries, place.job, tree))
        else:
            shown = queries.show(place.job, whole=False)
            show_job(session.output, shown)
            if tree:
                session.output.show(tree_of(queries.tree(place.job)))
            if shown.state == "failed":
                _hint_at_cause(session, queries, place)


def _hint_at_cause(session: Session, queries: Queries, place: Place) -> None:
    """Tell how to run what made a job fail once more, here, if it was an endpoint."""
    from warrener.services.blame import blamed

    found = blamed(queries, place)
    if found is not None:
        again = session.command("debug", f"{found.job}/{found.path}")
        session.output.note(f"to run here what failed: {again}")


def document_of(queries: Queries, job: Any, tree: bool) -> dict[str, Any]:
    """Return the JSON document about a job."""
    shown = queries.show(job)
    document = msgspec.structs.asdict(shown)
    document["labels"] = own_labels(shown.labels)
    if tree:
        document["tree"] = queries.tree(job)
    return document


def show_job(output: Output, shown: Show) -> None:
    """Show a job and its steps to people."""
    head = Text.assemble(plain(f"{shown.name} v{shown.version} ", "bold"), state_text(shown.state))
    facts = Table.grid(padding=(0, 2))
    facts.add_column()
    facts.add_column(overflow="fold")
    rows = {
        "job": str(shown.job),
        "parent": str(shown.parent or ""),
        "root": str(shown.root) if shown.parent else "",
        "labels": _pairs(shown.labels),
        "params": one_line(value_text(shown.params)),
        "submitted": moment(shown.submitted_at),
        "started": moment(shown.started_at),
        "ended": moment(shown.ended_at),
        "progress": f"{shown.progress.done} of {shown.progress.total} steps",
        "reason": "" if shown.cancelling else shown.reason,
        **job_notes.facts(shown),
    }
    for name, value in rows.items():
        if value:
            facts.add_row(plain(name, "dim"), plain(value))
    facts.add_row(plain("steps", "dim"), counts_text(shown.counts))
    output.show(head, facts, _steps(shown.steps))
    if shown.error is not None:
        output.show(error_text(shown.error.code, shown.error.message))
    if shown.state == "succeeded":
        output.show(Text.assemble(("result ", "dim"), plain(value_text(shown.result))))


def _steps(steps: Mapping[str, Step]) -> Any:
    rows = table("step", "kind", "state", ">attempts", "started", "ended", "note")
    for step in steps.values():
        rows.add_row(
            plain(step.path),
            step.kind,
            state_text(step.state),
            str(step.attempts or ""),
            moment(step.started_at or step.released_at),
            moment(step.ended_at),
            job_notes.note(step),
        )
    return rows


def show_step(output: Output, step: Step) -> None:
    """Show one step, as JSON or to people."""
    if output.as_json:
        output.json(step)
        return
    output.show(_steps({step.name: step}))
    if step.error is not None and step.error.traceback:
        output.show(step.error.traceback)
    if step.state == "succeeded":
        output.show(Text.assemble(("result ", "dim"), plain(value_text(step.result))))


def tree_of(node: TreeNode) -> Tree:
    """Return a drawing of a job and those below it."""
    top = Tree(_branch(node))
    waiting = [(top, node)]
    while waiting:
        branch, above = waiting.pop()
        for child in above.children:
            waiting.append((branch.add(_branch(child)), child))
        if above.more:
            branch.add(plain("… more", "dim"))
    return top


def _branch(node: TreeNode) -> Text:
    done = f" {node.progress.done}/{node.progress.total} "
    error = error_text(node.error.code, one_line(node.error.message, 80)) if node.error else Text()
    return Text.assemble(
        plain(node.path or node.name),
        " ",
        state_text(node.state),
        plain(" (of an older generation)", "dim") if node.superseded else "",
        done,
        plain(str(node.job), "dim"),
        " ",
        error,
    )


def _pairs(labels: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(own_labels(labels).items()))
