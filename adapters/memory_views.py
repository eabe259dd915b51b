"""Read models in memory, for tests and for runs that keep nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from warrener.adapters.memory_answers import Kept, MemoryAnswers, decode
from warrener.domain.errors import Conflict
from warrener.projections.attempt_views import ATTEMPTS, TRACKS
from warrener.projections.ports import (
    Documents,
    StoppedModel,
    ViewStore,
    Wanted,
)
from warrener.projections.views import (
    DEFINITIONS,
    HISTORY,
    JOBS,
    ROOTS,
    STEPS,
    View,
)


class MemoryViewStore(MemoryAnswers):
    """A `ViewStore` over dictionaries. It keeps encoded documents, so none is shared by accident.

    Queries look at every document: it is meant for small stores.
    """

    def __init__(self) -> None:
        self._generation = 0
        self._begun: dict[int, int] = {}  # partition -> generation whose positions were read
        self._building: MemoryViewStore | None = None
        self._outlived = False
        self.reset()

    def reset(self) -> None:
        """Forget all documents and positions."""
        self._kept = Kept()
        self._generation += 1

    def fresh(self) -> ViewStore:
        """Return an empty store of the next generation."""
        if self._building is not None:
            self._building._outlived = True
        self._building = MemoryViewStore()
        return self._building

    def switch(self, fresh: ViewStore) -> None:
        """Take over what was built."""
        if fresh is not self._building or not isinstance(fresh, MemoryViewStore):
            raise Conflict("another rebuild of the read models has begun, or this one has ended")
        self._kept, self._building = fresh._kept, None
        self._generation += 1
        fresh._outlived = True

    def close(self) -> None:
        """Do nothing."""

    def positions(self, partition: int = 0) -> dict[str, int]:
        """Return the position in a partition's log of every read model that has one."""
        self._begun[partition] = self._generation
        return self._positions_in(partition)

    def tables(self) -> dict[str, dict[Any, View]]:
        """Return everything that is kept, for comparing two stores."""
        return {
            table: {key: decode(table, data) for key, data in kept.items()}
            for table, kept in self._kept.tables.items()
        }

    def load(self, wanted: Wanted) -> Documents:
        """Return the documents under these keys."""
        return {
            table: {
                key: decode(table, self._kept.tables[table][key])
                for key in keys
                if key in self._kept.tables[table]
            }
            for table, keys in wanted.items()
        }

    def save(
        self,
        model: str,
        after: int,
        position: int,
        changes: Documents,
        partition: int = 0,
        *,
        loaded: Documents | None = None,  # noqa: ARG002  (a batch is written whole)
    ) -> None:
        """Write a batch of one read model."""
        self._check_generation(partition)
        if self._kept.positions.get((model, partition), 0) != after:
            raise Conflict(f"read model {model} is not at position {after} any more")
        for table, views in changes.items():
            self._kept.tables[table].update(
                {key: msgspec.msgpack.encode(view) for key, view in views.items()}
            )
            if table != DEFINITIONS:
                self._kept.owners.update(dict.fromkeys(((table, key) for key in views), partition))
        self._kept.positions[model, partition] = position
        known = self._kept.stopped.get((model, partition))
        if known is not None and known.position <= position:
            del self._kept.stopped[model, partition]

    def stop(self, stopped: StoppedModel) -> None:
        """Keep that a model has stopped in a partition."""
        self._check_generation(stopped.partition)
        self._kept.stopped[stopped.model, stopped.partition] = stopped

    def stopped(self) -> Sequence[StoppedModel]:
        """Return the models that have stopped, by model and partition."""
        return [stopped for _, stopped in sorted(self._kept.stopped.items())]

    def forget(self, partition: int, positions: Mapping[str, int]) -> None:
        """Forget all of one partition, if it is where the caller has seen it."""
        self._check_generation(partition)
        if self._positions_in(partition) != dict(positions):
            raise Conflict(f"the read models of partition {partition} have moved on")
        for model in positions:
            del self._kept.positions[model, partition]
        self._kept.stopped = {
            key: at for key, at in self._kept.stopped.items() if key[1] != partition
        }
        gone = [place for place, owner in self._kept.owners.items() if owner == partition]
        for table, key in gone:
            del self._kept.tables[table][key], self._kept.owners[table, key]

    def forget_jobs(self, jobs: Sequence[UUID]) -> None:
        """Forget what is kept of jobs that were pruned."""
        if self._building is not None:
            self._building.forget_jobs(jobs)
        gone, kept = set(jobs), self._kept
        for table in (JOBS, STEPS, ATTEMPTS, TRACKS, ROOTS, HISTORY):
            for key, data in list(kept.tables[table].items()):
                if getattr(decode(table, data), "job", None) in gone:
                    del kept.tables[table][key]
                    kept.owners.pop((table, key), None)

    def _check_generation(self, partition: int) -> None:
        """Raise `Conflict` if another generation has come since positions were read."""
        if self._outlived or self._begun.get(partition, self._generation) != self._generation:
            raise Conflict("the read models were built anew: read their positions again")

    def _positions_in(self, partition: int) -> dict[str, int]:
        positions = self._kept.positions.items()
        return {model: position for (model, of), position in positions if of == partition}
