"""What a comparison says: differences of steps, and where the first one is."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from warrener.projections.diff.facts import StepFacts
from warrener.projections.diff.values import ABSENT

Kind = Literal[
    "definition",  # of the job: a part of it is another one
    "params",  # of the job
    "part",  # another part of the job is run, or other results are given
    "only-in-a",  # the step is in one of them only
    "only-in-b",
    "edge",  # a conditional edge was decided otherwise
    "when",  # the step's condition was decided otherwise
    "order",  # another dependency had ended first
    "inputs",  # arguments, parameters of the child job, or items
    "count",  # of the items of a fan-out
    "state",
    "error",  # code or type
    "attempts",  # their number, or what became of them
    "result",
]


class Divergence(msgspec.Struct, frozen=True):
    """One difference. `path` is the step's, "" for the job; `place` is inside of what differs."""

    kind: Kind
    path: str
    place: str = ""
    a: Any = ABSENT
    b: Any = ABSENT


class Row(msgspec.Struct, frozen=True):
    """A step of both runs; `kind` is None where they agree, but for times.

    `follows` says that something differs already that the step depends on.
    """

    path: str
    a: StepFacts | None
    b: StepFacts | None
    kind: Kind | None
    follows: bool


CAUSE, EFFECT = 0, 1  # ranks of differences

_OWN_DOING = frozenset({"state", "error", "attempts", "result", "order"})


def rank(own: Divergence | None, a: StepFacts, b: StepFacts, *, weak: bool) -> int:
    """Return whether a difference of a step may be a cause, or is one of another one's effects.

    What was cancelled, or never began, was so for something else. With `weak` an effect is before
    the step, which explains what it was given, but not what it made of that.
    """
    if own is None:
        return CAUSE
    if own.kind == "state" and ("cancelled" in (a.state, b.state) or not (a.begun and b.begun)):
        return EFFECT
    return EFFECT if weak and own.kind not in _OWN_DOING else CAUSE
