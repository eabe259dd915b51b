"""From exceptions to exit codes and to one clear message each. Nobody ever sees a traceback."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
from rich.console import Console
from rich.text import Text

from warrener.domain import errors
from warrener.services.cli.output import Output, clean

DONE: Final = 0
JOB_FAILED: Final = 1
DAMAGED: Final = 1
DIFFERENT: Final = 1
WRONG_USAGE: Final = 2
WAITS_FOR_USER: Final = 3
UNREACHABLE: Final = 4
INTERRUPTED: Final = 130
CRASHED: Final = 1

_KINDS: Final[Sequence[tuple[type[Exception], str, int]]] = (
    (errors.DefinitionError, "invalid-definition", WRONG_USAGE),
    (errors.ParameterError, "invalid-params", WRONG_USAGE),
    (errors.UnknownJob, "unknown-job", WRONG_USAGE),
    (errors.UsageError, "usage", WRONG_USAGE),
    (errors.PayloadError, "invalid-value", WRONG_USAGE),
    (errors.ExpressionError, "invalid-expression", WRONG_USAGE),
    (errors.StoreUnavailable, "store-unavailable", UNREACHABLE),
    (errors.BrokerUnavailable, "broker-unavailable", UNREACHABLE),
    (errors.ServiceUnavailable, "unavailable", UNREACHABLE),
    (errors.Conflict, "conflict", UNREACHABLE),
    (errors.StoredDataError, "stored-data", UNREACHABLE),
)


class Interrupted(Exception):
    """The user or the system asked to stop; `again` is the command that goes on with the job."""

    def __init__(self, job: UUID | None = None, again: str = "") -> None:
        super().__init__("interrupted")
        self.job = job
        self.again = again


class Failure(msgspec.Struct, frozen=True):
    """What the user is told, and the exit code."""

    code: str
    message: str
    exit_code: int
    problems: Sequence[errors.Problem] = ()
    job: UUID | None = None
    retry_after: int | None = None  # seconds


def failure_of(error: BaseException) -> Failure:
    """Return what to say about an exception; one we did not foresee is written to a file."""
    if isinstance(error, Interrupted | KeyboardInterrupt):
        job, again = getattr(error, "job", None), getattr(error, "again", "")
        return Failure("interrupted", f"interrupted{again}", INTERRUPTED, job=job)
    problems = error.problems if isinstance(error, errors.DefinitionError) else ()
    if isinstance(error, errors.Busy):
        message = f"{error}; try again in {error.retry_after} s"
        return Failure("busy", message, UNREACHABLE, retry_after=error.retry_after)
    for kind, code, exit_code in _KINDS:
        if isinstance(error, kind):
            return Failure(code, str(error), exit_code, problems)
    return _crash(error)


def usage_failure(message: str, hint: str = "") -> Failure:
    """Return the failure of a command line that cannot be read."""
    text = message if message.endswith((".", "?")) else f"{message}."
    return Failure("usage", f"{text} {hint}".strip(), WRONG_USAGE)


def report(failure: Failure, output: Output) -> None:
    """Tell the user on stderr: as one JSON document, or as text with every problem in its place."""
    if output.as_json:
        document: dict[str, Any] = {"code": failure.code, "message": clean(failure.message)}
        document["problems"] = [_problem(problem) for problem in failure.problems]
        if failure.job is not None:
            document["job"] = failure.job
        if failure.retry_after is not None:
            document["retry_after"] = failure.retry_after
        sys.stderr.write(msgspec.json.encode({"error": document}).decode() + "\n")
        return
    if failure.problems:
        for problem in failure.problems:
            _print_problem(problem, output.err)
        return
    style = "" if failure.exit_code == INTERRUPTED else "bold red"
    head = "" if failure.exit_code == INTERRUPTED else "error: "
    output.err.print(Text.assemble((head, style), clean(failure.message)), soft_wrap=True)


def _problem(problem: errors.Problem) -> Mapping[str, Any]:
    fields = msgspec.structs.asdict(problem)
    return {key: clean(value) if isinstance(value, str) else value for key, value in fields.items()}


def _print_problem(problem: errors.Problem, console: Console) -> None:
    place = f"{problem.file}:{problem.line}" if problem.line else problem.file
    head = ": ".join(part for part in (place, problem.path) if part)
    text = Text.assemble((clean(f"{head}: " if head else ""), "bold"), clean(problem.message))
    console.print(text, soft_wrap=True)
    if problem.hint:
        console.print(Text(f"    {clean(problem.hint)}", "dim"), soft_wrap=True)


def _crash(error: BaseException) -> Failure:
    """Keep the traceback where a report can take it from; `WARRENER_DEBUG=1` shows it as well."""
    text = "".join(traceback.format_exception(error))
    if os.environ.get("WARRENER_DEBUG"):
        sys.stderr.write(text)
    summary = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    message = f"Warrener has a fault: {summary}; details are in {_keep(text)}"
    return Failure("crash", message, CRASHED)


def _keep(text: str) -> str:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    try:
        descriptor, name = tempfile.mkstemp(".txt", f"warrener-crash-{stamp}-")
        with os.fdopen(descriptor, "w", errors="backslashreplace") as stream:
            stream.write(text)
    except OSError:
        return "no file: none could be written"
    return str(Path(name))
