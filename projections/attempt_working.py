"""The documents of attempts that one batch works on, copied when first changed."""

from __future__ import annotations

from copy import copy
from typing import Any, Final
from uuid import UUID

from warrener.projections.attempt_views import ATTEMPTS, TRACKS, TrackView
from warrener.projections.ports import Documents

ROOT_PATH: Final = ""  # path of the track that keeps the root of a job


class AttemptWorking:
    """Working set of the read model of attempts; `position` is that of the event at hand."""

    def __init__(self, loaded: Documents) -> None:
        self.changed: dict[str, dict[Any, Any]] = {ATTEMPTS: {}, TRACKS: {}}
        self.position = 0
        self._loaded = loaded

    def peek(self, table: str, key: Any) -> Any:
        """Return a document, to read."""
        found = self.changed[table].get(key)
        return self._loaded.get(table, {}).get(key) if found is None else found

    def edit(self, table: str, key: Any) -> Any:
        """Return a document to change; None if there is none or it has seen this event."""
        view = self.peek(table, key)
        if view is None or view.position >= self.position:
            return None
        fresh = self.changed[table][key] = copy(view)
        fresh.position = self.position
        return fresh

    def put(self, table: str, view: Any) -> None:
        """Begin a document anew, unless the one under its key has seen this event."""
        known = self.peek(table, view.key)
        if known is None or known.position < self.position:
            view.position = self.position
            self.changed[table][view.key] = view

    def root(self, job: UUID) -> UUID:
        """Return the root of a job, itself if it is not known."""
        track: TrackView | None = self.peek(TRACKS, (job, ROOT_PATH))
        return job if track is None else track.root

    def track(self, job: UUID, name: str) -> TrackView | None:
        """Return the track of a named step to change, made if need be."""
        if self.peek(TRACKS, (job, name)) is None:
            self.put(TRACKS, TrackView(job=job, path=name, root=self.root(job)))
            made: TrackView = self.changed[TRACKS][job, name]
            return made
        view: TrackView | None = self.edit(TRACKS, (job, name))
        return view
