"""`demo`: a census of a directory tree, as a first look at everything."""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from warrener.services.cli import options
from warrener.services.cli.failures import DONE, JOB_FAILED
from warrener.services.cli.output import StdoutClosed, duration, plain, table
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from warrener.services.embedded import Embedded
    from warrener.services.outcomes import Outcome
    from warrener.services.shapes import SlowStep

SLOWEST: Final = 5
KILL_SECONDS: Final = (0.2, 0.8)  # between two kills of `--chaos`
_CENSUS: Final = "warrener.services.census:census"
_EXAMPLES = """Examples:

warrener demo

warrener demo /usr/share --workers 4 --chaos

warrener demo . --json"""


class Chaos:
    """Kills worker processes at random."""

    def __init__(self, chance: random.Random) -> None:
        self.killed = 0
        self._chance = chance
        self._next = time.monotonic() + chance.uniform(*KILL_SECONDS)

    def __call__(self, embedded: Embedded) -> None:
        """Kill one if it is time to."""
        from warrener.services.worker_processes import ProcessRunner

        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._chance.uniform(*KILL_SECONDS)
        runner = embedded.worker.runner
        if isinstance(runner, ProcessRunner):
            self.killed += runner.kill_one(self._chance)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", epilog=_EXAMPLES)(demo)


def demo(
    *,
    path: Annotated[
        str | None,
        typer.Argument(metavar="PATH", help="The folder to count; default: Python's own library."),
    ] = None,
    workers: options.Workers = None,
    chaos: Annotated[
        bool, typer.Option("--chaos", help="Kill worker processes at random meanwhile.")
    ] = False,
    store: options.Store = None,
    log: options.Log = None,
    as_json: options.AsJson = False,
) -> None:
    """Count files, bytes, lines and words of a directory tree, one job a folder."""
    session = Session(as_json=as_json, store=store, log=log, runs_users_code=True)
    killer = Chaos(random.Random()) if chaos else None
    with session.logs(create=True) as opened:
        outcome, slowest = _run(session, opened, path, workers, killer)
    with contextlib.suppress(StdoutClosed):
        _print(session, outcome, slowest, killer)
    raise typer.Exit(DONE if outcome.state == "succeeded" else JOB_FAILED)


def _run(
    session: Session, logs: Any, path: str | None, workers: int | None, killer: Chaos | None
) -> tuple[Outcome, list[SlowStep]]:
    from warrener.services import census
    from warrener.services.cli.execution import execute
    from warrener.services.cli.requests import Request, new_task
    from warrener.services.sources import load

    request = Request(params=census.params(path), labels={"demo": "census"})
    session.output.note(f"counting {request.params['folder']}")
    task = new_task(request, load(_CENSUS))
    outcome = execute(session, logs, task, workers=workers, mode="processes", tick=killer)
    with session.queries(logs) as queries:
        return outcome, queries.slowest(outcome.job, SLOWEST)


def _print(
    session: Session, outcome: Outcome, slowest: list[SlowStep], killer: Chaos | None
) -> None:
    from warrener.services.cli.run import outcome_document, outcome_text

    output = session.output
    if output.as_json:
        document = {**outcome_document(outcome), "slowest": slowest}
        output.json(document | ({"killed": killer.killed} if killer else {}))
        return
    if outcome.state == "succeeded":
        output.show(_languages(outcome.result), _totals(outcome.result))
    output.show(_slowest(slowest), outcome_text(outcome))
    if killer is not None:
        output.show(f"{killer.killed} worker processes were killed meanwhile")
    if session.keeps_jobs:
        output.show(_next(session, outcome))


def _languages(result: Any) -> Any:
    from warrener.services import census

    rows = table("language", ">files", ">bytes", ">lines", ">words", ">share", title="By language")
    for row in census.rows(result):
        numbers = [f"{number:,}" for number in (row.files, row.bytes, row.lines, row.words)]
        rows.add_row(plain(row.language), *numbers, f"{row.share:.1%}")
    return rows


def _totals(result: dict[str, Any]) -> str:
    parts = [
        f"{result[name]:,} {name}"
        for name in ("folders", "files", "bytes", "lines", "words", "functions", "classes")
    ]
    odd = [f"{result[name]:,} {name}" for name in ("unreadable", "unparsed") if result[name]]
    return ", ".join([*parts, *odd])


def _slowest(steps: list[SlowStep]) -> Any:
    rows = table("step", ">took", ">attempts", "worker", title="Slowest steps")
    for step in steps:
        rows.add_row(
            plain(step.path), duration(step.seconds), str(step.attempts), plain(step.worker or "")
        )
    return rows


def _next(session: Session, outcome: Outcome) -> Text:
    commands = [
        session.command("show", outcome.job, "--tree"),
        session.command("history", outcome.job),
        session.command("graph", outcome.job),
    ]
    return plain("\n".join(["Try next:", *(f"  {command}" for command in commands)]))
