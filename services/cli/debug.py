"""`debug`: the endpoint of a step once more, here, on the recorded input of an attempt."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.text import Text

from warrener.domain.errors import UsageError
from warrener.services.cli import options
from warrener.services.cli.failures import DONE, JOB_FAILED, Interrupted
from warrener.services.cli.output import (
    Output,
    clean,
    duration,
    error_text,
    one_line,
    plain,
    state_text,
    value_text,
)
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from warrener.services.debugger import Debugger
    from warrener.services.debugging import Case, Debugged, Recorded, Unlike
    from warrener.services.shapes import Error

_EXAMPLES = """Examples:

warrener debug 5f2c71e0

warrener debug 5f2c71e0/groups[3]/merge --attempt 2 --pdb

warrener debug 5f2c71e0/merge --endpoints endpoints.py --record --json

Exit codes: 0 the endpoint succeeded, 1 it failed; with --record 0 it went as recorded, 1 it did
not; 130 it was interrupted, or the debugger was quit before its end."""

_What = Annotated[
    str,
    typer.Argument(
        metavar="JOB[/STEP]",
        help="A step of a job. Without STEP: the step that made the job fail.",
    ),
]
_Attempt = Annotated[
    int | None,
    typer.Option(
        "--attempt",
        min=1,
        metavar="N",
        help="Default: the last attempt that failed, else the last one.",
        show_default=False,
    ),
]
_Pdb = Annotated[
    bool, typer.Option("--pdb", help="Where the endpoint raises, look around in the debugger.")
]
_Break = Annotated[
    bool,
    typer.Option(
        "--break", help="Stop at the endpoint's first line in the debugger; then as with --pdb."
    ),
]
_Record = Annotated[
    bool,
    typer.Option("--record", help="Compare with what was recorded; the exit code tells it, too."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("debug", epilog=_EXAMPLES)(debug)


def debug(
    *,
    what: _What,
    attempt: _Attempt = None,
    endpoints: options.Endpoints = None,
    pdb: _Pdb = False,
    stop: _Break = False,
    record: _Record = False,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Run the endpoint of a step here, on the recorded input of an attempt, for nobody.

    Nothing is recorded or sent. But what the endpoint does outside is real: it reads and writes
    what it always does. Its token is no attempt's, and current_step().debugging is true.
    """
    session = Session(as_json=as_json, store=store, runs_users_code=True)
    if pdb or stop:
        _check_terminal()
    case = _case(session, what, attempt)
    if record:
        _check_recorded(case)
    found = _run(session, case, tuple(endpoints or ()), pdb=pdb or stop, stop=stop)
    if as_json:
        session.output.json(found)
    else:
        _show(session.output, found, record=record)
    good = found.same if record else found.outcome == "succeeded"
    raise typer.Exit(DONE if good else JOB_FAILED)


def _check_terminal() -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("the debugger needs a terminal: leave --pdb and --break out, or use one")


def _case(session: Session, what: str, attempt: int | None) -> Case:
    from warrener.services.blame import step_to_run
    from warrener.services.debugging import case_of
    from warrener.services.logs import log_of_job

    with session.logs() as logs, session.queries(logs) as queries:
        place = step_to_run(queries, what)
        found = case_of(log_of_job(logs, place.job), place, attempt)
        if found is None:
            raise UsageError(f"step {place.path} of job {place.job} has not gone out yet")
        return found


def _check_recorded(case: Case) -> None:
    from warrener.services.debugging import comparable

    if not comparable(case):
        outcome = case.recording.outcome or "still under way"
        number = case.order.attempt
        raise UsageError(f"--record: attempt {number} has no outcome of its own: it is {outcome}")


def _run(
    session: Session, case: Case, endpoints: tuple[str, ...], *, pdb: bool, stop: bool
) -> Debugged:
    """Load the endpoint and run it, in the debugger if that is asked for."""
    from warrener.services import wiring
    from warrener.services.debugger import Debugger
    from warrener.services.debugging import endpoint_of, run_here
    from warrener.services.endpoints import REGISTRY

    _load(session, case, endpoints)
    endpoint = endpoint_of(case, REGISTRY)
    _announce(session.output, case, endpoint.place)
    debugger = Debugger(endpoint)
    hear = _post_mortem(session.output, debugger) if pdb else None

    def run() -> Debugged:
        return run_here(case, REGISTRY, wiring.open_clock(), hear)

    found = debugger.call(run) if stop else run()
    if debugger.was_quit:
        raise Interrupted
    return found


