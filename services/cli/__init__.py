"""The command line, `warrener COMMAND ...`: one module for each family of commands."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    try:
        from warrener.services.cli.app import run

        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:  # while it starts or ends; `run` takes care of the rest
        sys.exit(130)
