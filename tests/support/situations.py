"""Situations for `why`: the real controller, driven by hand into every state there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

import msgspec
from support.asking import why
from support.driving import START, Driver

from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import Event, Recorded
from warrener.domain.fleet import Fleet
from warrener.domain.flow.lanes import Flow
from warrener.domain.messages import RunStep, WorkerHello
from warrener.services.controller import Controller
from warrener.services.shapes import Why, format_time
from warrener.services.turn import Chance

CALL = {"call": "work"}


class Estate(Driver):
    """A driver whose release windows follow the fleet, if `fleet` is asked for."""

    def __init__(self, *, fleet: bool = False) -> None:
        super().__init__()
        if fleet:
            known, tokens = Fleet(), count()
            chance = Chance(token=lambda: f"{next(tokens):032x}", jitter=lambda: 0.5)
            self.controller = Controller(
                self.store, lambda: Flow(known.slots), chance, "results", fleet=known
            )

    def begin(self, steps: dict[str, Any], key: str = "key", **more: Any) -> UUID:
        """Submit a job of these steps; jobs that it starts are given in `library`."""
        library = {name: definition(name, each) for name, each in more.pop("library", {}).items()}
        priority = more.pop("priority", 0)
        main = definition("main", steps, **more)
        return self.submit(main, {}, library, key, priority=priority)

    def hire(self, slots: int = 1, queue: str = "default", endpoint: str = "work") -> None:
        """Have a worker announce itself."""
        hello = WorkerHello(
            worker=f"w-{queue}",
            host="h",
            pid=1,
            endpoints=(endpoint,),
            queues=(queue,),
            slots=slots,
        )
        self.handle("hello", hello)

    def write(self, stream: UUID, kind: type[Event], **fields: Any) -> None:
        """Write an event that the controller does not write here."""
        last = self.store.last(stream)
        version = last.originator_version + 1 if last else 1
        event = kind(at=self.now, cause="test", **fields)
        self.store.commit([Recorded(stream, version, event)], {})

    def newest(self, path: str, job: UUID) -> RunStep:
        """Return the newest order for a step of a job."""
        found = (each for each in reversed(self.orders) if (each.job, each.path) == (job, path))
        return next(found)

    def child(self, job: UUID, path: str) -> UUID:
        """Return the child job of a step."""
        found = self.step(job, path).child
        assert found is not None
        return found

    def why(self, job: UUID, path: str = "", **at: Any) -> Why:
        """Ask."""
        return why(self.store, job, path, now=self.now, **at)


def definition(name: str, steps: dict[str, Any], **more: Any) -> JobDefinition:
    """Return a definition with these steps."""
    return msgspec.convert({"job": name, "steps": steps, **more}, JobDefinition)


@dataclass(frozen=True)
class Situation:
    """A way into a state, what is to be said about it, and what changes it.

    `root` is the path of the last blocker, `says` what the sentence must have in it.
    """

    build: Callable[[Estate], UUID]
    path: str
    kind: str
    says: tuple[str, ...]
    root: str | None = None
    state: str = ""
    release: str = ""
    until: float | None = None  # seconds from the start
    change: Callable[[Estate, UUID], Any] | None = None
    fleet: bool = False


def request_of(driver: Driver, job: UUID, path: str) -> UUID:
    """Return the request that a step waits for."""
    found = driver.step(job, path).request
    assert found is not None
    return found


def after(*names: str, **more: Any) -> dict[str, Any]:
    """Return a step that runs after others."""
    return {"call": "work", "after": list(names), **more}


def succeed(path: str, result: Any = None) -> Callable[[Estate, UUID], Any]:
    """Return what has a step of the job succeed."""
    return lambda driver, job: driver.succeed(driver.newest(path, job), result)


def check(situation: Situation) -> None:
    """Build a situation, ask, let something change it, and ask again about both times."""
    driver = Estate(fleet=situation.fleet)
    job = situation.build(driver)
    found, then = driver.why(job, situation.path), driver.now
    _check_answer(situation, found)

    driver.now = then + timedelta(microseconds=1)
    if situation.change is None:
        driver.begin({"a": CALL}, key="another")
    else:
        situation.change(driver, job)
        later = driver.why(job, situation.path)
        assert (later.state, later.waiting) != (found.state, found.waiting)
    assert driver.why(job, situation.path, at=then) == found


def _check_answer(situation: Situation, found: Why) -> None:
    waiting = found.waiting
    assert waiting.kind == situation.kind
    for part in situation.says:
        assert part in waiting.sentence
    assert situation.release in waiting.release
    assert found.state == situation.state or not situation.state
    roots = [blocker.path for blocker in waiting.blockers][-1:]
    assert roots == ([] if situation.root is None else [situation.root])
    if situation.until is not None:
        assert waiting.until == format_time(START + timedelta(seconds=situation.until))