def _post_mortem(output: Output, debugger: Debugger) -> Callable[[BaseException], None]:
    def hear(error: BaseException) -> None:
        if not debugger.post_mortem(error):
            output.note("it was not the endpoint's code that raised: there is nothing to look at")

    return hear


def _load(session: Session, case: Case, endpoints: tuple[str, ...]) -> None:
    """Load the modules that are named, else those that `run` recorded with the job.

    Those only from a store that this machine's runs write: what somebody else may have sent, such
    as a history in a file, does not say what is loaded here.
    """
    from warrener.services.cli.requests import recorded_modules
    from warrener.services.settings import store_kind
    from warrener.services.sources import Module, load_modules

    modules = tuple(Module.named(name, Path.cwd()) for name in endpoints)
    recorded = recorded_modules(case.labels)
    if store_kind(session.settings.store_url) == "sqlite":
        modules = modules or recorded
    if not modules:
        seen = _seen_in(case, [module.name for module in recorded])
        raise UsageError(f"name the module that has {case.order.endpoint} with --endpoints{seen}")
    try:
        load_modules(modules)
    except UsageError as error:
        if endpoints:
            raise
        raise UsageError(f"{error} (recorded with the job: --endpoints names another)") from error


def _seen_in(case: Case, modules: Sequence[str]) -> str:
    """Return where the endpoint was when it ran, as a hint: nothing is loaded for having been."""
    if modules:
        return f"; the run had {one_line(', '.join(modules))}"
    error = case.recording.error
    lines = (error.traceback or "").splitlines() if error else []
    line = next((line for line in lines if "File " in line), "")
    return f"; the recorded traceback has {one_line(line.strip())}" if line else ""


# --- for people ----------------------------------------------------------------------------------


def _announce(output: Output, case: Case, place: tuple[str, int, str]) -> None:
    from warrener.services.debugging import recorded_of, redacted

    if output.as_json:
        return
    file, line, _ = place
    order = case.order
    output.show(
        Text.assemble(
            plain(order.endpoint, "bold"),
            plain(f" at {file}:{line}, on the input of attempt {order.attempt} of {order.path}"),
        ),
        _recorded_text(recorded_of(case)),
    )
    if redacted(case):
        output.note("values were taken out of the recorded input, so it may go another way here")
    if output.err.is_terminal:
        output.note("nothing is recorded or sent, but what the endpoint does outside is real")


def _recorded_text(recorded: Recorded) -> Text:
    text = Text.assemble(("recorded: ", "dim"), _outcome(recorded.outcome or "under way"))
    if recorded.worker:
        text.append_text(plain(f" on {recorded.worker}", "dim"))
    if recorded.error is not None:
        text.append_text(_error(recorded.error))
    if recorded.user_action is not None:
        text.append_text(plain(f": it asked for help with {recorded.user_action}"))
    return text


def _show(output: Output, found: Debugged, *, record: bool) -> None:
    if found.error is not None and found.error.traceback:
        output.show(_indented(found.error.traceback))
    text = Text.assemble(
        ("here: ", "dim"), _outcome(found.outcome), f" in {duration(found.seconds)}"
    )
    if found.error is not None:
        text.append_text(_error(found.error))
    output.show(text)
    if found.outcome == "succeeded":
        output.show(Text.assemble(("result ", "dim"), plain(value_text(found.result))))
    if record:
        output.show(_comparison(found.difference))


def _outcome(outcome: str) -> Text:
    colours = {"permanent": "failed", "retry": "failed", "timed_out": "failed"}
    return Text(clean(outcome), state_text(colours.get(outcome, outcome)).style)


def _error(error: Error) -> Text:
    return Text.assemble(": ", error_text(error.code, one_line(error.message)))


def _comparison(difference: Unlike | None) -> Text:
    if difference is None:
        return Text("as recorded", "green")
    return Text.assemble(
        ("not as recorded", "bold red"),
        plain(f": {difference.path} was {_value(difference.recorded)}"),
        plain(f", here it is {_value(difference.here)}"),
    )


def _value(value: Any) -> str:
    return "absent" if value is msgspec.UNSET else one_line(value_text(value))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.rstrip("\n").splitlines())
