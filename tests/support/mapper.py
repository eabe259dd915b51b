"""A mapper as the library makes it, from settings."""

from __future__ import annotations

from typing import Any

from warrener.adapters.codec import EventMapper


class LibraryMapper(EventMapper):
    """Takes what the library's factory gives, and needs none of it."""

    def __init__(self, **_given: Any) -> None:
        super().__init__()
