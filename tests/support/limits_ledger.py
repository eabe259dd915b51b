"""Counts by the logs of all partitions what is out under limits, and says when that is too much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from support.world import START

from warrener.domain.caps import NO_KEY, ROOT, bounds_jobs, names_for_job, names_for_step
from warrener.domain.control_events import FlowChanged, LimitChanged
from warrener.domain.definition.model import Rate
from warrener.domain.definition.names import is_reserved
from warrener.domain.events import JobEnded, JobStarted, JobSubmitted, Recorded
from warrener.domain.flow.ready import Stage
from warrener.domain.ids import split_path
from warrener.domain.step_events import Held, StepEvent, StepProgressed, StepReleased, StepStarted


class Exceeded(AssertionError):
    """More went out than a limit lets."""


class Settling:
    """How far the first slots of a limit are: what was out before is held once all have said so.

    A partition says so when it asks for its shares next; the others hear of that when they ask.
    """

    def __init__(self) -> None:
        self.rounds = 0
        self.since: datetime | None = None  # None: not all partitions know of the slots

    @property
    def done(self) -> bool:
        return self.rounds == 2

    def look(self, *, all_know: bool, at: datetime) -> None:
        if not all_know:
            self.rounds, self.since = 0, None
        elif self.since is None:
            self.since = at

    def balanced(self, all_since: datetime, now: datetime) -> None:
        """All partitions have asked for their shares since a time."""
        if self.since is not None and not self.done and all_since > self.since:
            self.rounds, self.since = self.rounds + 1, now


class Ledger:
    """Counts what is out over all partitions, and the tokens of one bucket for each rate.

    A change counts from when the last partition has heard of it; until then, the highest does. A
    tree of jobs is in one partition, so that what bounds one counts there as soon as it is known.
    """

    def __init__(self, partitions: int, limits: Sequence[Mapping[str, Any]]) -> None:
        self.out: dict[Held, set[object]] = {}
        self.most: dict[Held, int] = {}
        self.released: dict[int, int] = {}
        self.checked: dict[str, int] = {}  # how often a number of slots was looked at, by name
        self._defined = {limit["name"]: limit for limit in limits}
        self._changes: list[dict[str, LimitChanged]] = [{} for _ in range(partitions)]
        self._intake = ["accept"] * partitions
        self._balanced_at: list[datetime] = [START] * partitions
        self._settling: dict[str, Settling] = {}
        self._jobs: dict[UUID, JobSubmitted] = {}
        self._buckets: dict[Held, tuple[float, datetime]] = {}

    def committed(self, partition: int, events: Sequence[Recorded]) -> None:
        for recorded in events:
            event, stream = recorded.event, recorded.originator_id
            if isinstance(event, LimitChanged):
                self._change(partition, event)
            elif isinstance(event, FlowChanged):
                self._intake[partition] = event.settings.intake
                self._look_at_settling(event.at)
            elif isinstance(event, JobSubmitted):
                self._jobs[stream] = event
            elif isinstance(event, JobStarted) and self._jobs[stream].parent is None:
                for name in names_for_job(self._jobs[stream].name):
                    self._release(partition, Held(name, NO_KEY), stream, event.at)
            elif isinstance(event, StepReleased):
                self.released[partition] = self.released.get(partition, 0) + 1
                for held in self._helds(event):
                    self._release(partition, held, stream, event.at)
            elif isinstance(event, JobEnded) or _ends_attempt(event):
                for steps in self.out.values():
                    steps.discard(stream)

    def balanced(self, partition: int, at: datetime | None, now: datetime) -> None:
        """A partition has asked for all of its shares at a time."""
        self._balanced_at[partition] = at or START
        for settling in self._settling.values():
            settling.balanced(min(self._balanced_at), now)

    def _change(self, partition: int, event: LimitChanged) -> None:
        for held in self.out:
            self._refill(partition, held, event.at)
        self._changes[partition][event.name] = event
        self._look_at_settling(event.at)

    def _look_at_settling(self, at: datetime) -> None:
        known = {name for changes in self._changes for name in changes}
        for name in known | set(self._settling):
            all_know = None not in self._known(name, "slots")
            self._settling.setdefault(name, Settling()).look(all_know=all_know, at=at)

    def _helds(self, event: StepReleased) -> list[Held]:
        """Return what an order is under: by its definition, and by all names there may be."""
        own = [held for held in event.limits if not is_reserved(held.name)]
        job, (step, _) = self._jobs[event.job], split_path(event.path)
        names = names_for_step(Stage(event.queue, job.name, step))
        keys = {ROOT: str(job.root)}
        return own + [Held(name, keys.get(name, NO_KEY)) for name in names]

    def _release(self, partition: int, held: Held, step: object, at: datetime) -> None:
        steps = self.out.setdefault(held, set())
        steps.add(step)
        self.most[held] = max(self.most.get(held, 0), len(steps))
        slots = self._slots(partition, held.name)
        if slots is not None:
            self.checked[held.name] = self.checked.get(held.name, 0) + 1
            if len(steps) > slots:
                raise Exceeded(f"{len(steps)} of {slots} slots of {held} are out")
        if self._most(partition, held.name, "rate") is not None:
            tokens = self._refill(partition, held, at) - 1
            self._buckets[held] = (tokens, at)
            if tokens < -1e-3:
                raise Exceeded(f"{held}: {tokens} tokens")

    def _slots(self, partition: int, name: str) -> int | None:
        """Return how many slots there are, None if that is not known to all by now."""
        settling = self._settling.get(name)
        if name != ROOT and settling is not None and not settling.done:
            by_definition = self._defined.get(name, {}).get("slots")
            return None if by_definition is None else self._most(partition, name, "slots")
        return self._most(partition, name, "slots")

    def _refill(self, partition: int, held: Held, at: datetime) -> float:
        rate = self._most(partition, held.name, "rate")
        bursts = self._heard(partition, held.name, "burst")
        burst = float(max(bursts))
        if rate is None or min(bursts) < burst:  # no rate for somebody, or buckets that do not fit
            self._buckets.pop(held, None)
            return burst
        tokens, since = self._buckets.get(held, (burst, at))
        passed = max(0.0, (at - since).total_seconds())
        self._buckets[held] = (min(burst, tokens + passed * rate), max(at, since))
        return self._buckets[held][0]

    def _most(self, partition: int, name: str, what: str) -> Any:
        """Return the highest of what partitions know, None if one of them knows no bound."""
        values = self._heard(partition, name, what)
        return None if None in values else max(values)

    def _heard(self, partition: int, name: str, what: str) -> list[Any]:
        known = self._known(name, what)
        return [known[partition]] if name == ROOT else known

    def _known(self, name: str, what: str) -> list[Any]:
        """Return what each partition knows, a rate in tokens a second."""
        values = [self._defined.get(name, {}).get(what)] * len(self._changes)
        for place, changes in enumerate(self._changes):
            change = changes.get(name)
            changed = None if change is None else getattr(change, what)
            values[place] = values[place] if changed is None else changed
            if bounds_jobs(name) and self._intake[place] == "accept":
                values[place] = None
        if what == "rate":
            return [None if value is None else _per_second(value) for value in values]
        return [value or 1 for value in values] if what == "burst" else values


def _ends_attempt(event: object) -> bool:
    return isinstance(event, StepEvent) and not isinstance(event, StepStarted | StepProgressed)


def _per_second(rate: Rate | Sequence[float]) -> float:
    count, seconds = (rate.count, rate.seconds) if isinstance(rate, Rate) else rate
    return count / seconds
