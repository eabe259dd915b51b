"""A dry run of a definition over recorded jobs: each is decided anew and compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

import msgspec

from warrener.domain.errors import (
    DefinitionError,
    ParameterError,
    PayloadError,
    StoredDataError,
    UnknownJob,
    UsageError,
)
from warrener.domain.partitions import Logs
from warrener.domain.states import JOB_ENDED
from warrener.services.admission import admit
from warrener.services.dry_run.compare import Comparison, generic_path, open_steps
from warrener.services.dry_run.differences import shown
from warrener.services.dry_run.notes import notes_of
from warrener.services.dry_run.play import Play
from warrener.services.dry_run.record import Record, submission_anew
from warrener.services.dry_run.shapes import Finding, Group, JobReport, Kind, Summary
from warrener.services.dry_run.story import Stories
from warrener.services.logs import blob_of
from warrener.services.queries import Queries
from warrener.services.submission import Source

FINDINGS_MAX = 100
GROUPS_MAX = 1_000


class DryRun:
    """Runs one definition, with its sub-jobs, over recorded jobs, and counts what it finds."""

    def __init__(self, source: Source, findings_max: int = FINDINGS_MAX) -> None:
        """Take checked definitions; of each job, so many findings are told at most."""
        self._source = source
        self._findings_max = findings_max
        self._verdicts: dict[str, int] = {}
        self._steps = 0
        self._groups: dict[tuple[str, str], Group] = {}
        self._left_out = 0

    def job(self, queries: Queries, logs: Logs, job: UUID) -> JobReport:
        """Decide the tree of a root job anew, and return what differs.

        Raises `UnknownJob` and errors of the store.
        """
        try:
            events = queries.tree_events(job)
            report = self.record(Record(events, lambda name: blob_of(logs, name)))
        except (StoredDataError, UnknownJob, DefinitionError) as error:
            report = _unreadable(queries, job, error)
        self._count(report)
        return report

    def record(self, record: Record) -> JobReport:
        """Decide a recorded tree anew, and return what differs."""
        found, played = self._decide(record)
        old = Stories(record.log, lambda job, _: record.plan(job))
        notes: tuple[str, ...] = ()
        if played is not None:
            plans = played.memory.plan
            new = Stories(played.log, lambda _, submitted: plans(submitted.definition))
            found = Comparison(old, new, played.refused).findings()
            notes = notes_of(old, new)
        root = old.jobs[record.submitted.root].job
        return JobReport(
            job=record.submitted.root,
            name=record.submitted.name,
            version=record.submitted.version,
            state=root.state,
            verdict="differs" if found else "same",
            findings=tuple(found[: self._findings_max]),
            more=max(0, len(found) - self._findings_max),
            notes=notes,
            open_steps=0 if root.state in JOB_ENDED else open_steps(old),
            steps=sum(len(s.named) + sum(map(len, s.items.values())) for s in old.jobs.values()),
        )

    def _decide(self, record: Record) -> tuple[list[Finding], Play | None]:
        message = submission_anew(record, self._source)
        play = Play(record)
        try:
            admit(message, play.log)
        except (UsageError, PayloadError) as error:
            return [_refused(record, error)], None
        play.run(message)
        return [], play

    # --- all of them -----------------------------------------------------------------------------

    def _count(self, report: JobReport) -> None:
        self._verdicts[report.verdict] = self._verdicts.get(report.verdict, 0) + 1
        self._steps += report.steps
        counted: set[tuple[str, str]] = set()
        for finding in report.findings:
            path = generic_path(finding.path)
            key = (finding.kind, path)
            if key in counted:
                continue
            counted.add(key)
            known = self._groups.get(key)
            if known is not None:
                self._groups[key] = msgspec.structs.replace(known, jobs=known.jobs + 1)
            elif len(self._groups) >= GROUPS_MAX:
                self._left_out += 1
            else:
                self._groups[key] = Group(
                    kind=finding.kind,
                    path=path,
                    jobs=1,
                    example=report.job,
                    sentence=finding.sentence,
                )

    def summary(self, seconds: float) -> Summary:
        """Return all of it so far; it took so many seconds."""
        main, count = self._source.main, self._verdicts.get
        groups = sorted(self._groups.values(), key=lambda g: (-g.jobs, g.kind, g.path))
        return Summary(
            definition=main.name,
            version=main.version,
            hash=main.hash,
            jobs=sum(self._verdicts.values()),
            same=count("same", 0),
            differs=count("differs", 0),
            unknown=count("unknown", 0),
            steps=self._steps,
            seconds=seconds,
            groups=tuple(groups),
            more=self._left_out,
        )


def roots(queries: Queries, jobs: Iterable[UUID]) -> dict[UUID, str]:
    """Return the roots above jobs, each once, with their names; raises `UnknownJob`."""
    found = dict.fromkeys(queries.show(job, whole=False).root for job in jobs)
    return {root: queries.show(root, whole=False).name for root in found}


def _unreadable(queries: Queries, job: UUID, error: Exception) -> JobReport:
    view = queries.show(job, whole=False)
    return JobReport(
        job=view.root,
        name=view.name,
        version=view.version,
        state=view.state,
        verdict="unknown",
        problem=str(error),
    )


def check_names(source: Source, names: Mapping[UUID, str]) -> None:
    """Refuse jobs that are not of the definition's name: they would differ in everything."""
    main = source.main.name
    others = [job for job, name in names.items() if name != main]
    if others:
        job = others[0]
        more = f", and {len(others) - 1} more" if len(others) > 1 else ""
        raise UsageError(
            f"the definition is of job {main}, but {job} is a job {names[job]}{more}:"
            " name jobs of that name, or give --force to compare all the same"
        )


def _refused(record: Record, error: UsageError | PayloadError) -> Finding:
    """Return that the job would not be taken at all."""
    kind: Kind = "definition-invalid"
    if isinstance(error, ParameterError | PayloadError):
        kind = "params-refused"
    return Finding(
        job=record.submitted.root,
        path="",
        kind=kind,
        sentence=f"the job would not be taken: {error}",
        old=shown(msgspec.json.decode(record.data(record.submitted.params))),
    )
