"""Read models in MongoDB.

A batch is written without a transaction: table by table and document by document in the order
given, the position last. A document is written only in the place of the one that the batch was
folded from; the first that is another by now ends the batch with a `Conflict`. So a projector that
slept for hours writes nothing over what others did meanwhile, and whatever was written is a part
from the beginning of some batch, which the projections bear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from warrener.adapters import mongo_places as places
from warrener.adapters import mongo_queries as queries
from warrener.adapters.mongo_client import MongoDatabase
from warrener.adapters.mongo_generations import Generations, Layout, collection
from warrener.adapters.mongo_places import Place
from warrener.adapters.mongo_queries import Query
from warrener.adapters.mongo_tables import TABLES
from warrener.adapters.mongo_view_writes import write_documents
from warrener.adapters.sqlite_tables import moment
from warrener.domain.errors import Conflict, StoreUnavailable
from warrener.projections.attempt_views import AttemptView
from warrener.projections.control_views import ACTIONS, ActionView, LimitView
from warrener.projections.flow_views import INCIDENTS, IncidentView
from warrener.projections.ports import (
    ActionFilter,
    Documents,
    IncidentFilter,
    JobFilter,
    StoppedModel,
    ViewStore,
    Waiters,
    Wanted,
)
from warrener.projections.total_views import TotalView
from warrener.projections.views import JOBS, HistoryView, JobView, StepView

T = TypeVar("T")
# How many documents are asked for at once: more is hardly faster, and SecantusDB takes a time that
# rises with the square.
LOADED_AT_ONCE: Final = 100
_DECODERS: Final = {name: msgspec.json.Decoder(table.type) for name, table in TABLES.items()}
GENERATIONS_MAX: Final = 20  # that may begin while one answer is given
_ONLY_DOC: Final = {"_id": 0, "doc": 1}


class MongoViewStore:
    """A `ViewStore` over one MongoDB database. Threads may share it."""

    def __init__(self, url: str) -> None:
        """Open the database that a URL names; raises `UsageError` and `StoreUnavailable`."""
        self._database = MongoDatabase(url)
        try:
            self._generations = Generations(self._database)
            self._open(self._generations.layout().generation, url, building=False)
        except BaseException:
            self._database.close()
            raise

    def _open(self, generation: int, url: str, *, building: bool) -> None:
        self._url = url
        self._building = building
        self._generation = self._opened = generation
        self._begun: dict[int, int] = {}  # partition -> generation whose positions were read

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def positions(self, partition: int = 0) -> dict[str, int]:
        """Return the position in a partition's log of every read model that has one."""

        def ask(generation: int) -> dict[str, int]:
            return dict(self._generations.look(generation, partition)[1].positions)

        found = self._asked(ask)
        self._begun[partition] = self._generation
        return found

    def load(self, wanted: Wanted) -> Documents:
        """Return the documents under these keys."""
        listed = {table: list(keys) for table, keys in wanted.items()}
        return self._asked(
            lambda generation: {
                table: self._load(generation, table, keys) for table, keys in listed.items()
            }
        )

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
        """Write a batch of one read model."""
        place = self._place(partition)
        if place.forgetting:
            self._generations.forget(place)
        if place.positions.get(model, 0) != after or place.forgetting:
            raise Conflict(f"read model {model} is not at position {after} any more")
        with self._generations.using() as db:
            for table, views in changes.items():
                before = (loaded or {}).get(table, {})
                of = collection(db, place.generation, table)
                write_documents(of, table, views, before, place)
            places.move(db, place, model, after, position)

    def stop(self, stopped: StoppedModel) -> None:
        """Keep that a model has stopped in a partition."""
        place = self._place(stopped.partition)
        with self._generations.using() as db:
            places.stop(db, place, stopped)

    def stopped(self) -> Sequence[StoppedModel]:
        """Return the models that have stopped, by model and partition."""

        def ask(generation: int) -> list[StoppedModel]:
            with self._generations.using() as db:
                return list(places.stopped(db, generation))

        return sorted(self._asked(ask), key=lambda each: (each.model, each.partition))

    def forget(self, partition: int, positions: Mapping[str, int]) -> None:
        """Forget all of one partition, if it is where the caller has seen it."""
        place = self._place(partition)
        if place.positions != positions or place.forgetting:
            raise Conflict(f"the read models of partition {partition} have moved on")
        self._generations.forget(place)

    def forget_jobs(self, jobs: Sequence[UUID]) -> None:
        """Forget what is kept of jobs that were pruned, also in what is being built."""
        layout = self._generations.layout()
        with self._generations.using() as db:
            for generation in {layout.generation, layout.building} - {0}:
                for table, wanted in queries.of_jobs(jobs):
                    collection(db, generation, table).delete_many(wanted)

    def reset(self) -> None:
        """Begin a new generation, which is empty."""
        number = self._generations.reset(self._generation if self._building else None)
        self._generation = self._opened = number

    def fresh(self) -> ViewStore:
        """Return an empty store of the next generation."""
        number = self._generations.build()
        store = MongoViewStore(self._url)
        store._open(number, self._url, building=True)
        return store

    def switch(self, fresh: ViewStore) -> None:
        """Let queries see what was built."""
        if not isinstance(fresh, MongoViewStore):
            raise TypeError("only what `fresh` returned can be switched to")
        self._generations.switch(fresh._generation)

    def find_jobs(self, wanted: JobFilter) -> Sequence[JobView]:
        """Return matching jobs, the newest first."""
        return self._views(queries.jobs(wanted))

    def count_jobs(self, wanted: JobFilter) -> int:
        """Return how many jobs match, at most the limit."""
        query = queries.jobs(wanted)

        def ask(generation: int) -> int:
            with self._generations.using() as db:
                of = collection(db, generation, query.table)
                return of.count_documents(query.wanted, limit=query.limit)

        return self._asked(ask)

    def jobs_between(self, low: UUID, high: UUID, limit: int) -> Sequence[UUID]:
        """Return ids of jobs from `low` to `high`."""
        return self._ids(queries.ids_between(JOBS, low, high, limit))

    def children(self, parent: UUID, after: JobView | None, limit: int) -> Sequence[JobView]:
        """Return jobs that a job started, in order."""
        return self._views(queries.children(parent, after, limit))

    def named_steps(self, job: UUID) -> Sequence[StepView]:
        """Return the documents of a job's steps that are no items."""
        return self._views(queries.named_steps(job))

    def items(
        self, fan_out: StepView, *, state: str | None = None, after: int = -1, limit: int = 100
    ) -> Sequence[StepView]:
        """Return items of a fan-out, by index."""
        return self._views(queries.items(fan_out, state, after, limit))

    def slowest(self, root: UUID, limit: int, offset: int = 0) -> Sequence[StepView]:
        """Return the steps of a tree that ran longest."""
        return self._views(queries.slowest(root, limit, offset))

    def attempts(
        self, job: UUID, path: str, *, after: int = -1, limit: int = 100
    ) -> Sequence[AttemptView]:
        """Return attempts of a step by number."""
        return self._views(queries.attempts(job, path, after, limit))

    def timeline(
        self, *, job: UUID | None, root: UUID | None, after: AttemptView | None, limit: int
    ) -> Sequence[AttemptView]:
        """Return attempts of one job or of the tree under one root, in order of time."""
        return self._views(queries.timeline(job, root, after, limit))

    def find_actions(self, wanted: ActionFilter) -> Sequence[ActionView]:
        """Return matching requests, the newest first."""
        return self._views(queries.actions(wanted))

    def actions_between(self, low: UUID, high: UUID, limit: int) -> Sequence[UUID]:
        """Return ids of requests from `low` to `high`."""
        return self._ids(queries.ids_between(ACTIONS, low, high, limit))

    def waiters(self, request: UUID, limit: int) -> Waiters:
        """Return who waits for the answer to a request."""
        query = queries.waiters(request, limit)

        def count(generation: int) -> list[dict[str, Any]]:
            with self._generations.using() as db:
                stages = queries.counted_waiters(request)
                return list(collection(db, generation, query.table).aggregate(stages))

        found = self._asked(count)
        if not found:
            return Waiters()
        until = found[0]["until"]
        end = None if until is None else moment(until)
        return Waiters(found[0]["steps"], found[0]["jobs"], end, tuple(self._views(query)))

    def limits(self, limit: int) -> Sequence[LimitView]:
        """Return limits that were changed, by name and partition."""
        return self._views(queries.limits(limit))

    def totals(self, *, of_steps: bool, limit: int) -> Sequence[TotalView]:
        """Return totals of jobs or of steps by name, those with most first."""
        return self._views(queries.totals(of_steps, limit))

    def find_incidents(self, wanted: IncidentFilter) -> Sequence[IncidentView]:
        """Return matching incidents, the newest first."""
        return self._views(queries.incidents(wanted))

    def incidents_between(self, low: UUID, high: UUID, limit: int) -> Sequence[UUID]:
        """Return ids of incidents from `low` to `high`."""
        return self._ids(queries.ids_between(INCIDENTS, low, high, limit))

    def history(
        self, *, job: UUID | None, root: UUID | None, after: int, limit: int
    ) -> Sequence[HistoryView]:
        """Return positions that belong to one job or to the tree under one root."""
        return self._views(queries.history(job, root, after, limit))

    def _place(self, partition: int) -> Place:
        """Return a partition of the generation whose positions were read; raises `Conflict`."""
        generation = self._begun.get(partition, self._opened)
        layout, place = self._generations.look(generation, partition)
        if self._number(layout) != generation:
            raise Conflict("the read models were built anew: read their positions again")
        return place

    def _number(self, layout: Layout) -> int:
        """Return the generation that this store is to look at."""
        if not self._building:
            return layout.generation
        if layout.building != self._generation:
            raise Conflict("another rebuild of the read models has begun, or this one has ended")
        return layout.building

    def _asked(self, ask: Callable[[int], T]) -> T:
        """Return an answer of the generation that is seen when it has been given.

        A generation is dropped only when another has taken its place, so an answer is whole if its
        generation was still the one at the end.
        """
        for _ in range(GENERATIONS_MAX):
            generation = self._generation
            try:
                answer = ask(generation)
            except StoreUnavailable:  # as when a collection goes while it is read
                if not self._moved_on(generation):
                    raise
            else:
                if not self._moved_on(generation):
                    return answer
        raise StoreUnavailable("the read models are built anew all the time: try again")

    def _moved_on(self, generation: int) -> bool:
        self._generation = self._number(self._generations.layout())
        return self._generation != generation

    def _load(self, generation: int, table: str, keys: Sequence[Any]) -> dict[Any, Any]:
        decode: Callable[[bytes], Any] = _DECODERS[table].decode
        to_id = TABLES[table].id
        found = {}
        with self._generations.using() as db:
            of = collection(db, generation, table)
            for start in range(0, len(keys), LOADED_AT_ONCE):
                ids = [to_id(key) for key in keys[start : start + LOADED_AT_ONCE]]
                for each in of.find({"_id": {"$in": ids}}, _ONLY_DOC):
                    view = decode(each["doc"])
                    found[view.key] = view
        return found

    def _views(self, query: Query) -> list[Any]:
        decode: Callable[[bytes], Any] = _DECODERS[query.table].decode
        return [decode(each["doc"]) for each in self._found(query, _ONLY_DOC)]

    def _ids(self, query: Query) -> list[UUID]:
        return [each["_id"] for each in self._found(query, {"_id": 1})]

    def _found(self, query: Query, fields: dict[str, Any]) -> Iterable[dict[str, Any]]:
        def ask(generation: int) -> list[dict[str, Any]]:
            with self._generations.using() as db:
                found = collection(db, generation, query.table).find(query.wanted, fields)
                if query.order:
                    found = found.sort(list(query.order))
                return list(found.skip(query.skip).limit(query.limit))

        return self._asked(ask)
