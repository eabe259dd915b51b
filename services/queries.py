"""What users ask about jobs. Where no projector runs, a query first brings the read models up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import StoredDataError, UnknownJob
from warrener.domain.ids import split_path
from warrener.domain.partitions import Logs
from warrener.domain.states import JOB_STATES
from warrener.projections import views as documents
from warrener.projections.ports import JobCursor, JobFilter, ViewStore
from warrener.projections.views import JobView
from warrener.services.attempt_queries import (
    Attempt,
    AttemptPlace,
    TimelinePage,
    attempts_of_step,
    whole_timeline,
)
from warrener.services.attempt_queries import timeline as timeline_page
from warrener.services.control_queries import ControlQueries
from warrener.services.control_shapes import ActionLine, Fleet, LimitLine
from warrener.services.flow_queries import FlowQueries
from warrener.services.flow_shapes import FlowNow, StarvationLine
from warrener.services.limit_queries import LimitQueries
from warrener.services.logs import each_log, log_of_root, refuse_pruned
from warrener.services.places import Place, Places
from warrener.services.projector import catch_up
from warrener.services.shapes import (
    Error,
    HistoryLine,
    JobLine,
    KeptSignal,
    Show,
    SlowStep,
    Steered,
    Step,
    TreeNode,
    format_time,
    optional_time,
    progress,
)
from warrener.services.starvation_queries import StarvationQueries
from warrener.services.step_queries import StepQueries
from warrener.services.tree_events import TreeEvents
from warrener.services.tree_queries import TreeQueries
from warrener.services.why import Progress

JOBS_COUNTED_MAX = 100_000  # of each state
DEFINITIONS_AMONG = 1_000  # jobs are looked at for a page of definitions


class Queries:
    """Answers from the read models; payloads kept as blobs and events come from the log."""

    def __init__(self, logs: Logs, views: ViewStore, *, folds: bool = True) -> None:
        """Take the open stores; with `folds` the read models are brought up to the log here."""
        self._logs = logs
        self._folds = folds
        self._views = views
        self._places = Places(views)
        self._steps = StepQueries(logs, views, self._places)
        self._trees = TreeQueries(logs, views, self._places)
        self._control = ControlQueries(views, self._steps.whole, logs.count)
        self._limits = LimitQueries(logs, views, self._places)
        self._flow = FlowQueries(views, logs.count)
        self._starvation = StarvationQueries(views, logs.count)

    def jobs(
        self,
        *,
        state: str | None = None,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: JobCursor | None = None,
        limit: int = 50,
        roots_only: bool = True,
    ) -> list[JobLine]:
        """Return jobs, the newest first: those submitted from `since` on and before `until`.

        With `after` those that come after this place in the list.
        """
        self.refresh()
        wanted = JobFilter(
            state=state,
            name=name,
            labels=labels or {},
            since=since,
            until=until,
            after=after,
            limit=limit,
            roots_only=roots_only,
        )
        return [_line(view) for view in self._views.find_jobs(wanted)]

    def count_jobs(self, count_max: int = JOBS_COUNTED_MAX) -> dict[str, int]:
        """Return how many root jobs there are by state; `count_max` stands for as many or more."""
        self.refresh()
        wanted = (JobFilter(state=state, limit=count_max) for state in JOB_STATES)
        counts = {str(each.state): self._views.count_jobs(each) for each in wanted}
        return {state: count for state, count in counts.items() if count}

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
            generation=view.generation,
            paused=Steered.of(view.paused),
            cancelling=Steered.of(view.stopped),
            rerun=Steered.of(view.rerun),
            deadline=optional_time(view.deadline),
            overdue_at=optional_time(view.overdue_at),
            closing=view.closing,
            signals=tuple(_signal(signal) for signal in view.signals),
            signals_kept=view.signals_kept,
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

    def definition_of(self, content_hash: str) -> JobDefinition:
        """Return the definition with this hash; raises `UnknownJob`."""
        self.refresh()
        try:
            return self._places.definition(content_hash)
        except StoredDataError as error:
            raise UnknownJob(str(error)) from error

    def definitions(
        self, limit: int, after: JobCursor | None = None
    ) -> tuple[list[JobDefinition], JobCursor | None]:
        """Return the definitions that the newest jobs run by, each once, and where to go on.

        The next page may have some of them again. Few are found among many jobs: a page may have
        less than `limit` before the end.
        """
        self.refresh()
        found: dict[str, JobDefinition] = {}
        wanted = JobFilter(roots_only=False, limit=DEFINITIONS_AMONG, after=after)
        views = self._views.find_jobs(wanted)
        for view in views:
            if view.definition not in found:
                if len(found) == limit:
                    break
                found[view.definition] = self._places.definition(view.definition)
            after = JobCursor(view.submitted_at, view.job)
        else:
            after = after if len(views) == DEFINITIONS_AMONG else None
        return list(found.values()), after

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

    def positions(self, job: UUID, *, after: int = 0) -> Iterator[int]:
        """Yield the positions of a job's own events past `after`."""
        self.refresh()
        return self._trees.positions(self._places.job(job).job, after)

    def tree_events(self, job: UUID, *, until: int | None = None) -> TreeEvents:
        """Return all events that tell of the tree that a job is in, up to a position of its log.

        They are read as they are asked for, and again each time.
        """
        self.refresh()
        root = self._places.job(job).root
        log = log_of_root(self._logs, root)
        return TreeEvents(log, self._trees, root, log.head() if until is None else until)

    def attempts(self, place: Place, *, after: int = -1, limit: int = 100) -> list[Attempt]:
        """Return attempts of a step or item by number, those after number `after`."""
        self.refresh()
        path = place.path or ""
        return attempts_of_step(self._views, place.job, path, after=after, limit=limit)

    def timeline(self, job: UUID, *, tree: bool = False) -> Iterator[Attempt]:
        """Yield all attempts and waits of a job, with `tree` those of everything below it, too.

        They come by the time at which they began.
        """
        self.refresh()
        if not tree:
            return whole_timeline(self._views, job=job)
        found = whole_timeline(self._views, root=self._places.job(job).root)
        return (each for each in found if self._places.is_below(each.job, job))

    def timeline_page(
        self, job: UUID, *, tree: bool, after: AttemptPlace | None, limit: int
    ) -> TimelinePage:
        """Return some of it, after a place in it; a page may be empty before the end."""
        self.refresh()
        if not tree:
            return timeline_page(
                self._views, job=self._places.job(job).job, after=after, limit=limit
            )
        root = self._places.job(job).root
        page = timeline_page(self._views, root=root, after=after, limit=limit)
        below = (each for each in page.attempts if self._places.is_below(each.job, job))
        return msgspec.structs.replace(page, attempts=tuple(below))

    def slowest(self, job: UUID, limit: int = 10) -> list[SlowStep]:
        """Return the steps that ran longest, in a job and everything below it."""
        self.refresh()
        return self._trees.slowest(job, limit)

    def actions(
        self, cause: str | None = None, *, state: str | None = "open", limit: int = 1_000
    ) -> list[ActionLine]:
        """Return requests for people, the newest first; with `cause` those about it.

        `state` is open, answered, withdrawn, or None for all.
        """
        self.refresh()
        return self._control.actions(cause, state, limit)

    def find_action(self, text: str) -> ActionLine:
        """Return the request with this id or start of one, or the open one about this cause.

        Raises `UsageError` with a hint.
        """
        self.refresh()
        return self._control.find_action(text)

    def limits(
        self,
        name: str | None = None,
        *,
        holders_at: datetime | None = None,
        on_progress: Progress | None = None,
    ) -> list[LimitLine]:
        """Return the limits that were changed or are in use, by name; with `name` that one.

        With `holders_at`, the present time, who holds them is counted in the logs: that may take
        long. Without, those that hold nobody back are left out unless they were changed.
        """
        self.refresh()
        return self._limits.limits(name, holders_at, on_progress)

    def flow(self, points: int = 0) -> FlowNow:
        """Return what is set about the flow, and its latest figures over all partitions.

        Each stage has a series of up to so many points, of the latest samples.
        """
        self.refresh()
        return self._flow.flow(points)

    def starvation(
        self, *, open_only: bool = True, since: datetime | None = None, limit: int = 50
    ) -> list[StarvationLine]:
        """Return incidents of starvation, the newest first; with `since` those from then on."""
        self.refresh()
        return self._starvation.starvation(open_only=open_only, since=since, limit=limit)

    def find_incident(self, text: str) -> StarvationLine:
        """Return the incident with this id or start of one; raises `UsageError` with a hint."""
        self.refresh()
        return self._starvation.find_incident(text)

    def fleet(self) -> Fleet | None:
        """Return what workers offer, None if none has come yet."""
        self.refresh()
        return self._control.fleet()

    def resolve(self, text: str) -> UUID:
        """Return the id of the job or step that `JOB`, `JOB/STEP` or `JOB/groups[3]/merge` names.

        JOB is an id or the start of one, at least four digits. Raises `UnknownJob` with a hint.
        """
        return self.locate(text).id

    def locate(self, text: str) -> Place:
        """Return job and path of what `resolve` finds."""
        self.refresh()
        try:
            return self._places.locate(text)
        except UnknownJob:
            self._refuse_pruned(text)
            raise

    def _refuse_pruned(self, text: str) -> None:
        """Raise `PrunedJob` if this is, or begins with, the whole id of a job in an archive."""
        try:
            job = UUID(text.partition("/")[0].strip())
        except ValueError:
            return
        partition = self._logs.find(job)
        if partition is not None:
            refuse_pruned(job, self._logs.log(partition).last(job))

    def refresh(self) -> None:
        """Bring the read models up to the log, unless a projector does."""
        if self._folds:
            for log in each_log(self._logs):
                catch_up(log, self._views)


def _signal(signal: documents.KeptSignal) -> KeptSignal:
    at = format_time(signal.at)
    return KeptSignal(name=signal.name, key=signal.key, at=at, by=signal.by)


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
