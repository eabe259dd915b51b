"""`actions` and `answer`: what people are asked for, and what they say."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from warrener.domain.errors import ParameterError, UsageError
from warrener.services.cli import options, targets, values
from warrener.services.cli import steer_options as own
from warrener.services.cli.output import moment, one_line, plain, table
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from warrener.services.control_shapes import ActionLine

_NAMED_IN_ERRORS = 5
_ACTIONS_EXAMPLES = """Examples:

warrener actions

warrener actions --cause facebook:ada --json"""
_ANSWER_EXAMPLES = """Examples:

warrener answer reconnect-facebook

warrener answer facebook:ada --data '{"token": "t-1"}'

warrener answer 7d0a6c2b --data @answer.json --reason "asked by phone" """


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("actions", epilog=_ACTIONS_EXAMPLES)(actions)
    app.command("answer", epilog=_ANSWER_EXAMPLES)(answer)


def actions(
    *,
    cause: Annotated[
        str | None,
        typer.Option("--cause", metavar="CAUSE", help="Only those of this cause."),
    ] = None,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """List what jobs wait for people to do, the newest first."""
    session = Session(as_json=as_json, store=store)
    with session.queries() as queries:
        found = queries.actions(cause)
    if as_json:
        for line in found:
            session.output.json(line)
    else:
        session.output.show(_list(found) if found else "nobody is asked for anything")


def answer(
    *,
    action: Annotated[
        str,
        typer.Argument(
            metavar="ACTION",
            help="Id of a request or the start of one, its cause, or the action if one is open.",
        ),
    ],
    data: own.Data = None,
    reason: own.Reason = "",
    by: own.By = None,
    store: options.Store = None,
    broker: options.Broker = None,
    as_json: options.AsJson = False,
) -> None:
    """Answer a request: every step that waits for it goes on.

    Without --data each field of the form is asked for on the terminal.
    """
    session = Session(as_json=as_json, store=store, broker=broker)
    value = None if data is None else values.json_or_file("--data", data)
    line = _find(session, action, whole_id_will_do=data is not None)
    if line is not None:
        value = _fitting(session, line, value, given=data is not None)
    request = UUID(action.strip()) if line is None else line.request
    with session.steering() as steering:
        targets.answered(steering.answer(request, value, by=by, reason=reason))
    name = str(request) if line is None else f"{line.action} ({line.cause})"
    targets.tell(session, "answer", f"{name} is answered", request=request)
    for waiter in line.waiting[:1] if line is not None else ():
        targets.say_how_to_go_on(session, waiter.job)


def _list(found: Sequence[ActionLine]) -> Any:
    rows = table("request", "action", "cause", "asks for", ">steps", "since", "until")
    for line in found:
        rows.add_row(
            str(line.request),
            plain(line.action),
            plain(line.cause),
            plain(one_line(line.message)),
            str(line.steps),
            moment(line.opened_at),
            moment(line.expires_at),
        )
    return rows


def _find(session: Session, text: str, *, whole_id_will_do: bool) -> ActionLine | None:
    """Return the request that a text names: an open one by cause or action, or any by its id.

    None for a whole id that a fleet judges: its store need not even be at hand.
    """
    if whole_id_will_do and session.has_fleet and _is_uuid(text):
        return None
    with session.queries() as queries:
        found = queries.actions(text)
        found = found or [line for line in queries.actions() if line.action == text]
        if not found:
            return queries.find_action(text)
    if len(found) > 1:
        raise UsageError(f"{text!r} names several requests: say which: {_listed(found)}")
    return found[0]


def _fitting(session: Session, line: ActionLine, value: Any, *, given: bool) -> Any:
    """Return the answer, checked against the form; asked for on a terminal if it was not given."""
    from warrener.services.cli import forms

    if line.state != "open":
        return value  # whoever carries it out says what became of the request
    if given:
        forms.check_fits(line.form, value)
        return value
    if line.form is None:
        return None
    if session.output.as_json or not sys.stdin.isatty():
        fields = forms.fields_text(line.form)
        raise ParameterError(f"{line.action} wants {fields}: give --data JSON, or --data @FILE")
    session.output.note(line.message or f"{line.action}: {line.cause}")
    return forms.fill_in(line.form, forms.ask_on_terminal, session.output.note)


def _listed(lines: Sequence[ActionLine]) -> str:
    named = [f"{line.request} ({line.action}, {line.cause})" for line in lines[:_NAMED_IN_ERRORS]]
    more = len(lines) - len(named)
    return ", ".join([*named, *([f"{more} more"] if more else [])])


def _is_uuid(text: str) -> bool:
    try:
        UUID(text.strip())
    except ValueError:
        return False
    return True
