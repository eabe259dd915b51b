"""The words of a run report: kinds of time as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from warrener.projections.report import model
from warrener.projections.why.model import cut

LABELS: Final[Mapping[str, str]] = {  # in the order in which they are shown
    model.COMPUTING: "computing",
    model.WORKER: "waiting for a worker",
    "limit": "held by a limit",
    "rate": "held by a rate",
    model.TURN: "waiting for its turn",
    "priority": "behind what has priority",
    model.WINDOW: "held by its window",
    model.HELD: "held back",
    model.PAUSED: "paused",
    model.INTAKE: "waiting for its start",
    model.RETRY: "waiting to try again",
    model.USER: "waiting for a person",
    model.SIGNAL: "waiting for a signal",
    model.TIMER: "sleeping",
    model.DEPENDENCY: "waiting for dependencies",
    model.CHILDREN: "waiting for what it started",
    model.REACTOR: "controller and messages",
    model.RERUN: "done again since",
    model.OTHER: "short stretches",
}

_SENTENCES: Final[Mapping[str, str]] = {
    model.COMPUTING: "attempt {attempt} runs{on}",
    model.WORKER: "attempt {attempt} waits for a worker of queue {note}",
    model.HELD: "is ready and held back",
    model.WINDOW: "waits for room in the window of its fan-out",
    model.PAUSED: "is held while its job is paused",
    model.INTAKE: "waits for its start",
    model.RETRY: "waits to be tried again after attempt {attempt}: {note}",
    model.USER: "waits for a person{about}",
    model.SIGNAL: "waits for the signal {note}",
    model.TIMER: "sleeps",
    model.DEPENDENCY: "waits for its dependencies",
    model.CHILDREN: "waits for what it started",
    model.REACTOR: "the controller decides, or messages are on their way",
    model.RERUN: "what was done then was done again later",
    model.OTHER: "{note} too short to be told",
}


def label(kind: str) -> str:
    """Return a kind of time as people read it."""
    return LABELS.get(kind, kind)


def sentence(kind: str, attempt: int, note: str) -> str:
    """Return what a step or a job does, without its subject."""
    text = cut(note)
    return _SENTENCES.get(kind, label(kind)).format(
        attempt=attempt,
        note=text or "that is not named",
        on=f" on {text}" if text else "",
        about=f": {text}" if text else "",
    )
