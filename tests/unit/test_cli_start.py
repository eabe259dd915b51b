"""The command line starts quickly: it loads what a command needs when that command runs."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("cel", "eventsourcing", "httpx", "jinja2", "opentelemetry", "pika", "pymongo")


def test_no_command_is_paid_for_by_all_others() -> None:
    program = "import sys, warrener.services.cli.app; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint(HEAVY)
