"""A process that writes to a log, and says after each commit what it was promised.

    python log_writer.py PLACE STREAM COMMITS [NAME [PARTITION...]]

The place is the path of a SQLite file or the URL of a MongoDB, whose partitions are written in
turn, so many commits in each. Commits carry three events of the stream and one of a stream of its
own per commit, all with the name (of the stream if none is given). Each line on stdout is one
acknowledged commit: its last position, the last version of the stream, and the partition if one is
given. It begins when its stdin is closed, so that several can begin at once. A writer that comes
too late for a version goes on from the newest.
"""

from __future__ import annotations

import sys
from itertools import cycle, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.events import recorded, run_of, stream_id

from warrener.adapters.sqlite_events import open_sqlite
from warrener.domain.errors import Conflict
from warrener.services.event_log import EventLog

EVENTS_PER_COMMIT = 4


def main(place: str, stream: int, commits: int, name: str, partitions: list[int]) -> None:
    sys.stdin.read()
    logs = {partition: open_log(place, partition) for partition in partitions or [0]}
    versions = {partition: newest(log, stream) for partition, log in logs.items()}
    for partition in islice(cycle(logs), commits * len(logs)):
        log, shown = logs[partition], [partition] if partitions else []
        while (position := write(log, stream, versions[partition], name)) is None:
            versions[partition] = newest(log, stream)
        versions[partition] += 3
        print(position, versions[partition], *shown, flush=True)
    for log in logs.values():
        log.close()


def open_log(place: str, partition: int) -> EventLog:
    if not place.startswith("mongodb:"):
        return EventLog(open_sqlite(place))
    from warrener.adapters.mongo_events import MongoRecorder

    return EventLog(MongoRecorder(place, partition), partition)


def write(log: EventLog, stream: int, version: int, name: str) -> int | None:
    """Return the position of a commit, None if somebody else has taken the version."""
    own = recorded(stream * 1_000_000 + version, 1, name)
    try:
        return log.commit([*run_of(stream, version + 1, version + 3, name), own], {})
    except Conflict:
        return None


def newest(log: EventLog, stream: int) -> int:
    last = log.last(stream_id(stream))
    return last.originator_version if last else 0


if __name__ == "__main__":
    place, number, count, *rest = sys.argv[1:]
    main(place, int(number), int(count), *(rest[:1] or [number]), [*map(int, rest[1:])])
