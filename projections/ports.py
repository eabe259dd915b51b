"""The port of the read side: where the documents of the read models are kept."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from warrener.projections.attempt_views import AttemptView
from warrener.projections.control_views import ActionView, LimitView
from warrener.projections.flow_views import IncidentView
from warrener.projections.total_views import TotalView
from warrener.projections.views import HistoryView, JobView, StepView, View

Key = Hashable
Documents = Mapping[str, Mapping[Any, Any]]  # table -> key -> document
Wanted = Mapping[str, Iterable[Any]]  # table -> keys


def current(place: tuple[str, Any], changed: Documents, loaded: Documents) -> View | None:
    """Return a document as a batch has changed it so far, else as it was loaded."""
    table, key = place
    found: View | None = changed[table].get(key) or loaded.get(table, {}).get(key)
    return found


class JobCursor(msgspec.Struct, frozen=True):
    """The place of a job in a list; the next page begins after it."""

    submitted_at: datetime
    job: UUID


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs a list shows; None and an empty mapping ask for nothing in particular."""

    state: str | None = None
    name: str | None = None
    labels: Mapping[str, str] = {}
    since: datetime | None = None  # submitted then or later
    until: datetime | None = None  # submitted before then
    after: JobCursor | None = None  # those that come after this one in the list
    roots_only: bool = True
    limit: int = 50


class ActionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests for people a list shows; None asks for nothing in particular."""

    state: str | None = None
    subject: str | None = None
    limit: int = 50


class IncidentFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which incidents of starvation a list shows; None asks for nothing in particular."""

    state: str | None = None  # open | closed
    since: datetime | None = None  # opened then or later
    limit: int = 50


class Waiters(msgspec.Struct, frozen=True):
    """The steps that wait for the answer to a request: how many, in how many jobs, how long.

    `first` are some of them, `until` is when the first of them waits no longer.
    """

    steps: int = 0
    jobs: int = 0
    until: datetime | None = None
    first: tuple[StepView, ...] = ()


class StoppedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A read model that cannot get past an event in the log of a partition, and why.

    `position` is that of the event, `event` says which one it is, `at` is when it was first tried.
    """

    model: str
    partition: int = 0
    position: int
    event: str = ""
    reason: str
    at: datetime


class ViewStore(Protocol):
    """Keeps the documents.

    Obligations: `save` writes the documents of a batch and the new position of their read model in
    the log of a partition in one atomic write. It raises `Conflict` and writes nothing if the
    position is not the one that the batch started from. A store that cannot do so writes tables and
    documents in the order given and the position last (the projections bear a batch that is found
    half written), and none of them over a document that is not the one that was loaded: there it
    stops with `Conflict`.
    Documents come back as they were saved, and changing a returned one changes nothing stored.
    A document belongs to the partition that it was saved for last; definitions are everybody's.
    Every query is answered by an index. Opening a store whose layout is an older one empties it;
    one whose layout is newer is refused with `StoredDataError`.
    """

    def positions(self, partition: int = 0) -> dict[str, int]:
        """Return the position in a partition's log of every read model that has one."""
        ...

    def load(self, wanted: Wanted) -> Documents:
        """Return the documents under these keys; what does not exist is left out."""
        ...

    def save(
        self,
        model: str,
        after: int,
        position: int,
        changes: Documents,
        partition: int = 0,
        *,
        loaded: Documents | None = None,
    ) -> None:
        """Write a batch of one read model that leads from position `after` to `position`.

        `loaded` are the documents that it was folded from; what is not among them was not there.
        What `stop` said of the model in this partition is over once `position` has reached it.
        """
        ...

    def stop(self, stopped: StoppedModel) -> None:
        """Keep that a model has stopped in a partition, in the place of what was known of it."""
        ...

    def stopped(self) -> Sequence[StoppedModel]:
        """Return the models that have stopped and not gone on since, by model and partition."""
        ...

    def forget(self, partition: int, positions: Mapping[str, int]) -> None:
        """Forget positions, documents and stopped models of one partition; definitions stay.

        `positions` are those that the caller has seen. If they are others by now, somebody else has
        dealt with it: raises `Conflict` and forgets nothing. Nobody saves for the partition while
        it is being forgotten: a store that cannot do it in one atomic write sees to that.
        """
        ...

    def forget_jobs(self, jobs: Sequence[UUID]) -> None:
        """Forget what is kept of jobs that were pruned: they, their steps, attempts and history.

        Positions stay, and what jobs share: definitions, requests for people, limits. Their events
        tell nothing of them any more, so they do not come back. Jobs that are not known are passed
        over, so that it may be done again; `jobs` are some hundreds at most. They are forgotten in
        what is being built, too.
        """
        ...

    def reset(self) -> None:
        """Forget all documents, positions and stopped models, as a `switch` to nothing does."""
        ...

    def fresh(self) -> ViewStore:
        """Begin the next generation: return an empty store that no query sees until `switch`.

        What was left of a rebuild that broke off is forgotten. One that still runs hears of it by
        `Conflict` when it saves. Close the store without switching to give the rebuild up.
        """
        ...

    def switch(self, fresh: ViewStore) -> None:
        """Put what the store that `fresh` returned has in the place of all documents and positions.

        Queries and `positions` of every process see it from now on, all at once. Whoever has read
        positions before gets `Conflict` when he saves. Raises `Conflict` if another rebuild has
        begun. The store that was returned is of no more use.
        """
        ...

    def find_jobs(self, wanted: JobFilter) -> Sequence[JobView]:
        """Return matching jobs, the newest first."""
        ...

    def count_jobs(self, wanted: JobFilter) -> int:
        """Return how many jobs match; the limit stands for as many or more, and bounds the cost."""
        ...

    def jobs_between(self, low: UUID, high: UUID, limit: int) -> Sequence[UUID]:
        """Return ids of jobs from `low` to `high`, both included, in order."""
        ...

    def children(self, parent: UUID, after: JobView | None, limit: int) -> Sequence[JobView]:
        """Return jobs that a job started, by name and item index of the step, after a given one."""
        ...

    def named_steps(self, job: UUID) -> Sequence[StepView]:
        """Return the documents of a job's steps that are no items; their number is bounded."""
        ...

    def items(
        self, fan_out: StepView, *, state: str | None = None, after: int = -1, limit: int = 100
    ) -> Sequence[StepView]:
        """Return items of a fan-out, by index, those after index `after`.

        Items that are older than their fan-out are left out.
        """
        ...

    def slowest(self, root: UUID, limit: int, offset: int = 0) -> Sequence[StepView]:
        """Return the steps of a tree that ran longest in their newest attempt."""
        ...

    def attempts(
        self, job: UUID, path: str, *, after: int = -1, limit: int = 100
    ) -> Sequence[AttemptView]:
        """Return attempts of a step by number, those after number `after`.

        Number 0 is what a step waits for without any attempt.
        """
        ...

    def timeline(
        self, *, job: UUID | None, root: UUID | None, after: AttemptView | None, limit: int
    ) -> Sequence[AttemptView]:
        """Return attempts of one job or of the tree under one root, after a given one.

        They come by the time at which they began, then by job, path and number.
        """
        ...

    def find_actions(self, wanted: ActionFilter) -> Sequence[ActionView]:
        """Return matching requests, the newest first."""
        ...

    def actions_between(self, low: UUID, high: UUID, limit: int) -> Sequence[UUID]:
        """Return ids of requests from `low` to `high`, both included, in order."""
        ...

    def waiters(self, request: UUID, limit: int) -> Waiters:
        """Return who waits for the answer to a request, `limit` of them by job and path."""
        ...

    def limits(self, limit: int) -> Sequence[LimitView]:
        """Return limits that were changed, by name and partition."""
        ...

    def totals(self, *, of_steps: bool, limit: int) -> Sequence[TotalView]:
        """Return totals of jobs or of steps by name, by weight, then by names and partition.

        Those with most come first; the totals of all are not among them.
        """
        ...

    def find_incidents(self, wanted: IncidentFilter) -> Sequence[IncidentView]:
        """Return matching incidents, the newest first."""
        ...

    def incidents_between(self, low: UUID, high: UUID, limit: int) -> Sequence[UUID]:
        """Return ids of incidents from `low` to `high`, both included, in order."""
        ...

    def history(
        self, *, job: UUID | None, root: UUID | None, after: int, limit: int
    ) -> Sequence[HistoryView]:
        """Return positions after `after` that belong to one job or to the tree under one root."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...
