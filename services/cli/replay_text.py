"""How `replay` tells people which point of the past they look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from warrener.services.cli.output import moment, plain

if TYPE_CHECKING:
    from warrener.services.past import Point


def point_text(point: Point) -> Text:
    """Return position and time, and the last event by then."""
    event = point.event
    last = f"{event.position} {event.path or '.'} {event.type} v{event.version}"
    return Text.assemble(
        ("as of ", "dim"),
        plain(f"{moment(point.at)}, position {point.position}"),
        ("; last event ", "dim"),
        plain(last),
    )
