"""All events that tell of one tree of jobs: its own, and those of what it refers to.

Those are its definitions, the requests to people that its steps wait for, the limits that it comes
under, how the flow was set, and who served the queues while it lived. What other jobs did at the
same time is not among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import msgspec

from warrener.domain import caps, ids
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import StoredDataError
from warrener.domain.events import DefinitionStored, Event, JobSubmitted, event_of
from warrener.domain.flow.ready import Stage
from warrener.domain.ids import compensation
from warrener.domain.messages import DEFAULT_QUEUE
from warrener.domain.ports import EventStore, Positioned
from warrener.domain.step_events import StepOpened, StepParked
from warrener.services.log_at import LogAt
from warrener.services.tree_queries import TreeQueries


class TreeEvents:
    """Yields the events of a tree as they were at a position; nothing is kept in memory."""

    def __init__(self, log: EventStore, trees: TreeQueries, root: UUID, until: int) -> None:
        """Take the log of the tree, and where its events are; nothing after `until` is read."""
        self._log = LogAt(log, until)
        self._trees = trees
        self._root = root
        self._until = until

    def __iter__(self) -> Iterator[Positioned]:
        """Yield first what the tree refers to, by stream, then its own events, by position.

        Requests to people come where the tree first names them.
        """
        first, last = self._log.position(self._root, 1), self._until
        submitted = event_of(next(iter(self._log.stream(self._root)), None), JobSubmitted)
        if first is None or submitted is None:
            return
        definitions = {submitted.definition, *submitted.library.values()}
        for definition in sorted(definitions):
            yield from self._stream(ids.definition_id(definition))
        for shared in self._shared(definitions):
            yield from self._around(shared, first, last)
        asked: set[UUID] = set()
        for each in self._trees.events(self._root, until=self._until):
            request = _request(each.recorded.event)
            if request is not None and request not in asked:
                asked.add(request)
                yield from self._stream(request)
            yield each

    def _shared(self, definitions: set[str]) -> list[UUID]:
        """Return the streams that tell under which limits, flow and fleet the tree ran."""
        names: dict[str, None] = {}
        for content_hash in sorted(definitions):
            names.update(dict.fromkeys(_limit_names(self._definition(content_hash))))
        return [ids.FLOW_ID, ids.FLEET_ID, *map(ids.limit_id, names)]

    def _definition(self, content_hash: str) -> JobDefinition:
        stored = event_of(self._log.last(ids.definition_id(content_hash)), DefinitionStored)
        if stored is None:
            raise StoredDataError(f"no definition with the hash {content_hash} is stored")
        return msgspec.json.decode(stored.json, type=JobDefinition)

    def _stream(self, stream: UUID) -> Iterator[Positioned]:
        for recorded in self._log.stream(stream):
            position = self._log.position(stream, recorded.originator_version)
            if position is not None:
                yield Positioned(position, recorded)

    def _around(self, stream: UUID, first: int, last: int) -> Iterator[Positioned]:
        """Yield the event of a stream that held when the tree began, and those while it lived."""
        before = LogAt(self._log, first).last(stream)
        after_version = 0 if before is None else before.originator_version - 1
        for recorded in self._log.stream(stream, after_version):
            position = self._log.position(stream, recorded.originator_version)
            if position is None or position > last:
                return
            yield Positioned(position, recorded)


def _request(event: Event) -> UUID | None:
    """Return the request to people that an event of a step names."""
    return event.request if isinstance(event, StepParked | StepOpened) else None


def _limit_names(definition: JobDefinition) -> Iterator[str]:
    """Yield the names of the limits that jobs of a definition come under."""
    job = definition.name
    yield from caps.names_for_job(job)
    for name, step in definition.steps.items():
        queue = step.queue or DEFAULT_QUEUE
        yield from (limit.name for limit in step.limits)
        yield from caps.names_for_step(Stage(queue=queue, job=job, step=name))
        if step.compensate is not None:
            yield from caps.names_for_step(Stage(queue=queue, job=job, step=compensation(name)))
