"""What is recorded of a tree of jobs: its events in order, its definitions, and its values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain import job as jobs
from warrener.domain.definition.model import JobDefinition, StepDefinition
from warrener.domain.definition.params import complete
from warrener.domain.errors import PrunedJob, StoredDataError
from warrener.domain.events import (
    DefinitionStored,
    EventPruned,
    JobEnded,
    JobEvent,
    JobRerun,
    JobSubmitted,
    Recorded,
    event_of,
)
from warrener.domain.job_state import Job
from warrener.domain.messages import SubmitJob
from warrener.domain.payloads import Payload, decode_json, encode_json
from warrener.domain.plan import Plan, build_plan
from warrener.domain.ports import Positioned
from warrener.domain.step_events import StepEvent, StepReadied
from warrener.services.partial_log import PartialLog, no_blob
from warrener.services.submission import Source

EVENTS_MAX = 1_000_000  # of one tree: all of them are held in memory


class Record:
    """The history of one tree. Raises `StoredDataError` if a part of it is missing."""

    def __init__(
        self, events: Iterable[Positioned], blob: Callable[[str], bytes] = no_blob
    ) -> None:
        """Take the events of a tree; `blob` gives values that are kept as blobs."""
        self.log = PartialLog(_bounded(events), blob)
        self.events = self.log.read(0, EVENTS_MAX)
        self.submissions: dict[UUID, JobSubmitted] = {}
        self._plans: dict[str, Plan] = {}
        self._jobs: dict[UUID, Job] = {}
        self._steered: dict[str, int] = {}
        versions: dict[UUID, int] = {}
        for positioned in self.events:
            self._take(positioned.recorded, versions)
        root = next((e for e in self.submissions.values() if e.parent is None), None)
        if root is None:
            raise StoredDataError("the history has no root job")
        if root.key is None or ids.job_id(root.key) != root.root:
            raise StoredDataError("the history does not tell the key that the job was sent with")
        self.submitted = root

    def _take(self, recorded: Recorded, versions: dict[UUID, int]) -> None:
        event, stream = recorded.event, recorded.originator_id
        if isinstance(event, EventPruned):
            raise PrunedJob(f"parts of job {event.job} were pruned into archive {event.archive}")
        if not isinstance(event, JobEvent | StepEvent):
            return
        before, version = versions.get(stream, 0), recorded.originator_version
        if version != before + 1:
            raise StoredDataError(
                f"the history is not complete: of {stream}, event {before + 1} is missing"
            )
        versions[stream] = version
        if isinstance(event, JobSubmitted):
            self.submissions[stream] = event
        if isinstance(event, JobRerun | StepReadied):
            self._steered[event.cause] = self._steered.get(event.cause, 0) + 1
        job = event.job if isinstance(event, StepEvent) else stream
        if job not in self.submissions:
            raise StoredDataError(f"the history is not complete: it lacks how job {job} began")

    # --- jobs ------------------------------------------------------------------------------------

    def job(self, job: UUID) -> Job | None:
        """Return a job as it stands at the end of the history, None if there is no such job."""
        found = self._jobs.get(job)
        if found is None and job in self.submissions:
            found = self._jobs[job] = jobs.project(None, self.log.stream(job)) or Job(job)
        return found

    def job_before(self, job: UUID, version: int) -> Job:
        """Return a job as it was before an event of its stream."""
        earlier = (e for e in self.log.stream(job) if e.originator_version < version)
        return jobs.project(None, earlier) or Job(job)

    def steered_at_once(self, cause: str) -> int:
        """Return how many steps and jobs one command began anew or let go out again."""
        return self._steered.get(cause, 0)

    @property
    def ended(self) -> bool:
        """Say whether the root job has ended."""
        last = self.log.last(self.submitted.root)
        return last is not None and isinstance(last.event, JobEnded)

    # --- definitions and values ------------------------------------------------------------------

    def definition(self, content_hash: str) -> JobDefinition:
        """Return a recorded definition; raises `StoredDataError`."""
        stored = event_of(self.log.last(ids.definition_id(content_hash)), DefinitionStored)
        if stored is None:
            raise StoredDataError(f"the history lacks the definition {content_hash}")
        return msgspec.json.decode(stored.json, type=JobDefinition)

    def plan(self, job: UUID) -> Plan:
        """Return the plan by which a job ran."""
        content_hash = self.submissions[job].definition
        found = self._plans.get(content_hash)
        if found is None:
            found = self._plans[content_hash] = build_plan(self.definition(content_hash))
        return found

    def step(self, job: UUID, path: str) -> StepDefinition | None:
        """Return the definition by which a step ran, None if the job had no such step."""
        name, _ = ids.split_path(path)
        planned = self.plan(job).steps.get(name) if job in self.submissions else None
        return None if planned is None else planned.definition

    def data(self, payload: Payload | None) -> bytes:
        """Return the JSON of a recorded value; raises `StoredDataError`."""
        if payload is None:
            return b"null"
        if payload.json is not None:
            return payload.json.encode()
        return self.log.blob(payload.blob or "")


def _bounded(events: Iterable[Positioned]) -> Iterable[Positioned]:
    for number, each in enumerate(events):
        if number >= EVENTS_MAX:
            raise StoredDataError(f"the history has more than {EVENTS_MAX} events")
        yield each


def submission_anew(record: Record, source: Source) -> SubmitJob:
    """Return what submits the recorded job by another definition, with all else as it was.

    Sub-jobs that the new definitions do not name stay as they were.
    """
    submitted, main = record.submitted, source.main
    recorded = {
        name: record.definition(content_hash).to_json().decode()
        for name, content_hash in submitted.library.items()
    }
    given = {name: each.to_json().decode() for name, each in source.library.items()}
    library = {**recorded, **given}
    text = main.to_json().decode()
    if main.name in library:
        library[main.name] = text
    old = record.definition(submitted.definition)
    params = _params(decode_json(record.data(submitted.params)), old, main)
    return SubmitJob(
        key=submitted.key or "",
        definition=text,
        params=msgspec.Raw(encode_json(params)),
        library=library,
        labels=submitted.labels,
        priority=submitted.priority,
        fair=submitted.fair,
        selection=submitted.selection,
        given=submitted.given,
        deadline=_own_deadline(submitted, old),
    )


def _params(params: dict[str, object], old: JobDefinition, new: JobDefinition) -> dict[str, object]:
    """Return the parameters as they would be sent now: without defaults that are gone."""
    known = (new.params or {}).get("properties", {})
    defaults = complete(old, {})
    kept = {
        name: value
        for name, value in params.items()
        if name in known or name not in defaults or defaults[name] != value
    }
    return complete(new, kept)


def _own_deadline(submitted: JobSubmitted, old: JobDefinition) -> datetime | None:
    """Return the deadline that came with the submission, not that of the definition."""
    if submitted.deadline is None or old.deadline is None:
        return submitted.deadline
    defined = submitted.at + timedelta(seconds=old.deadline)
    return None if submitted.deadline == defined else submitted.deadline
