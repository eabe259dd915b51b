"""Endpoints for jobs that pages show: each waits for a file, or fails until there is one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from warrener import endpoint

PATIENCE_SECONDS = 60.0
HOSTILE = "<script>hit()</script><img src=x onerror=hit()>\u202egnol\x07"


@endpoint("page.wait")
def wait(folder: str, name: str) -> str:
    """Return the name once there is a file of this name."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (Path(folder) / name).exists():
        assert time.monotonic() < deadline, f"no file {name}"
        time.sleep(0.02)
    return name


@endpoint("page.need")
def need(folder: str, name: str) -> str:
    """Fail as long as there is no file of this name."""
    if not (Path(folder) / name).exists():
        raise FileNotFoundError(f"no {name}: {HOSTILE}")
    return name


@endpoint("page.echo")
def echo(value: Any) -> Any:
    """Return what it gets."""
    return value


@endpoint("page.large")
def large() -> dict[str, Any]:
    """Return what no page may choke on."""
    return {HOSTILE: HOSTILE, "text": HOSTILE * 1000, "megabyte": "x" * 1_000_000}
