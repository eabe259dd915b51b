"""What `replay --export` does: writes a history file, and tells what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import IO, TYPE_CHECKING, cast

from warrener.domain.errors import UsageError
from warrener.services import settings
from warrener.services.cli.output import ByteOutput, number_of
from warrener.services.cli.replay_source import opened
from warrener.services.cli.session import Session, job_of

if TYPE_CHECKING:
    from warrener.services.histories.export import Exported, Exporter
    from warrener.services.histories.file_format import Header
    from warrener.services.histories.rules import Rules

RULES_SHOWN = 6


def export_history(
    session: Session,
    job: str | None,
    file: str,
    redact: Sequence[str],
    *,
    no_redact: bool = False,
) -> None:
    """Write the tree that a job is in into a file, `-` for stdout, and tell what was written.

    Without a job that is the only tree there is. One that was pruned comes from its archive.
    `redact` are patterns beside those of the settings and our own; `no_redact` leaves all secrets
    in. Raises `UsageError`.
    """
    rules = _rules(session, redact, no_redact)
    if file == "-" and session.output.as_json:
        raise UsageError("--export - writes to stdout, as --json does: name a file")
    done = _export(session, job, file, rules)
    if file != "-" and session.output.as_json:
        session.output.json(
            {"file": done.file, "bytes": done.bytes, "values": done.header.redaction.values}
            | {"history": done.header}
        )
        return
    if file != "-":
        session.output.show(_holds(done))
    _tell(session, done.header, rules)


def _rules(session: Session, redact: Sequence[str], no_redact: bool) -> Rules | None:
    from warrener.services.histories.rules import Rules

    if no_redact and redact:
        raise UsageError("--redact and --no-redact exclude each other: leave one of them out")
    rules = Rules([*settings.listed(session.settings.redact), *redact])
    return None if no_redact else rules


def _export(session: Session, job: str | None, file: str, rules: Rules | None) -> Exported:
    from warrener.services import wiring
    from warrener.services.cli.progress import working
    from warrener.services.histories.export import Exported, Exporter, Source, target
    from warrener.services.logs import blob_of

    with opened(session, job) as (logs, queries, place):
        found = job_of(place, job or "")
        root = queries.show(found, whole=False).root
        if root != found:
            session.output.note(f"job {found} is part of {root}: the whole tree is exported")
        source = Source(
            root,
            queries.tree_events(root),
            lambda name: blob_of(logs, name),
            wiring.open_codec(),
        )
        with (
            target(file, cast("IO[bytes]", ByteOutput())) as (written, compressed),
            working(session.output, "events", "exporting") as report,
        ):
            exporter = Exporter(source, rules, report)
            header = _written(exporter, written, compressed=compressed)
            size = written.tell() if file != "-" else 0
    return Exported(file, header, size)


def _written(exporter: Exporter, opened: IO[bytes], *, compressed: bool) -> Header:
    from warrener.services import wiring

    now, by = wiring.open_clock().now(), f"warrener {version('warrener')}"
    return exporter.write(opened, now, by, compressed=compressed)


def _holds(done: Exported) -> str:
    header = done.header
    parts = ((header.jobs, "job"), (header.events, "event"), (header.blobs, "blob"))
    jobs, events, blobs = (number_of(count, noun) for count, noun in parts)
    return (
        f"{done.file}: job {header.root} with {jobs}, {events} and {blobs}, {done.bytes:,} bytes."
        f" Look at it with: warrener show {header.root} --store history:{done.file}"
    )


def _tell(session: Session, header: Header, rules: Rules | None) -> None:
    """Tell on stderr what was taken out; that nothing was is a warning."""
    if rules is None:
        session.output.note("warning: nothing was taken out: the file has all secrets of the jobs")
        return
    counts = sorted(header.redaction.counts.items(), key=lambda each: -each[1])
    shown = ", ".join(f"{rule}: {count}" for rule, count in counts[:RULES_SHOWN])
    more = f" and {len(counts) - RULES_SHOWN} more rules" if len(counts) > RULES_SHOWN else ""
    taken = f" ({shown}{more})" if counts else ""
    session.output.note(f"{number_of(header.redaction.values, 'value')} taken out{taken}")
