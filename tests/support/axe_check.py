"""Accessibility of pages, checked by axe-core in the browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page
from support.node import install

PACKAGE = Path(__file__).parent / "axe"
_RUN = "axe.run(document, {resultTypes: ['violations']})"
_SERIOUS = ("serious", "critical")


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the script of axe-core."""
    folder = install(PACKAGE, tmp_path_factory.mktemp("npm") / "axe")
    yield (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


def serious_faults(page: Page, axe: str) -> list[str]:
    """Return what is hard or impossible to use on a page, in words."""
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate(_RUN)
    return [
        f"{each['id']}: {node['html'][:200]}: {node['failureSummary'][:300]}"
        for each in found["violations"]
        if each["impact"] in _SERIOUS
        for node in each["nodes"][:3]
    ]
