"""A process that writes to a log, and says after each commit what it was promised.

    python log_writer.py PATH STREAM COMMITS [NAME]

Commits carry three events of the stream and one of a stream of its own per commit, all with the
name (of the stream if none is given). Each line on stdout is one acknowledged commit: its last
position and the last version of the stream. It begins when its stdin is closed, so that several
can begin at once. A writer that comes too late for a version goes on from the newest.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.events import recorded, run_of, stream_id

from warrener.adapters.sqlite_events import open_sqlite
from warrener.domain.errors import Conflict
from warrener.services.event_log import EventLog

EVENTS_PER_COMMIT = 4


def main(path: str, stream: int, commits: int, name: str) -> None:
    sys.stdin.read()
    log = EventLog(open_sqlite(path))
    version = newest(log, stream)
    while commits:
        own = recorded(stream * 1_000_000 + version, 1, name)
        try:
            position = log.commit([*run_of(stream, version + 1, version + 3, name), own], {})
        except Conflict:
            version = newest(log, stream)
            continue
        version += 3
        commits -= 1
        print(position, version, flush=True)
    log.close()


def newest(log: EventLog, stream: int) -> int:
    last = log.last(stream_id(stream))
    return last.originator_version if last else 0


if __name__ == "__main__":
    place, number, count, *names = sys.argv[1:]
    main(place, int(number), int(count), names[0] if names else number)
