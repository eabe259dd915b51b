"""`diff`: two runs, or two attempts of a step, and where they first differ."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from warrener.domain.errors import UsageError
from warrener.services.cli import options
from warrener.services.cli.failures import DIFFERENT, DONE
from warrener.services.cli.output import (
    Output,
    clean,
    duration,
    number_of,
    one_line,
    plain,
    state_text,
    table,
    value_text,
)
from warrener.services.cli.session import Session
from warrener.services.histories.rules import MARK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warrener.services.diff import Compared, Difference, Side, StepPair, StepSide

VALUE_CHARACTERS_MAX = 300
_EXAMPLES = """Examples:

warrener diff 5f2c71e0 81b04f2a

warrener diff 5f2c71e0/groups[3] 5f2c71e0/groups[4] --json

warrener diff 5f2c71e0/merge --attempts 1,3

Exit codes: 0 they are the same but for times, 1 they differ."""

_A = Annotated[str, typer.Argument(metavar="JOB[/STEP]", help="A: a job, or a step of it.")]
_B = Annotated[
    str | None,
    typer.Argument(metavar="[JOB[/STEP]]", help="B. Not with --attempts.", show_default=False),
]
_Attempts = Annotated[
    str | None,
    typer.Option(
        "--attempts",
        metavar="N,M",
        help="Compare two attempts of one step.",
        show_default=False,
    ),
]
_Tree = Annotated[bool, typer.Option("--tree/--no-tree", help="With the jobs below them.")]
_Limit = Annotated[
    int, typer.Option("--limit", min=1, max=100_000, metavar="N", help="Steps told at most.")
]
_OtherStore = Annotated[
    str | None,
    typer.Option(
        "--other-store",
        metavar="URL",
        help="Where B is, if that is not the store of A.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("diff", epilog=_EXAMPLES)(diff)


def diff(
    *,
    a: _A,
    b: _B = None,
    attempts: _Attempts = None,
    tree: _Tree = True,
    limit: _Limit = 50,
    other_store: _OtherStore = None,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare two runs step by step, and name the first place at which they differ.

    Steps are the same if they were given the same and gave the same, after the same attempts.
    Times, workers and the texts of errors may differ.
    """
    session = Session(as_json=as_json, store=store)
    if (b is None) == (attempts is None):
        raise UsageError("give two jobs or two steps, or one step and --attempts N,M")
    if attempts is not None:
        found = _attempts(session, a, _numbers(attempts))
    else:
        found = _runs(session, a, b or "", other_store, {"tree": tree, "limit": limit})
    if as_json:
        session.output.json(found)
    else:
        _show(session.output, found)
    raise typer.Exit(DONE if found.same else DIFFERENT)


def _numbers(text: str) -> tuple[int, int]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(f"--attempts {text}: write two numbers, such as --attempts 1,3")
    return int(parts[0]), int(parts[1])


def _runs(
    session: Session, a: str, b: str, other_store: str | None, how: dict[str, Any]
) -> Compared:
    from warrener.services.diff import compare_runs

    other = session
    if other_store is not None:
        other = Session(as_json=session.output.as_json, store=other_store)
    with ExitStack() as stack:
        left = _side(stack, session, a)
        return compare_runs(left, _side(stack, other, b), **how)


def _attempts(session: Session, a: str, numbers: tuple[int, int]) -> Compared:
    from warrener.services.diff import compare_attempts

    with ExitStack() as stack:
        side = _side(stack, session, a)
        if side.place.path is None:
            raise UsageError(f"{a} is a job: --attempts compares those of a step, as {a}/STEP")
        return compare_attempts(side, numbers)


def _side(stack: ExitStack, session: Session, text: str) -> Side:
    """Find what a text names; its log stays open with the stack."""
    from warrener.services.diff import Side
    from warrener.services.logs import log_of_job

    logs = stack.enter_context(session.logs())
    with session.queries(logs) as queries:
        place = queries.locate(text)
    return Side(log_of_job(logs, place.job), place, text)


# --- for people ----------------------------------------------------------------------------------


def _show(output: Output, found: Compared) -> None:
    output.show(Text.assemble(("A ", "bold"), plain(found.a), ("  B ", "bold"), plain(found.b)))
    if found.first is None:
        output.show(f"the same in {_all(found.steps_compared)}, but for times")
    else:
        output.show(*_first(found.first))
    if found.steps:
        output.show(_steps(found.steps, found))
    if found.times:
        output.show(_times(found.times))


def _all(steps: int) -> str:
    return "its only step" if steps == 1 else f"all {number_of(steps, 'step')}"


def _first(first: Difference) -> list[Any]:
    head = Text.assemble(("first difference: ", "bold red"), plain(first.sentence, "bold"))
    return [head, *_values(first)]


def _values(first: Difference) -> list[Text]:
    """Return both values, where the sentence does not have them already."""
    if first.kind not in ("definition", "params", "inputs", "result", "error", "part"):
        return []
    sides = (("A", first.a), ("B", first.b))
    lines = [Text.assemble((f"  {name} ", "dim"), plain(_value(value))) for name, value in sides]
    if any(MARK in value_text(value) for _, value in sides if value is not msgspec.UNSET):
        lines.append(plain(_TAKEN_OUT, "yellow"))
    return lines


_TAKEN_OUT: Final = (
    "  values were taken out of an exported history:"
    " compare two that were exported by the same rules"
)


def _value(value: Any) -> str:
    if value is msgspec.UNSET:
        return "(absent)"
    return one_line(clean(value_text(value)), VALUE_CHARACTERS_MAX)


def _steps(steps: Sequence[StepPair], found: Compared) -> Table:
    shown = f"{len(steps)} of {found.steps_differing}" if found.left_out else str(len(steps))
    title = f"steps that differ: {shown} of {found.steps_compared} compared"
    rows = table("step", "what", "A", "B", ">attempts", ">seconds", "", title=title)
    for step in steps:
        rows.add_row(
            plain(step.path),
            plain(step.kind or ""),
            _state(step.a),
            _state(step.b),
            _both(step, lambda side: str(side.attempts)),
            _both(step, _seconds),
            plain("follows" if step.follows else "", "dim"),
        )
    return rows


def _times(steps: Sequence[StepPair]) -> Table:
    rows = table("step", ">A", ">B", ">B - A", title="times that differ most")
    for step in steps:
        a = step.a.seconds if step.a and step.a.seconds is not None else 0.0
        b = step.b.seconds if step.b and step.b.seconds is not None else 0.0
        sign = "+" if b > a else "-"
        rows.add_row(plain(step.path), duration(a), duration(b), f"{sign}{duration(abs(b - a))}")
    return rows


def _state(side: StepSide | None) -> Text:
    return plain("none", "dim") if side is None else state_text(side.state)


def _both(step: StepPair, text: Any) -> str:
    a, b = (text(side) if side is not None else "" for side in (step.a, step.b))
    return a if a == b else f"{a} / {b}"


def _seconds(side: StepSide) -> str:
    return "" if side.seconds is None else duration(side.seconds)
