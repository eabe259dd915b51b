"""How long the long tests are: `WARRENER_TEST_SCALE` multiplies their seeds, cases and kills."""

from __future__ import annotations

import os


def scaled(count: int) -> int:
    """Return `count` times `WARRENER_TEST_SCALE`, a whole number that is 1 where it is not set."""
    return count * int(os.environ.get("WARRENER_TEST_SCALE", "1"))
