"""Histories that released versions have recorded, and what must be said of them for ever.

Each is a history file with another beside it: how every job of the tree stood at some positions and
at the end, and why. Later versions may say more, and in other words; what was said must not change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import zstandard
from support.asking import places, why_at
from support.history_files import queries_of

from warrener.domain.errors import UnknownJob
from warrener.domain.events import JobSubmitted
from warrener.domain.ports import EventStore
from warrener.services.log_at import LogAt
from warrener.services.shapes import Why
from warrener.services.why import Moment

CORPUS = Path(__file__).parents[1] / "histories"
SUFFIX = ".history.jsonl"
EXPECTED = ".expected.json.zst"
MOMENTS = 5
EVENTS_MAX = 1_000_000


def recorded() -> list[Path]:
    """Return the files of all versions."""
    return sorted(CORPUS.glob(f"*/*{SUFFIX}*"))


def expected(file: Path) -> Path:
    """Return the path of what must be said of a history."""
    return file.with_name(file.name.partition(SUFFIX)[0] + EXPECTED)


def keep(file: Path, document: dict[str, Any]) -> None:
    """Write what must be said of a history beside it."""
    data = msgspec.json.encode(document) + b"\n"
    expected(file).write_bytes(zstandard.compress(data, level=19))


def kept(file: Path) -> dict[str, Any]:
    """Return what must be said of a history."""
    data = zstandard.decompress(expected(file).read_bytes())
    return msgspec.json.decode(data, type=dict[str, Any])


def told(log: EventStore, root: UUID) -> dict[str, Any]:
    """Return what is said of a tree at some positions and at the end."""
    found = [_moment(log, root, moment) for moment in _moments(log, root)]
    return _as_json({"root": root, "moments": found})


def told_at(log: EventStore, root: UUID, position: int) -> dict[str, Any]:
    """Return what is said of a tree at a position."""
    now = log.read(position - 1, 1)[0].recorded.event.at
    return _as_json(_moment(log, root, Moment(position, now)))


def _as_json(document: Any) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(document), type=dict[str, Any])


def _moments(log: EventStore, root: UUID) -> Iterator[Moment]:
    begin = log.position(root, 1) or 1
    own = [each.position for each in log.read(begin - 1, EVENTS_MAX)]
    for number in range(1, MOMENTS + 1):
        position = own[number * len(own) // (MOMENTS + 1)]
        yield Moment(position, log.read(position - 1, 1)[0].recorded.event.at)
    yield Moment(own[-1], log.read(own[-1] - 1, 1)[0].recorded.event.at)


def _moment(log: EventStore, root: UUID, moment: Moment) -> dict[str, Any]:
    then = LogAt(log, moment.position)
    queries = queries_of(then)
    reasons: dict[str, dict[str, Any]] = {}
    for place in places(log, moment.position):
        answer = why_at(log, place, moment)
        reasons.setdefault(str(place.job), {})[place.path or "."] = _why(answer)
    shown = {}
    for job in _jobs(then, root):
        try:
            shown[str(job)] = queries.show(job)
        except UnknownJob:
            shown[str(job)] = None
    return {"position": moment.position, "jobs": shown, "why": reasons}


def _jobs(log: EventStore, root: UUID) -> list[UUID]:
    found = [each.recorded for each in log.read(0, EVENTS_MAX)]
    submitted = [each for each in found if isinstance(each.event, JobSubmitted)]
    return [each.originator_id for each in submitted if each.event.root == root]


def _why(answer: Why) -> dict[str, Any]:
    """Return an answer without its sentences."""
    waiting = answer.waiting
    return {
        "state": answer.state,
        "kind": waiting.kind,
        "since": waiting.since,
        "until": waiting.until,
        "blockers": [
            {"kind": each.kind, "id": each.id, "path": each.path, "state": each.state}
            for each in waiting.blockers
        ],
    }


def lost(was: Any, now: Any, place: str = "") -> Iterator[str]:
    """Yield every place at which something is not said any more, or is said otherwise."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key, value in was.items():
            if key not in now:
                yield f"{place}.{key} is gone"
            else:
                yield from lost(value, now[key], f"{place}.{key}")
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for number, (before, after) in enumerate(zip(was, now, strict=True)):
            yield from lost(before, after, f"{place}[{number}]")
    elif was != now:
        yield f"{place} was {was!r}, is {now!r}"
