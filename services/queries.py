"""What users ask about jobs. Each query first brings the read models up to the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from uuid import UUID

from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import UsageError
from warrener.domain.ids import split_path
from warrener.domain.ports import EventStore
from warrener.projections.ports import JobFilter, ViewStore
from warrener.projections.views import JobView
from warrener.services.control_shapes import ActionLine, LimitLine
from warrener.services.log_actions import all_actions, changed_limits
from warrener.services.places import Place, Places
from warrener.services.projector import catch_up
from warrener.services.shapes import (
    Error,
    HistoryLine,
    JobLine,
    Show,
    SlowStep,
    Step,
    TreeNode,
    format_time,
    optional_time,
    progress,
)
from warrener.services.step_queries import StepQueries
from warrener.services.tree_queries import TreeQueries


class Queries:
    """Answers from the read models; payloads kept as blobs and events come from the log."""

    def __init__(self, store: EventStore, views: ViewStore) -> None:
        self._store = store
        self._views = views
        self._places = Places(views)
        self._steps = StepQueries(store, views, self._places)
        self._trees = TreeQueries(store, views, self._places)

    def jobs(
        self,
        *,
        state: str | None = None,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        limit: int = 50,
        roots_only: bool = True,
    ) -> list[JobLine]:
        """Return jobs, the newest first."""
        self.refresh()
        wanted = JobFilter(
            state=state,
            name=name,
            labels=labels or {},
            since=since,
            limit=limit,
            roots_only=roots_only,
        )
        return [_line(view) for view in self._views.find_jobs(wanted)]

    def show(self, job: UUID, *, whole: bool = True) -> Show:
        """Return a job with its named steps; raises `UnknownJob`.

        Without `whole`, a value over 64 KiB is not loaded: a text says how large it is.
        """
        self.refresh()
        view = self._places.job(job)
        return Show(
            job=view.job,
            name=view.name,
            version=view.version,
            definition=view.definition,
            state=view.state,
            params=self._steps.value(view.params, whole),
            labels=view.labels,
            result=self._steps.value(view.result, whole),
            error=Error.of(view.error),
            reason=view.reason,
            parent=view.parent.job if view.parent else None,
            root=view.root,
            path=self._places.path(view.job, view.root),
            depth=view.depth,
            priority=view.priority,
            submitted_at=format_time(view.submitted_at),
            started_at=optional_time(view.started_at),
            ended_at=optional_time(view.ended_at),
            progress=progress(view.counts),
            counts=view.counts.by_state(),
            steps=self._steps.named(view, whole),
        )

    def step(self, place: Place, *, whole: bool = True) -> Step:
        """Return one step or item, as `locate` found it."""
        self.refresh()
        job, path = self._places.job(place.job), place.path or ""
        if split_path(path)[1] is None:
            return self._steps.named(job, whole)[path]
        return self._steps.item(job, path, whole)

    def items(
        self,
        job: UUID,
        name: str,
        *,
        state: str | None = None,
        after: int = -1,
        limit: int = 100,
        whole: bool = False,
    ) -> list[Step]:
        """Return items of a fan-out that began or ended, by index, those after index `after`."""
        self.refresh()
        view = self._places.job(job)
        return self._steps.items(view, name, state=state, after=after, limit=limit, whole=whole)

    def definition(self, job: UUID) -> JobDefinition:
        """Return the definition that a job runs by; raises `UnknownJob`."""
        self.refresh()
        return self._places.definition(self._places.job(job).definition)

    def counts(self, job: UUID) -> dict[str, int]:
        """Return how many steps a job and everything below it have, by state."""
        self.refresh()
        return self._places.job(job).counts.by_state()

    def tree(self, job: UUID, *, jobs_max: int = 500) -> TreeNode:
        """Return a job with the jobs below it, level by level, up to `jobs_max` of them."""
        self.refresh()
        return self._trees.tree(job, jobs_max)

    def history(self, job: UUID, *, tree: bool = False, after: int = 0) -> Iterator[HistoryLine]:
        """Yield a job's events, with `tree` those of everything below it, by position.

        Starts past position `after` and ends with what is in the log now.
        """
        self.refresh()
        return self._trees.history(self._places.job(job).job, tree, after)

    def slowest(self, job: UUID, limit: int = 10) -> list[SlowStep]:
        """Return the steps that ran longest, in a job and everything below it."""
        self.refresh()
        return self._trees.slowest(job, limit)

    def actions(
        self, cause: str | None = None, *, state: str | None = "open", limit: int = 1_000
    ) -> list[ActionLine]:
        """Return requests for people, the newest first; with `cause` those about it."""
        found = [
            line
            for line in all_actions(self._store)
            if cause in (None, line.cause) and state in (None, line.state)
        ]
        return found[:limit]

    def find_action(self, text: str) -> ActionLine:
        """Return the request with this id or start of one; raises `UsageError`."""
        digits = text.strip().lower().replace("-", "")
        lines = all_actions(self._store)
        found = [line for line in lines if line.request.hex.startswith(digits)]
        if len(digits) < 4 or len(found) != 1:
            raise UsageError(f"there is no user action {text!r}")
        return found[0]

    def limits(self, name: str | None = None) -> list[LimitLine]:
        """Return the limits that were changed."""
        return [line for line in changed_limits(self._store) if name in (None, line.name)]

    def resolve(self, text: str) -> UUID:
        """Return the id of the job or step that `JOB`, `JOB/STEP` or `JOB/groups[3]/merge` names.

        JOB is an id or the start of one, at least four digits. Raises `UnknownJob` with a hint.
        """
        return self.locate(text).id

    def locate(self, text: str) -> Place:
        """Return job and path of what `resolve` finds."""
        self.refresh()
        return self._places.locate(text)

    def refresh(self) -> int:
        """Bring the read models up to the log; return the position."""
        return catch_up(self._store, self._views)


def _line(view: JobView) -> JobLine:
    return JobLine(
        job=view.job,
        name=view.name,
        version=view.version,
        state=view.state,
        labels=view.labels,
        submitted_at=format_time(view.submitted_at),
        ended_at=optional_time(view.ended_at),
        progress=progress(view.counts),
    )
