"""Writes all that tells of one tree of jobs into one file, without secrets.

The log is read twice: what keys say is a secret must be known before the first line is written.
Memory holds one event at a time, and the names of the blobs that are written.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Final
from uuid import UUID

import msgspec

from warrener.domain import job as jobs
from warrener.domain.errors import StoredDataError, UsageError
from warrener.domain.events import JobSubmitted, Recorded
from warrener.domain.job_state import Job
from warrener.domain.ports import Positioned
from warrener.domain.references import blobs_of
from warrener.services.histories.file_format import (
    FORMAT,
    SUFFIX,
    VERSION,
    Codec,
    End,
    Header,
    LineSink,
    Redaction,
    blob_line,
    encoded,
    event_line,
)
from warrener.services.histories.redact import TOKENS, Redactor
from warrener.services.histories.rules import Rules
from warrener.services.upkeep.zstd_lines import written_whole

REPORT_EVENTS: Final = 500

Progress = Callable[[int, int], None]  # events done, of so many; 0 if that is not known yet


class Exported(msgspec.Struct, frozen=True):
    """What was written, and how many bytes it took before it was compressed."""

    file: str
    header: Header
    bytes: int


class Source(msgspec.Struct, frozen=True):
    """A tree of jobs in a store: its root, its events as often as they are asked for, its blobs."""

    root: UUID
    events: Iterable[Positioned]
    blob: Callable[[str], bytes]
    codec: Codec


class Exporter:
    """Writes one tree; without `rules` everything stays as it is."""

    def __init__(
        self, source: Source, rules: Rules | None, on_progress: Progress | None = None
    ) -> None:
        """Take the tree, and the rules that say what is a secret."""
        self._source = source
        self._rules = rules
        self._on_progress = on_progress

    def write(
        self, file: IO[bytes], made_at: datetime, made_by: str, *, compressed: bool
    ) -> Header:
        """Write the whole into an open file."""
        redactor, total = self._learned()
        with tempfile.TemporaryFile() as body:  # the first line says what is in all others
            summary = _Summary(self._source.root)
            blobs = self._write_body(body, redactor, summary, total)
            header = self._header(summary, redactor, blobs, made_at, made_by)
            sink = LineSink(file, compressed=compressed)
            sink.write(encoded(header))
            body.seek(0)
            shutil.copyfileobj(body, sink)
            sink.write(encoded(End(header.events, blobs, sink.sha256())))
            sink.close()
        return header

    def _learned(self) -> tuple[Redactor | None, int]:
        """Return what takes secrets out once it knows them all, and how many events there are."""
        if self._rules is None:
            return None, 0
        learner = Redactor(self._rules, self._source.blob, learns=True)
        count = 0
        for each in self._source.events:
            learner.event(each.recorded)
            learner.blobs.clear()
            count += 1
            self._report(count, 0)
        return Redactor(self._rules, self._source.blob, learner.seen), count

    def _write_body(
        self, body: IO[bytes], redactor: Redactor | None, summary: _Summary, total: int
    ) -> int:
        """Write blobs and events; return how many blobs there are."""
        written: set[str] = set()
        for each in self._source.events:
            recorded = redactor.event(each.recorded) if redactor else each.recorded
            fresh = redactor.blobs if redactor else {}
            for name in blobs_of(recorded.event):
                if name not in written:
                    data = fresh[name] if name in fresh else self._source.blob(name)
                    body.write(encoded(blob_line(name, data)))
                    written.add(name)
            fresh.clear()
            stored = self._source.codec.to_stored_event(recorded)
            body.write(encoded(event_line(each.position, stored)))
            summary.take(each.position, recorded)
            self._report(summary.events, total)
        return len(written)

    def _header(
        self,
        summary: _Summary,
        redactor: Redactor | None,
        blobs: int,
        made_at: datetime,
        made_by: str,
    ) -> Header:
        if summary.job is None:
            raise StoredDataError(f"the log has no events of job {self._source.root}")
        return Header(
            format=FORMAT,
            version=VERSION,
            made_at=made_at,
            made_by=made_by,
            root=self._source.root,
            name=summary.job.name,
            state=summary.job.state,
            first=summary.first,
            last=summary.last,
            jobs=summary.jobs,
            events=summary.events,
            blobs=blobs,
            redaction=_redaction(self._rules, redactor),
        )

    def _report(self, done: int, total: int) -> None:
        if self._on_progress is not None and done % REPORT_EVENTS == 0:
            self._on_progress(done, total)


class _Summary:
    """What the header says of the events."""

    def __init__(self, root: UUID) -> None:
        self._root = root
        self.job: Job | None = None
        self.first = self.last = self.events = self.jobs = 0

    def take(self, position: int, recorded: Recorded) -> None:
        """Take the next event."""
        self.events += 1
        self.first = min(position, self.first or position)
        self.last = max(position, self.last)
        self.jobs += isinstance(recorded.event, JobSubmitted)
        if recorded.originator_id == self._root:
            self.job = jobs.project(self.job, [recorded])


def _redaction(rules: Rules | None, redactor: Redactor | None) -> Redaction:
    if rules is None or redactor is None:
        return Redaction()
    counts = dict(sorted(redactor.values.counts.items()))
    return Redaction((*rules.names, TOKENS), counts, tuple(sorted(redactor.definitions)))


@contextmanager
def target(file: str, stdout: IO[bytes]) -> Iterator[tuple[IO[bytes], bool]]:
    """Give an open file, and whether it is to be compressed; `-` is stdout.

    A file comes to be whole or not at all, and only its owner may read it. Raises `UsageError` if
    it is there already.
    """
    if file == "-":
        yield stdout, False
        stdout.flush()
        return
    path = Path(file)
    if path.exists():
        raise UsageError(f"{file} is there already: name another file, or remove it")
    with written_whole(path) as opened:
        yield opened, path.suffix == SUFFIX
