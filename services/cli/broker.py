"""`broker`: declares and shows what Warrener needs of a message broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from warrener.domain.errors import UsageError
from warrener.domain.partitions import PARTITIONS_MAX
from warrener.services.cli import options, values
from warrener.services.cli.failures import DONE, UNREACHABLE
from warrener.services.cli.output import Output, plain, table
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warrener.domain.broker_admin import BrokerAdmin, QueueInfo

_DECLARE_EXAMPLES = """Examples:

warrener broker declare --broker amqp://admin:secret@rabbit --queues default,fetch

warrener broker declare --broker 'amqp://localhost?queue_type=classic'

warrener broker declare --partitions 16"""
_INFO_EXAMPLES = """Examples:

warrener broker info --broker amqp://observer:secret@rabbit --json"""
_Queues = Annotated[
    str,
    typer.Option("--queues", metavar="Q,..", help="Queues of orders, as definitions call them."),
]
_Partitions = Annotated[
    int,
    typer.Option(
        "--partitions",
        min=1,
        max=PARTITIONS_MAX,
        metavar="N",
        help="Partitions of the store: 16 where MongoDB keeps it, if `store init` was not told.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    text = "Declare and show what Warrener needs of RabbitMQ."
    family = typer.Typer(name="broker", help=text, no_args_is_help=True)
    family.command("declare", epilog=_DECLARE_EXAMPLES)(declare)
    family.command("info", epilog=_INFO_EXAMPLES)(info)
    app.add_typer(family)


def declare(
    *,
    queues: _Queues = "default",
    partitions: _Partitions = 1,
    broker: options.Broker = None,
    as_json: options.AsJson = False,
) -> None:
    """Declare exchanges, queues and bindings; doing it again changes nothing."""
    session = Session(as_json=as_json, broker=broker)
    admin = _admin(session)
    admin.declare(_names(queues), partitions)
    _show(session.output, admin.info(_names(queues), partitions))


def info(
    *,
    queues: _Queues = "default",
    partitions: _Partitions = 1,
    broker: options.Broker = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the queues: how many messages wait, and how many consumers take part."""
    session = Session(as_json=as_json, broker=broker)
    found = _admin(session).info(_names(queues), partitions)
    _show(session.output, found)
    raise typer.Exit(DONE if all(queue.exists for queue in found) else UNREACHABLE)


def _admin(session: Session) -> BrokerAdmin:
    from warrener.services import wiring
    from warrener.services.settings import MEMORY_BROKER

    if session.settings.broker_url == MEMORY_BROKER:
        raise UsageError("no broker is named: give --broker URL, or set WARRENER_BROKER_URL")
    return wiring.open_broker_admin(session.settings.broker_url)


def _names(queues: str) -> list[str]:
    from warrener.domain.topology import QUEUE_NAME

    names = values.comma_separated([queues])
    for name in names:
        if not QUEUE_NAME.match(name):
            raise UsageError(f"{name!r} is not a name of a queue, such as fetch")
    return names


def _show(output: Output, found: Sequence[QueueInfo]) -> None:
    if output.as_json:
        for queue in found:
            output.json(queue)
        return
    rows = table("queue", "type", ">messages", ">consumers")
    for queue in found:
        numbers = (str(queue.messages), str(queue.consumers)) if queue.exists else ("", "")
        rows.add_row(plain(queue.queue), plain(queue.type if queue.exists else "missing"), *numbers)
    output.show(rows)
