"""What a job that stopped waits for, and which command gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from warrener.services.cli.output import plain
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from warrener.services.outcomes import Outcome
    from warrener.services.people import Awaited

SHOWN_MAX: Final = 20


def waiting_lines(session: Session, outcome: Outcome) -> list[Text]:
    """Return who or what is waited for, and how to answer and go on."""
    if not session.keeps_jobs:
        return [plain("the store was in memory: nothing is kept")]
    lines = []
    answers = list(dict.fromkeys(_line(session, each) for each in outcome.waiting))
    lines += [plain(f"  {line}") for line in answers[:SHOWN_MAX]]
    if len(answers) > SHOWN_MAX:
        rest = session.command("actions")
        lines.append(plain(f"  and {len(answers) - SHOWN_MAX} more; user actions: {rest}"))
    return [*lines, plain(f"then go on with: {session.command('run', '--resume', outcome.job)}")]


def _line(session: Session, awaited: Awaited) -> str:
    if awaited.kind == "paused":
        return f"the job is paused: {session.command('resume', awaited.job)}"
    if awaited.request is not None:
        return f"{awaited.name}: {session.command('answer', awaited.request)}"
    data = ("--data", "JSON")
    return f"signal {awaited.name}: {session.command('signal', awaited.job, awaited.name, *data)}"
