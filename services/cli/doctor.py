"""`doctor`: looks at everything that Warrener stands on, and says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from warrener.services.cli import options
from warrener.services.cli.failures import DONE, UNREACHABLE
from warrener.services.cli.output import Output, plain, table
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warrener.services.cli.health import Check

_EXAMPLES = """Examples:

warrener doctor

warrener doctor --store sqlite:///jobs.db --json"""
_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", epilog=_EXAMPLES)(doctor)


def doctor(store: options.Store = None, as_json: options.AsJson = False) -> None:
    """Check versions, the store, the disk and the terminal."""
    from warrener.services.cli.health import examine

    session = Session(as_json=as_json, store=store)
    checks = examine(session.settings)
    ok = all(check.state != "failed" for check in checks)
    if as_json:
        session.output.json({"ok": ok, "checks": checks})
    else:
        _show(session.output, checks)
    raise typer.Exit(DONE if ok else UNREACHABLE)


def _show(output: Output, checks: Sequence[Check]) -> None:
    rows = table("check", "", "found", "what to do")
    for check in checks:
        state = plain(check.state, _STYLES[check.state])
        rows.add_row(plain(check.check), state, plain(check.detail), plain(check.advice))
    output.show(rows)
