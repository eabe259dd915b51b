"""`replay --definition`: recorded jobs decided anew by another definition, and what differs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.table import Table

from warrener.domain.errors import UsageError
from warrener.services.cli import values
from warrener.services.cli.failures import DONE, JOB_FAILED
from warrener.services.cli.output import (
    duration,
    number_of,
    one_line,
    plain,
    state_text,
    table,
)
from warrener.services.cli.session import Session, job_named

if TYPE_CHECKING:
    from uuid import UUID

    from warrener.domain.partitions import Logs
    from warrener.services.cli.output import Output
    from warrener.services.dry_run.run import DryRun
    from warrener.services.dry_run.shapes import Finding, JobReport, Summary
    from warrener.services.queries import Queries
    from warrener.services.submission import Source

EXAMPLES = """

warrener replay 5f2c71e0 --definition report.yaml

warrener replay --definition report.yaml --since 30d --limit 1000 --json

warrener replay --definition reports:social_report --state failed --label team=web"""
DIFFERS = JOB_FAILED  # the exit code if anything was found, or could not be judged
PANEL = "Dry run: with --definition"
_VERDICTS = {"same": "green", "differs": "bold red", "unknown": "bold yellow"}


def _filter(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False, rich_help_panel=PANEL)


Definition = Annotated[
    str | None,
    _filter(
        "--definition",
        "WHAT",
        "Decide recorded jobs anew by this definition, a file or module:job, and tell what would"
        " differ; exit code 1 if anything would.",
    ),
]
Endpoints = Annotated[
    list[str] | None,
    _filter(
        "--endpoints",
        "MODULE",
        "Refuse calls of endpoints that are not in such a module: package.module or a .py file.",
    ),
]
Name = Annotated[
    str | None,
    _filter("--name", "NAME", "Jobs of this name; default: the definition's."),
]
State = Annotated[str | None, _filter("--state", "STATE", "Jobs in this state.")]
Label = Annotated[list[str] | None, _filter("--label", "K=V", "Jobs with this label.")]
Since = Annotated[
    str | None,
    _filter("--since", "TIME", "Submitted then or later: a time, 90m, 2d."),
]
Limit = Annotated[
    int,
    typer.Option(
        "--limit",
        min=1,
        max=100_000,
        metavar="N",
        rich_help_panel=PANEL,
        help="The newest so many jobs.",
    ),
]
MaxFindings = Annotated[
    int,
    typer.Option(
        "--max-findings",
        min=1,
        max=10_000,
        metavar="N",
        rich_help_panel=PANEL,
        help="So many findings of each job at most.",
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", rich_help_panel=PANEL, help="Compare jobs of another name, too."),
]
LIMIT = 100
SHOWN_MAX = 20  # jobs that are told about one by one
FINDINGS = 100


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: a definition, and the jobs by their ids or by what they have in common."""

    definition: str
    jobs: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    name: str | None = None
    state: str | None = None
    labels: tuple[str, ...] = ()
    since: str | None = None
    limit: int = LIMIT
    findings_max: int = FINDINGS
    force: bool = False

    @property
    def selects(self) -> bool:
        """Say whether jobs are asked for by anything but their ids."""
        return any((self.name, self.state, self.labels, self.since))

    @property
    def bounded(self) -> bool:
        """Say whether bounds are given that are not those by themselves."""
        return (self.limit, self.findings_max) != (LIMIT, FINDINGS)


def dry_run(question: Question, *, store: str | None, as_json: bool) -> None:
    """Decide recorded jobs anew, tell what differs, and end with the exit code.

    That is 0 if nothing differs, else 1. With JSON there is a line for each job, and one with the
    summary.
    """
    from warrener.services.dry_run.run import DryRun
    from warrener.services.sources import read

    session = Session(as_json=as_json, store=store, runs_users_code=True)
    _check(question)
    source = read(question.definition, question.endpoints)
    run, began = DryRun(source, question.findings_max), time.monotonic()
    with session.logs() as logs, session.queries(logs) as queries:
        jobs = _jobs(queries, question, source)
        shown = 0
        for report in _reports(session.output, run, jobs, (queries, logs)):
            if as_json:
                session.output.json(report)
            elif report.verdict != "same" or (report.notes and len(jobs) == 1):
                shown += 1
                if shown <= SHOWN_MAX:
                    _show(session.output, report)
    if shown > SHOWN_MAX:
        session.output.show(f"and {shown - SHOWN_MAX} more jobs: name one, or see --json")
    summary = run.summary(time.monotonic() - began)
    _summarise(session.output, summary)
    raise typer.Exit(DONE if summary.same == summary.jobs else DIFFERS)


