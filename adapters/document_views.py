"""Read models over documents that were folded elsewhere: what is asked about the past."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any
from uuid import UUID

from warrener.adapters.memory_answers import MemoryAnswers
from warrener.domain.errors import Conflict
from warrener.projections.ports import Documents, StoppedModel, ViewStore, Wanted
from warrener.projections.views import JOBS, STEPS, JobView, StepView


class DocumentViews(MemoryAnswers):
    """A `ViewStore` that shows documents as they are, and takes none.

    It copies a document when it is asked for. What it is asked often it looks up once: the
    documents must not change while it is used.
    """

    def __init__(self, documents: Documents) -> None:
        """Take the documents by table and key."""
        self._documents = documents

    def load(self, wanted: Wanted) -> Documents:
        """Return the documents under these keys."""
        return {
            table: {key: copy(found[key]) for key in keys if key in found}
            for table, keys in wanted.items()
            for found in (self._documents.get(table, {}),)
        }

    def children(self, parent: UUID, after: JobView | None, limit: int) -> Sequence[JobView]:
        """Return jobs that a job started, in order."""
        found = self._children.get(parent, ())
        place = None if after is None else after.place()
        left = [view for view in found if place is None or view.place() > place]
        return [copy(view) for view in left[:limit]]

    def named_steps(self, job: UUID) -> Sequence[StepView]:
        """Return the documents of a job's steps that are no items."""
        return [copy(view) for view in self._named.get(job, ())]

    @cached_property
    def _children(self) -> Mapping[UUID, Sequence[JobView]]:
        found: dict[UUID, list[JobView]] = {}
        for view in self._documents.get(JOBS, {}).values():
            if isinstance(view, JobView) and view.parent is not None:
                found.setdefault(view.parent.job, []).append(view)
        for views in found.values():
            views.sort(key=JobView.place)
        return found

    @cached_property
    def _named(self) -> Mapping[UUID, Sequence[StepView]]:
        found: dict[UUID, list[StepView]] = {}
        for view in self._documents.get(STEPS, {}).values():
            if isinstance(view, StepView) and not view.is_item:
                found.setdefault(view.job, []).append(view)
        return found

    def _keys(self, table: str) -> Iterable[Any]:
        return self._documents.get(table, {})

    def _all(self, table: str) -> Iterator[Any]:
        return (copy(view) for view in self._documents.get(table, {}).values())

    # --- what it does not do ---------------------------------------------------------------------

    def positions(self, partition: int = 0) -> dict[str, int]:  # noqa: ARG002
        """Return none: it follows no log."""
        return {}

    def save(
        self,
        model: str,
        after: int,  # noqa: ARG002
        position: int,  # noqa: ARG002
        changes: Documents,  # noqa: ARG002
        partition: int = 0,  # noqa: ARG002
        *,
        loaded: Documents | None = None,  # noqa: ARG002
    ) -> None:
        """Refuse."""
        raise Conflict(f"documents of the past take no changes of {model}")

    def stop(self, stopped: StoppedModel) -> None:
        """Refuse."""
        raise Conflict(f"documents of the past are not folded on: {stopped.model}")

    def stopped(self) -> Sequence[StoppedModel]:
        """Return nothing."""
        return ()

    def forget(self, partition: int, positions: Mapping[str, int]) -> None:
        """Do nothing."""

    def forget_jobs(self, jobs: Sequence[UUID]) -> None:
        """Do nothing."""

    def reset(self) -> None:
        """Do nothing."""

    def fresh(self) -> ViewStore:
        """Refuse."""
        raise Conflict("documents of the past are not built anew")

    def switch(self, fresh: ViewStore) -> None:  # noqa: ARG002
        """Refuse."""
        raise Conflict("documents of the past are not built anew")

    def close(self) -> None:
        """Do nothing."""
