"""The command line starts quickly: it loads what a command needs when that command runs."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "cel",
    "eventsourcing",
    "httpx",
    "jinja2",
    "litestar",
    "opentelemetry",
    "pika",
    "pymongo",
    "uvicorn",
)


def loaded_by(program: str) -> set[str]:
    """Return the modules that a program prints."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_no_command_is_paid_for_by_all_others() -> None:
    loaded = loaded_by("import sys, warrener.services.cli.app; print(*sys.modules)")

    assert {name.partition(".")[0] for name in loaded}.isdisjoint(HEAVY)


def test_expressions_bring_no_library_for_terminals_which_others_can_have() -> None:
    program = "import sys, warrener.domain.expressions; print(*sys.modules); import cel.cli as c; "
    loaded = loaded_by(program + "assert callable(c.main)")

    assert "cel.cel" in loaded
    assert loaded.isdisjoint({"cel.cli", "prompt_toolkit"})