def _check(question: Question) -> None:
    if question.jobs and question.selects:
        raise UsageError("name jobs, or say with --name, --state, --label, --since which: not both")
    if question.state is not None:
        values.check_state(question.state)


def _jobs(queries: Queries, question: Question, source: Source) -> list[UUID]:
    """Return the root jobs that are asked for; raises `UsageError` if there are none."""
    from warrener.services.dry_run.run import check_names, roots

    if question.jobs:
        jobs = roots(queries, (job_named(queries, text) for text in question.jobs))
    else:
        since = question.since
        found = queries.jobs(
            state=question.state,
            name=question.name or source.main.name,
            labels=values.labels(question.labels),
            since=None if since is None else values.since(since, datetime.now(UTC)),
            limit=question.limit,
        )
        jobs = {line.job: line.name for line in found}
    if not jobs:
        raise UsageError(
            f"there is no such job of the name {question.name or source.main.name};"
            " `warrener jobs` lists what there is"
        )
    if not question.force:
        check_names(source, jobs)
    return list(jobs)


def _reports(
    output: Output, run: DryRun, jobs: Sequence[UUID], where: tuple[Queries, Logs]
) -> Iterator[JobReport]:
    from warrener.services.cli.progress import working

    with working(output, "jobs", "deciding anew") as progress:
        for number, job in enumerate(jobs):
            progress(number, len(jobs))
            yield run.job(*where, job)


# --- for people ----------------------------------------------------------------------------------


def _show(output: Output, report: JobReport) -> None:
    head = plain(f"{report.job} {report.name} v{report.version} ")
    head.append_text(state_text(report.state))
    head.append_text(plain(": "))
    head.append_text(plain(report.verdict, _VERDICTS[report.verdict]))
    output.show(head)
    if report.problem is not None:
        output.show(plain(f"  {report.problem}"))
    if report.findings:
        output.show(_findings(report.findings))
    if report.more:
        output.show(f"  and {report.more} more: --max-findings N shows more")
    if report.open_steps:
        output.show(f"  {report.open_steps} steps had not ended, and were not judged")
    for note in report.notes:
        output.note(f"  note: {one_line(note)}")


def _findings(findings: Sequence[Finding]) -> Table:
    made = table("step", "kind", "what", "because")
    for finding in findings:
        what = plain(one_line(finding.sentence))
        if finding.at is not None:
            what.append_text(plain(f"\n{_text(finding.old)} -> {_text(finding.new)}", "dim"))
        if finding.follows:
            steps = "step follows" if finding.follows == 1 else "steps follow"
            what.append_text(plain(f"\n{finding.follows} {steps} from it", "dim"))
        path = finding.path or "(the job)"
        if finding.alike > 1:
            path += f" and {finding.alike - 1} alike"
        made.add_row(
            plain(path), plain(finding.kind), what, plain(one_line(finding.because or ""), "dim")
        )
    return made


def _text(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return one_line(text if len(text) <= 200 else f"{text[:200]}…")


def _summarise(output: Output, summary: Summary) -> None:
    if output.as_json:
        output.json({"summary": summary})
        return
    if summary.groups:
        made = table("kind", "step", ">jobs", "such as")
        for group in summary.groups[:50]:
            path = group.path or "(the job)"
            sentence = one_line(group.sentence)
            cells = (group.kind, path, str(group.jobs), f"{str(group.example)[:8]}: {sentence}")
            made.add_row(*map(plain, cells))
        output.show(made)
    more = max(0, len(summary.groups) - 50) + summary.more
    if more:
        output.show(f"and {more} more kinds of findings: --json has them")
    output.show(
        f"{summary.definition} v{summary.version} on {number_of(summary.jobs, 'recorded job')}:"
        f" {summary.same} the same, {summary.differs} differ, {summary.unknown} cannot be judged"
        f" ({summary.steps} steps in {duration(summary.seconds)})"
    )
