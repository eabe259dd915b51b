"""Finds jobs that were pruned in their archives, and reads their history back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

import msgspec

from warrener.domain.errors import UnknownJob, UsageError
from warrener.domain.events import EventPruned, JobSubmitted
from warrener.domain.ids import definition_id
from warrener.domain.partitions import Logs
from warrener.domain.ports import EventStore, Positioned
from warrener.domain.step_events import StepOpened, StepParked
from warrener.domain.stored import Archive
from warrener.projections.history import job_of
from warrener.services.logs import log_of_job
from warrener.services.partial_log import PartialLog
from warrener.services.places import HEX, PREFIX_MIN
from warrener.services.shapes import HistoryLine
from warrener.services.tree_queries import history_line
from warrener.services.upkeep.archive_format import ArchiveReader, BlobLine, EventLine
from warrener.services.upkeep.commits import Part, part_of, parts_of
from warrener.services.upkeep.zstd_lines import reading


class PrunedJob(msgspec.Struct, frozen=True):
    """A job that was pruned, and the file that has its tree."""

    job: UUID
    file: Path


def find_pruned(logs: Logs, text: str, file: Path | None = None) -> PrunedJob | None:
    """Return the pruned job with this id or start of one; None if no archive is known to have it.

    With `file` that archive is looked at. Raises `UsageError` if an archive is not there any more,
    or if the text is the start of several ids.
    """
    digits = text.strip().lower().replace("-", "")
    if not HEX.fullmatch(digits) or len(digits) < PREFIX_MIN:
        return None
    if isinstance(logs.log(0), PartialLog):  # a history knows of no archives
        return None
    if file is not None:
        return _in_files(digits, [file])
    if len(digits) == 32:
        return _by_events(logs, UUID(digits))
    known = {archive.file: None for part in parts_of(logs) for archive in _archives(part)}
    return _in_files(digits, [Path(each) for each in known if Path(each).exists()])


def pruned_history(logs: Logs, found: PrunedJob, *, tree: bool = False) -> Iterator[HistoryLine]:
    """Yield the events of a pruned job, with `tree` those of all jobs below it, by position."""
    with reading(found.file) as file:
        reader = ArchiveReader(found.file, file)
        at = reader.find(found.job)
        if at is None:
            raise UnknownJob(f"{found.file} does not have job {found.job}")
        decoder = part_of(logs, 0)
        tree_of = _Tree(found.job)
        for line in reader.tree(at):
            if isinstance(line, EventLine):
                each = Positioned(line.position, decoder.decode(line.stored()))
                tree_of.learn(each)
                path = tree_of.path(each)
                if path == "" or (path is not None and tree):
                    yield history_line(each, path)


def pruned_log(logs: Logs, found: PrunedJob) -> PartialLog:
    """Return the tree that a pruned job is in as a log, with what of it is still in the store.

    Those are its definitions, and the requests to people that its steps waited for.
    """
    blobs: dict[str, bytes] = {}
    events: list[Positioned] = []
    with reading(found.file) as file:
        reader = ArchiveReader(found.file, file)
        at = reader.find(found.job)
        if at is None:
            raise UnknownJob(f"{found.file} does not have job {found.job}")
        decoder = part_of(logs, 0)
        for line in reader.tree(at):
            if isinstance(line, EventLine):
                events.append(Positioned(line.position, decoder.decode(line.stored())))
            elif isinstance(line, BlobLine):
                blobs[line.name] = line.data
    log = log_of_job(logs, found.job)
    events += [each for stream in _referred(events) for each in _positioned(log, stream)]
    return PartialLog(events, lambda name: blobs[name] if name in blobs else log.blob(name))


def _referred(events: Sequence[Positioned]) -> Iterator[UUID]:
    """Yield the streams that events of a tree refer to, each once."""
    found: dict[UUID, None] = {}
    for each in events:
        event = each.recorded.event
        if isinstance(event, JobSubmitted):
            hashes = (event.definition, *event.library.values())
            found.update(dict.fromkeys(map(definition_id, hashes)))
        elif isinstance(event, StepParked | StepOpened) and event.request is not None:
            found[event.request] = None
    yield from found


def _positioned(log: EventStore, stream: UUID) -> Iterator[Positioned]:
    for recorded in log.stream(stream):
        position = log.position(stream, recorded.originator_version)
        if position is not None:
            yield Positioned(position, recorded)


class _Tree:
    """Where the jobs of a tree are below one of them."""

    def __init__(self, top: UUID) -> None:
        self._paths: dict[UUID, str] = {top: ""}

    def learn(self, positioned: Positioned) -> None:
        """Learn where a job is when it is submitted."""
        event, job = positioned.recorded.event, positioned.recorded.originator_id
        if isinstance(event, JobSubmitted) and event.parent is not None:
            above = self._paths.get(event.parent.job)
            if above is not None:
                path = f"{above}/{event.parent.path}" if above else event.parent.path
                self._paths.setdefault(job, path)

    def path(self, positioned: Positioned) -> str | None:
        """Return where the job of an event is; None if it is not below the top."""
        job = job_of(positioned)
        return None if job is None else self._paths.get(job)


def _by_events(logs: Logs, job: UUID) -> PrunedJob | None:
    """Find a job by what stands in its stream."""
    try:
        log = log_of_job(logs, job)
    except UnknownJob:
        return None
    last = log.last(job)
    if last is None or not isinstance(last.event, EventPruned):
        return None
    wanted = last.event.archive
    known = {archive.id: archive.file for part in parts_of(logs) for archive in _archives(part)}
    place = known.get(wanted)
    if place is None:
        raise UsageError(f"job {job} was pruned into the archive {wanted}: name it with --archive")
    if not Path(place).exists():
        raise UsageError(
            f"job {job} was pruned into {place}, which is not there any more: name where it is now"
            " with --archive FILE"
        )
    return PrunedJob(job, Path(place))


def _archives(part: Part) -> Sequence[Archive]:
    return part.commits.select_archives()


def _in_files(digits: str, files: Sequence[Path]) -> PrunedJob | None:
    low, high = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    found: dict[UUID, Path] = {}
    for path in files:
        with reading(path) as file:
            index = ArchiveReader(path, file).index()
            found.update({line.job: path for line in index if low <= line.job <= high})
    if len(found) > 1:
        some = ", ".join(str(job) for job in sorted(found)[:3])
        raise UsageError(f"{digits!r} is the start of several pruned jobs: {some}")
    return next((PrunedJob(job, path) for job, path in found.items()), None)
