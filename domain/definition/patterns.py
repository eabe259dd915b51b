"""Regular expressions of users, matched in time that is linear in the text.

The engine is RE2. Python's own takes exponential time for some patterns, and to compile others.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import re2

PATTERN_HINT = (
    "patterns are those of RE2, which matches in linear time: without look-around and"
    " back-references, at most 1000 repeats"
)
_MEMORY_BYTES_MAX = 128 * 1024  # of one compiled pattern; larger ones take long to refuse
_INSTRUCTIONS_PER_STEP = 40  # that RE2 does at its slowest in the time of one step of a check
_SEARCH_STEPS = 8


class PatternError(ValueError):
    """A text is no regular expression, or one that takes too much to match."""


class Pattern(NamedTuple):
    """A compiled pattern; `size` is the number of its instructions."""

    regexp: Any
    size: int

    def steps(self, text: str) -> int:
        """Return what a search in a text takes at worst, in steps of a check."""
        return _SEARCH_STEPS + self.size * len(text) // _INSTRUCTIONS_PER_STEP

    def found_in(self, text: str) -> bool:
        """Say whether some part of a text matches."""
        return self.regexp.search(text.encode("utf-8", "replace")) is not None


@lru_cache(256)
def compiled(pattern: str) -> Pattern:
    """Compile a pattern; raises `PatternError` that says what is wrong with it."""
    options = re2.Options()
    options.max_mem = _MEMORY_BYTES_MAX
    options.log_errors = False
    options.never_capture = True
    try:
        regexp = re2.compile(pattern.encode("utf-8", "replace"), options)
    except re2.error as error:
        reason = error.args[0] if error.args else "not supported"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise PatternError(text) from error
    return Pattern(regexp, regexp.programsize)
