"""How things in definitions may be named."""

from __future__ import annotations

import re

from warrener.domain.definition.findings import Findings, matches, shown

NAME_LENGTH_MAX = 100
ENDPOINT_NAME_LENGTH_MAX = 200
STEP_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
JOB_NAME = re.compile(r"[a-z][a-z0-9-]*", re.ASCII)
ENDPOINT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)  # of queues, limits, signals


def check_plain_name(findings: Findings, path: str, name: object, what: str) -> None:
    """Note what is no name of a queue, a limit or a signal."""
    if not matches(PLAIN_NAME, name, NAME_LENGTH_MAX):
        findings.add(
            path,
            f"{shown(name)!r} is not a name of a {what}",
            f"use letters, digits, ., _ and -, at most {NAME_LENGTH_MAX}",
        )


def is_reserved(name: str) -> bool:
    """Say whether the name of a limit is none that a definition may give: see `domain.caps`."""
    return name.startswith("@")
