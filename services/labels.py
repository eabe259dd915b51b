"""Labels of jobs: those of users, and ours among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RESERVED: Final = "warrener."  # labels of ours begin so


def own_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that users gave, without ours."""
    return {key: value for key, value in labels.items() if not key.startswith(RESERVED)}
