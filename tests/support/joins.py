"""The table of joins, row by row.

Each takes the outcomes (ok, failed, skipped) of the required dependencies that have ended, and
whether that is all of them: no required one is left, no edge undecided.
"""

from __future__ import annotations

from collections.abc import Callable

RUN = "run"
Verdict = str | None  # RUN, the state the step ends in, or None: not decided


def _all_ok(outcomes: list[str], complete: bool) -> Verdict:
    if "failed" in outcomes:
        return "upstream_failed"
    if not complete:
        return None
    return RUN if "ok" in outcomes or not outcomes else "skipped"


def _all_done(outcomes: list[str], complete: bool) -> Verdict:
    return RUN if complete else None


def _any_ok(outcomes: list[str], complete: bool) -> Verdict:
    if "ok" in outcomes:
        return RUN
    if not complete:
        return None
    return "upstream_failed" if "failed" in outcomes else "skipped"


def _any_failed(outcomes: list[str], complete: bool) -> Verdict:
    if "failed" in outcomes:
        return RUN
    return "skipped" if complete else None


def _all_failed(outcomes: list[str], complete: bool) -> Verdict:
    if "ok" in outcomes:
        return "skipped"
    if not complete:
        return None
    return RUN if "failed" in outcomes else "skipped"


JOINS: dict[str, Callable[[list[str], bool], Verdict]] = {
    "all_ok": _all_ok,
    "all_done": _all_done,
    "any_ok": _any_ok,
    "any_failed": _any_failed,
    "all_failed": _all_failed,
}
