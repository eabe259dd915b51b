"""The table of joins: when a step runs, given what its required dependencies came to."""

from __future__ import annotations

from typing import Literal

import msgspec

from warrener.domain.definition.model import Join

Verdict = Literal["run", "upstream_failed", "skipped"]


class Seen(msgspec.Struct):
    """The required dependencies of a step, as they are now.

    `waiting` says that one has not ended or an edge is undecided; `required` that there is any.
    """

    ok: bool = False
    failed: bool = False
    waiting: bool = False
    required: bool = False


def verdict(join: Join, seen: Seen) -> Verdict | None:
    """Return what becomes of a step, None while that is open."""
    early, final = _early_and_final(join, seen)
    if early is not None:
        return early
    return None if seen.waiting else final


def _early_and_final(join: Join, seen: Seen) -> tuple[Verdict | None, Verdict]:
    """Return the verdict that need not wait, if any, and the one for when all have ended."""
    match join:
        case Join.ALL_OK:
            final: Verdict = "run" if seen.ok or not seen.required else "skipped"
            return "upstream_failed" if seen.failed else None, final
        case Join.ALL_DONE:
            return None, "run"
        case Join.ANY_OK:
            return "run" if seen.ok else None, "upstream_failed" if seen.failed else "skipped"
        case Join.ANY_FAILED:
            return "run" if seen.failed else None, "skipped"
        case Join.ALL_FAILED:
            return "skipped" if seen.ok else None, "run" if seen.failed else "skipped"
