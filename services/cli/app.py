"""The application: its commands, and the one place where every failure ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from warrener.services.cli import (
    actions,
    broker,
    check,
    debug,
    demo,
    diff,
    doctor,
    flow,
    graph,
    history,
    jobs,
    notifier,
    projector,
    reactor,
    replay,
    simulate,
    starvation,
    steer,
    store,
    submit,
    tuning,
    up,
    web,
    why,
    worker,
)
from warrener.services.cli import report as run_report
from warrener.services.cli import run as running
from warrener.services.cli.failures import (
    DONE,
    WRONG_USAGE,
    Failure,
    Interrupted,
    failure_of,
    report,
    usage_failure,
)
from warrener.services.cli.output import Output, StdoutClosed

_CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]  # of typer's own copy of click


class _Group(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Take two errors away from typer, which would end the program in its own way."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise RuntimeError(f"a pipe broke: {error}") from error
            raise


app = typer.Typer(
    cls=_Group,
    name="warrener",
    help="Runs jobs described as data, remembers every step, and says why something waits.",
    epilog="Begin with: warrener demo",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"warrener {version('warrener')}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


for _family in (
    demo,
    running,
    check,
    graph,
    jobs,
    history,
    why,
    replay,
    debug,
    diff,
    run_report,
    submit,
    steer,
    actions,
    tuning,
    simulate,
    flow,
    starvation,
    reactor,
    worker,
    notifier,
    projector,
    web,
    up,
    broker,
    store,
    doctor,
):
    _family.register(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = _run(list(arguments))
        sys.stdout.flush()
    except (StdoutClosed, BrokenPipeError):
        code = DONE
    _let_go_of_stdout()
    return code


def _run(arguments: list[str]) -> int:
    try:
        code = typer.main.get_command(app)(arguments, prog_name="warrener", standalone_mode=False)
    except (StdoutClosed, BrokenPipeError):
        raise
    except _CLICK_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            return WRONG_USAGE  # the help was shown
        return _tell(_misuse(error), arguments)
    except typer.Abort:
        return _tell(failure_of(Interrupted()), arguments)
    except (Exception, KeyboardInterrupt) as error:
        return _tell(failure_of(error), arguments)
    return code if isinstance(code, int) else DONE


def _misuse(error: Any) -> Failure:
    path = error.ctx.command_path if getattr(error, "ctx", None) else "warrener"
    return usage_failure(error.format_message(), f"See {path} --help")


def _tell(failure: Failure, arguments: Sequence[str]) -> int:
    with contextlib.suppress(BrokenPipeError, StdoutClosed):
        report(failure, Output(as_json="--json" in arguments))
        sys.stderr.flush()
    return failure.exit_code


def _let_go_of_stdout() -> None:
    """Keep the interpreter from complaining, when it exits, that nobody reads."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
