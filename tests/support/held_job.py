"""A job that is held by a file, another that waits for a signal, too, and daemons beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import ENDPOINTS, SUM_JOB, Cli
from support.daemons import Daemons

HOLD = """
job: hold
endpoints: [./endpoints.py]
params: {type: object, properties: {folder: {type: string}}}
steps:
  held: {call: t.hold, with: {folder: "${{ params.folder }}"}}
  sum: {call: t.add, with: {a: 1, b: 1}, after: [held]}
result: "${{ steps.sum.result }}"
"""
HOLD_AND_WAIT = HOLD.replace(
    "  sum: {call: t.add, with: {a: 1, b: 1}, after: [held]}",
    "  go: {wait: go, after: [held]}\n  sum: {call: t.add, with: {a: 1, b: 1}, after: [go]}",
)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    made = Cli(tmp_path)
    made.write(hold_yaml=HOLD, wait_yaml=HOLD_AND_WAIT)
    made.write(sum_yaml=SUM_JOB, endpoints_py=ENDPOINTS)
    return made


@pytest.fixture
def daemons(cli: Cli) -> Iterator[Daemons]:
    with Daemons(cli.folder, cli.variables) as found:
        yield found
