"""`store prune`."""

from __future__ import annotations

import typer


def register(family: typer.Typer) -> None:
    """Add the command."""
