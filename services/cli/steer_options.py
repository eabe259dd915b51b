"""The options of commands that steer, one type each."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def _option(name: str, metavar: str, text: str, **more: Any) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False, **more)


JobOrPart = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="Id of a job, or the start of one; JOB/STEP is the job that a step started.",
    ),
]
JobOrStep = Annotated[
    str,
    typer.Argument(
        metavar="JOB[/STEP]", help="A job's id or the start of one, or a step such as JOB/merge."
    ),
]
Step = Annotated[
    str,
    typer.Argument(metavar="JOB/STEP", help="A step, such as 5f2c71e0/groups[3]/merge."),
]
Data = Annotated[
    str | None,
    _option("--data", "JSON|@FILE", "A JSON value; @FILE reads it from a file, @- from stdin."),
]
Key = Annotated[str | None, _option("--key", "KEY", "The same key asks for the same thing, once.")]
Reason = Annotated[str, _option("--reason", "TEXT", "Why; it is kept in the history.")]
By = Annotated[str | None, _option("--by", "NAME", "Who asks. Default: the login name.")]
