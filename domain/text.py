"""Text of users and of the other side, before people see it."""

from __future__ import annotations

import re
from typing import Final

_HOSTILE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def clean(text: object) -> str:
    """Return text in which nothing steers a terminal or hides: such characters are spelt out."""
    return _HOSTILE.sub(lambda found: f"\\u{ord(found[0]):04x}", str(text))


def one_line(text: object, characters_max: int = 200) -> str:
    """Return clean text on one line, cut where it is too long."""
    line = " ".join(clean(text).split())
    return line if len(line) <= characters_max else line[: characters_max - 1] + "…"
