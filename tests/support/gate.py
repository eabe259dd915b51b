"""A gate: a controller whose intake is bounded, driven by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
from support.situations import CALL, Estate

from warrener.domain.definition.model import JobDefinition
from warrener.domain.ids import job_id
from warrener.domain.messages import ChangeFlow, ChangeLimit, CommandReply
from warrener.domain.ports import Outgoing
from warrener.services.submission import Source, submission


def definition(name: str, steps: dict[str, Any] | None = None) -> JobDefinition:
    return msgspec.convert({"job": name, "steps": steps or {"a": CALL}}, JobDefinition)


ONE = definition("one")
OTHER = definition("other")


class Gate(Estate):
    """A driver of a controller whose intake is bounded."""

    def __init__(self, mode: str = "queue", **slots: int) -> None:
        super().__init__()
        assert self.command(ChangeFlow(intake=mode)) is None
        for name, count in slots.items():
            assert self.command(ChangeLimit(name=f"@{name}", slots=count)) is None

    def ask_for(self, key: str, what: JobDefinition = ONE, **more: Any) -> CommandReply:
        """Submit a job; return the answer."""
        message = submission(Source(what), {}, key=key, **more)
        self.handle(key, msgspec.structs.replace(message, reply_to="warrener.reply.me"))
        replies = [each for each in self.sent if isinstance(each, Outgoing)]
        return msgspec.json.decode(replies[-1].body, type=CommandReply)

    def states(self, *keys: str) -> list[str]:
        return [self.job(job_id(key)).state for key in keys]

    def end(self, key: str) -> None:
        """End the newest attempt of a job that is out."""
        steps = self.controller.memory.steps
        job = job_id(key)
        self.succeed(next(o for o in reversed(self.orders) if o.job == job and o.step in steps))

    def reload(self) -> None:
        measures = self.controller.flow.measures
        self.controller.forget()
        self.controller.flow.measures = measures
        assert not self.controller.recover(list(self.store.open_roots()), self.now)
        if self.controller.next_due(self.now) == self.now:
            self.handle("")


def full_gate() -> Gate:
    """Return a gate that one job has passed and two wait at."""
    gate = Gate(jobs=1)
    for key in ("first", "second", "third"):
        assert gate.ask_for(key).error is None
        gate.now += timedelta(seconds=1)
    return gate
