"""The options of `run`, one type each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer


def _option(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False)


What = Annotated[
    str | None,
    typer.Argument(
        metavar="WHAT",
        help="A YAML or JSON file, module:job or file.py:job. May be left out with --from.",
        show_default=False,
    ),
]
Param = Annotated[
    list[str] | None, _option("--param", "K=V", "A parameter; V is JSON where it parses.")
]
Params = Annotated[str | None, _option("--params", "JSON|@FILE", "All parameters at once.")]
Only = Annotated[str | None, _option("--only", "STEP", "Run this step alone.")]
Upto = Annotated[str | None, _option("--upto", "STEP", "Run this step and all that it needs.")]
Downstream = Annotated[
    str | None, _option("--downstream", "STEP", "Run this step and all that follows it.")
]
Recorded = Annotated[
    str | None,
    _option("--from", "JOB", "Take parameters and the results of steps not run from this job."),
]
Given = Annotated[
    list[str] | None, _option("--given", "STEP=JSON", "The result of a step that is not run.")
]
Label = Annotated[list[str] | None, _option("--label", "K=V", "A label, to find the job by.")]
Key = Annotated[str | None, _option("--key", "KEY", "The same key gives the same job, once.")]
Deadline = Annotated[
    str | None,
    _option(
        "--deadline",
        "TIME",
        "When it must have ended: a duration such as 2h, or a time such as 2026-01-31T08:00:00Z.",
    ),
]
Resume = Annotated[str | None, _option("--resume", "JOB", "Go on with a job of the log.")]
WaitForUser = Annotated[
    bool,
    typer.Option(
        "--wait-for-user",
        help="Wait for answers and signals; without it the run stops when it needs them, code 3.",
    ),
]
Runner = Annotated[
    Literal["processes", "threads", "inline"],
    typer.Option("--runner", help="Where endpoints run; only processes outlive their crashes."),
]
