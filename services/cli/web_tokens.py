"""`web token`: the tokens that let people and programs in over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from warrener.domain.errors import UsageError
from warrener.services.cli import options
from warrener.services.cli.output import moment, plain, table
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from warrener.domain.tokens import Tokens

_ADD_EXAMPLES = """Examples:

warrener web token add ada --role operator

warrener web token add prometheus --role viewer --expires 90d --json"""
_Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose it is; it is in the history.")]


def register(group: typer.Typer) -> None:
    """Add the commands to those of `web`."""
    own = typer.Typer(
        help="Tokens that let people and programs in over HTTP.",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    own.command("add", epilog=_ADD_EXAMPLES)(add)
    own.command("list")(list_tokens)
    own.command("remove")(remove)
    group.add_typer(own, name="token")


def add(
    *,
    name: _Name,
    role: Annotated[
        str, typer.Option("--role", metavar="ROLE", help="viewer, submitter or operator.")
    ] = "viewer",
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires", metavar="TIME", help="After so long, such as 90d.", show_default=False
        ),
    ] = None,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a token. It is shown once: what is kept does not give it back.

    A viewer reads, a submitter submits jobs as well, an operator does everything.
    """
    from warrener.services.shapes import optional_time
    from warrener.services.tokens import make

    session, now = Session(as_json=as_json, store=store), datetime.now(UTC)
    until = None if expires is None else now + timedelta(seconds=_seconds(expires))
    with _tokens(session) as tokens:
        text = make(tokens, name, role, now, until)
    if as_json:
        expires_at = optional_time(until)
        session.output.json({"name": name, "role": role, "token": text, "expires_at": expires_at})
        return
    session.output.note(f"the token of {name}, a {role}; it is not shown again:")
    session.output.show(text)


def list_tokens(*, store: options.Store = None, as_json: options.AsJson = False) -> None:
    """List whose tokens there are, not what they are."""
    from warrener.services.shapes import optional_time

    session = Session(as_json=as_json, store=store)
    with _tokens(session) as tokens:
        found = tokens.all()
    rows = table("name", "role", "made", "expires")
    for each in found:
        made, until = optional_time(each.created_at), optional_time(each.expires_at)
        rows.add_row(plain(each.name), each.role, moment(made), moment(until))
        if as_json:
            session.output.json(
                {"name": each.name, "role": each.role, "created_at": made, "expires_at": until}
            )
    if not as_json:
        session.output.show(rows if found else "no tokens")


def remove(*, name: _Name, store: options.Store = None, as_json: options.AsJson = False) -> None:
    """Remove a token; it lets nobody in any more, and its sessions end."""
    session = Session(as_json=as_json, store=store)
    with _tokens(session) as tokens:
        if not tokens.remove(name):
            known = ", ".join(each.name for each in tokens.all()) or "none"
            raise UsageError(f"there is no token {name!r}: there are {known}")
    session.output.json({"removed": name}) if as_json else session.output.show(f"{name} is removed")


@contextmanager
def _tokens(session: Session) -> Iterator[Tokens]:
    from warrener.services import wiring, wiring_web

    wiring.open_logs(session.settings.store_url, create=True).close()
    tokens = wiring_web.open_tokens(session.settings.store_url)
    try:
        yield tokens
    finally:
        tokens.close()


def _seconds(text: str) -> float:
    from warrener.domain.definition.durations import seconds

    try:
        return seconds(text)
    except ValueError as error:
        raise UsageError(f"--expires {text}: {error}") from None
