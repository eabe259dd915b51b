"""`store verify`: says whether a store is what Warrener wrote."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

import typer

from warrener.domain.errors import UsageError
from warrener.services.cli import options
from warrener.services.cli.failures import DAMAGED, DONE
from warrener.services.cli.output import table
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from warrener.services.cli.output import Output
    from warrener.services.upkeep.commits import Part
    from warrener.services.upkeep.verify import Checked, Damage

_LINK: Final = re.compile(r"([0-9a-f]{64})@(?:(\d{1,4})/)?(\d{1,18})", re.ASCII)
_DAMAGES_SHOWN_MAX: Final = 1_000
_EXAMPLES = """Examples:

warrener store verify --store sqlite:///jobs.db

warrener store verify --expect-link 5f2c...e1@0/81236

The link of the last commit is shown at the end: whoever keeps it can prove later, with
--expect-link, that nothing up to that position was changed."""


def register(family: typer.Typer) -> None:
    """Add the command."""
    family.command("verify", epilog=_EXAMPLES)(verify)


def verify(
    *,
    partition: Annotated[
        int | None,
        typer.Option("--partition", min=0, metavar="P", help="Only this one.", show_default=False),
    ] = None,
    start: Annotated[
        int, typer.Option("--from", min=1, metavar="POSITION", help="Only from there on.")
    ] = 1,
    expected: Annotated[
        list[str] | None,
        typer.Option(
            "--expect-link",
            metavar="HEX@[P/]POSITION",
            help="A link that was kept: what led to it must be unchanged. May be repeated.",
            show_default=False,
        ),
    ] = None,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Check positions, versions, the chain of hashes, events and blobs.

    Ends with 0 if all is well and with 1 if something is damaged; each damage is one line.
    """
    from warrener.services import wiring_store
    from warrener.services.upkeep.commits import parts_of

    session = Session(as_json=as_json, store=store)
    links = _links(expected or [], start)
    damages: list[Damage] = []
    with wiring_store.opened_logs(session.settings.store_url) as logs:
        parts = [part for part in parts_of(logs) if partition in (None, part.partition)]
        if not parts or any(number >= logs.count for number in links):
            raise UsageError(f"the store has partitions 0 to {logs.count - 1}")
        checked = [_check(session.output, part, start, links, damages) for part in parts]
    _show(session.output, checked, damages)
    raise typer.Exit(DAMAGED if any(each.damages for each in checked) else DONE)


def _check(
    output: Output,
    part: Part,
    start: int,
    links: Mapping[int, Mapping[int, bytes]],
    damages: list[Damage],
) -> Checked:
    from warrener.services.cli.progress import working
    from warrener.services.upkeep.verify import verify_part

    def take(damage: Damage) -> None:
        if len(damages) < _DAMAGES_SHOWN_MAX:
            damages.append(damage)

    expected = links.get(part.partition)
    with working(output, "events", f"checking partition {part.partition}") as report:
        return verify_part(part, take, start=start, expected=expected, on_progress=report)


def _links(given: Sequence[str], start: int) -> dict[int, dict[int, bytes]]:
    """Return the links that are expected, by partition and position."""
    found: dict[int, dict[int, bytes]] = {}
    for text in given:
        match = _LINK.fullmatch(text.strip().lower())
        if match is None:
            raise UsageError(
                f"--expect-link {text}: write 64 hexadecimal digits, @, partition/position"
            )
        position = int(match[3])
        if position < start:
            raise UsageError(f"--expect-link {text}: its position is before --from {start}")
        found.setdefault(int(match[2] or 0), {})[position] = bytes.fromhex(match[1])
    return found


def _show(output: Output, checked: Sequence[Checked], damages: Sequence[Damage]) -> None:
    total = sum(each.damages for each in checked)
    if output.as_json:
        output.json({"clean": not total, "damages": damages, "count": total, "partitions": checked})
        return
    for each in damages:
        place = f"partition {each.partition}, position {each.position}"
        output.show(f"damaged: {place}: {each.what}; {each.advice}")
    if total > len(damages):
        output.show(f"and {total - len(damages)} more")
    rows = table("partition", ">from", ">to", ">commits", ">blobs", ">damages")
    for one in checked:
        numbers = (one.first, one.last, one.commits, one.blobs, one.damages)
        rows.add_row(str(one.partition), *map(str, numbers))
    output.show(rows)
    for one in checked:
        output.show(f"last link: {one.link}@{one.partition}/{one.last}")
    output.show("the store is damaged" if total else "the store is whole")
