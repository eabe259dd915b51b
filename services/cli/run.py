"""`run`: one job from beginning to end in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import typer
from rich.text import Text

from warrener.domain.errors import UsageError
from warrener.services.cli import options, values
from warrener.services.cli import run_options as own
from warrener.services.cli.failures import DONE, JOB_FAILED, WAITS_FOR_USER
from warrener.services.cli.output import (
    StdoutClosed,
    counts_text,
    duration,
    plain,
    state_text,
    value_text,
)
from warrener.services.cli.session import Session
from warrener.services.cli.waiting_for import waiting_lines

if TYPE_CHECKING:
    from warrener.services.cli.requests import Request
    from warrener.services.outcomes import Outcome

_EXAMPLES = """Examples:

warrener run report.yaml --endpoints endpoints.py --param account=ada

warrener run reports:social_report --params @input.json --workers 8 --json

warrener run report.yaml --only merge --from 5f2c71e0

warrener run --resume 5f2c71e0"""
_PARTS: tuple[Literal["only", "upto", "downstream"], ...] = ("only", "upto", "downstream")
_NEW = (*_PARTS, "recorded", "given", "label", "key", "deadline", "param", "params")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", epilog=_EXAMPLES)(run)


def run(
    context: typer.Context,
    *,
    what: own.What = None,
    param: own.Param = None,
    params: own.Params = None,
    endpoints: options.Endpoints = None,
    workers: options.Workers = None,
    only: own.Only = None,
    upto: own.Upto = None,
    downstream: own.Downstream = None,
    recorded: own.Recorded = None,
    given: own.Given = None,
    label: own.Label = None,
    key: own.Key = None,
    deadline: own.Deadline = None,
    resume: own.Resume = None,
    wait_for_user: own.WaitForUser = False,
    runner: own.Runner = "processes",
    store: options.Store = None,
    log: options.Log = None,
    as_json: options.AsJson = False,
) -> None:
    """Run a job to its end here, with workers, and print what it gave.

    Where WARRENER_OTLP_URL names a collector, as http://localhost:4318, it gets the job's trace.
    """
    _check(context)
    session = Session(as_json=as_json, store=store, log=log, runs_users_code=True)
    from warrener.services.cli.requests import Request
    from warrener.services.submission import deadline_of

    request = Request(
        what=what,
        modules=tuple(endpoints or ()),
        params=values.params(params, param or ()),
        all_params=params is not None,
        labels=values.labels(label or ()),
        key=key,
        deadline=deadline_of(deadline, datetime.now(UTC)),
        mode=next((mode for mode in _PARTS if context.params[mode] is not None), None),
        step=only or upto or downstream or "",
        given=values.given(given or ()),
        recorded=recorded,
        resume=resume,
    )
    if wait_for_user and not session.keeps_jobs:
        raise UsageError("--wait-for-user: nobody can answer a run whose store is in memory")
    how = {"workers": workers, "mode": runner, "wait_for_user": wait_for_user}
    outcome = _run(session, request, how)
    with contextlib.suppress(StdoutClosed):
        print_outcome(session, outcome)
    if outcome.waiting:
        raise typer.Exit(WAITS_FOR_USER)
    raise typer.Exit(DONE if outcome.state == "succeeded" else JOB_FAILED)


def _check(context: typer.Context) -> None:
    """Refuse options that contradict each other."""
    given = {name for name, value in context.params.items() if value}
    parts = sorted(given & set(_PARTS))
    if len(parts) > 1:
        raise UsageError(f"{_flags(parts)} exclude each other")
    for name in sorted(given & {"recorded", "given"}):
        if not parts:
            raise UsageError(f"{_flags([name])} goes with --only, --upto or --downstream")
    if "resume" in given and given & set(_NEW):
        names = _flags(sorted(given & set(_NEW)))
        raise UsageError(f"--resume goes on with a job as it is: leave {names} out")
    if not given & {"what", "recorded", "resume"}:
        raise UsageError("say what to run: a .yaml or .json file, module:job or file.py:job")


def _flags(names: Sequence[str]) -> str:
    return " and ".join("--from" if name == "recorded" else f"--{name}" for name in names)


def _run(session: Session, request: Request, how: dict[str, Any]) -> Outcome:
    from warrener.services.cli.execution import execute
    from warrener.services.cli.requests import new_task, recorded_task, resumed_task, work_of
    from warrener.services.logs import log_of_job

    work = work_of(request)
    if work is not None and request.recorded is None and request.resume is None:
        task = new_task(request, work)  # refuses wrong parameters before there is a store
        with session.logs(create=True) as logs:
            return execute(session, logs, task, **how)
    with session.logs() as logs:
        job = session.find_job(logs, request.resume or request.recorded or "")
        prepare = recorded_task if request.resume is None else resumed_task
        task = prepare(log_of_job(logs, job), job, request, work)
        return execute(session, logs, task, **how)


def print_outcome(session: Session, outcome: Outcome) -> None:
    """Print how a job ended, and what it gave."""
    output = session.output
    if output.as_json:
        output.json(outcome_document(outcome))
        return
    if outcome.state == "succeeded":
        output.show(value_text(outcome.result))
    output.show(outcome_text(outcome))
    if outcome.error is not None:
        code, message = outcome.error.code, outcome.error.message
        output.show(Text.assemble(plain(code, "bold red"), ": ", plain(message)))
    if outcome.waiting:
        output.show(*waiting_lines(session, outcome))
    elif session.keeps_jobs:
        output.note(f"more: {session.command('show', outcome.job)}")


def outcome_document(outcome: Outcome) -> dict[str, Any]:
    """Return how a job ended, in the shape of `run --json`."""
    from warrener.services.shapes import Error

    return {**msgspec.structs.asdict(outcome), "error": Error.of(outcome.error)}


def outcome_text(outcome: Outcome) -> Text:
    """Return how a job ended, or that it waits for people, in one sentence."""
    if outcome.waiting:
        counted = Text.assemble(", so far ", counts_text(outcome.steps)) if outcome.steps else ""
        return Text.assemble(plain(f"{outcome.name} v{outcome.version} waits for people"), counted)
    return Text.assemble(
        plain(f"{outcome.name} v{outcome.version} "),
        state_text(outcome.state),
        f" in {duration(outcome.elapsed_seconds)}: ",
        counts_text(outcome.steps),
    )
