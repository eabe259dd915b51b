"""A process that writes to a log, and says after each commit what it was promised.

    python log_writer.py PATH STREAM COMMITS

Commits carry three events of the stream and one of a stream of its own per commit. Each line on
stdout is one acknowledged commit: its last position and the last version of the stream. It begins
when its stdin is closed, so that several can begin at once.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.events import recorded, run_of, stream_id

from warrener.adapters.sqlite_events import open_sqlite
from warrener.services.event_log import EventLog

EVENTS_PER_COMMIT = 4


def main(path: str, stream: int, commits: int) -> None:
    sys.stdin.read()
    log = EventLog(open_sqlite(path))
    newest = log.last(stream_id(stream))
    version = newest.originator_version if newest else 0
    for _ in range(commits):
        own = recorded(stream * 1_000_000 + version, 1, f"{stream}")
        events = [*run_of(stream, version + 1, version + 3, f"{stream}"), own]
        position = log.commit(events, {})
        version += 3
        print(position, version, flush=True)
    log.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
