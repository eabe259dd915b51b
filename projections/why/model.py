"""The words of an answer: what is asked about, what is found there, and what it waits for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Literal
from uuid import UUID

import msgspec

from warrener.domain.events import Error
from warrener.domain.ids import step_id

NAMED_MAX = 5  # in one sentence
BLOCKERS_MAX = 10  # beside each other
NEXT_MAX = 100  # that are looked at beside each other
MESSAGE_CHARACTERS_MAX = 200

Kind = Literal[
    "dependency",
    "retry",
    "limit",
    "rate",
    "window",
    "priority",
    "worker",
    "user-action",
    "signal",
    "timer",
    "children",
    "paused",
    "reactor",
    "store",
    "ended",
]


class Rank(IntEnum):
    """How telling a cause is among several: the least says most about why nothing happens."""

    PEOPLE = 0  # nothing moves until somebody does something
    HELD = 1
    CLOCK = 2
    RUNS = 3
    ENDED = 4


class Place(msgspec.Struct, frozen=True):
    """A job, or with `path` one of its own steps or items."""

    job: UUID
    path: str | None = None

    @property
    def id(self) -> UUID:
        """Return the id of the step, or that of the job."""
        return self.job if self.path is None else step_id(self.job, self.path)


class Blocker(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is in the way.

    `job` and `path` together name it as `JOB/PATH`. `depth` counts from 1, for what is directly in
    the way; of those with the same depth the last one leads on to the next depth.
    """

    kind: Literal["step", "job", "user-action"]
    id: UUID
    job: UUID
    path: str
    state: str
    since: datetime | None = None
    sentence: str = ""
    depth: int = 1


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What is found at one place.

    `says` is a sentence without its subject. With `next` it goes on with the name of one of those,
    which are what is waited for; without, it tells what else is. `inside` says that those are
    parts of this place, so that a sentence need not name both. `held` asks for a closer look at
    why the step is not released.
    """

    state: str
    kind: Kind
    says: str
    release: str
    since: datetime | None = None
    until: datetime | None = None
    next: tuple[Place, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    rank: Rank = Rank.RUNS
    inside: bool = False
    held: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Why something is in the state that it is in."""

    place: Place
    state: str
    kind: Kind
    since: datetime | None
    until: datetime | None
    sentence: str
    blockers: tuple[Blocker, ...]
    release: str


def moment(at: datetime | None) -> str:
    """Return a time as people read it, in UTC; fractions of a second only where there are any."""
    if at is None:
        return "an unknown time"
    text = at.strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{at.microsecond // 1000:03}Z" if at.microsecond else f"{text}Z"


def lasting(seconds: float) -> str:
    """Return a duration as people read it, such as `90 s` or `1:30:00 h`."""
    if seconds < 600:
        return f"{seconds:g} s"
    return f"{timedelta(seconds=round(seconds))} h"


def listed(names: Iterable[str], more: int = 0) -> str:
    """Return names as in a sentence, the first few of them."""
    known = list(names)
    left = max(0, len(known) - NAMED_MAX) + more
    shown = known[:NAMED_MAX] + ([f"{left} more"] if left else [])
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


def counted(states: Sequence[str]) -> str:
    """Return how many there are in each state, such as `2 running, 1 retrying`."""
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))


def cut(text: str) -> str:
    """Return text of others on one line, cut to what a sentence can hold."""
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_CHARACTERS_MAX else f"{line[:MESSAGE_CHARACTERS_MAX]}…"


def failure(error: Error | None) -> str:
    """Return an error as in a sentence: its code and message."""
    if error is None:
        return "an error that is not recorded"
    message = cut(error.message)
    return error.code if message in {"", error.code} else f"{error.code}: {message}"


def asked_by(by: str, reason: str) -> str:
    """Return who asked for something and why, as the end of a sentence."""
    return (f" by {cut(by)}" if by else "") + (f" ({cut(reason)})" if reason else "")
