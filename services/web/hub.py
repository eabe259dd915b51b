"""Tells all open streams what changed. Every stream is bounded; one that lags starts anew."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final
from uuid import UUID

from warrener.services.web.changes import Changes, positions_in
from warrener.services.web.problems import Denied

STREAMS_MAX: Final = 500  # in this process
STREAMS_OF_ONE_MAX: Final = 50  # of one token
KEPT_MAX: Final = 240  # notices for streams that come back, a minute's at least
MISSED_BYTES_MAX: Final = 256 * 1024  # of these for one stream; beyond that it begins anew
WAITING_MAX: Final = 16  # notices for a stream that does not take them
HEARTBEAT_SECONDS: Final = 15.0
RETRY_SECONDS: Final = 5
_BEGIN: Final = b"retry: 2000\n\n"
_ALIVE: Final = b": alive\n\n"
_END: Final = b""


class Stream:
    """One open stream: notices that its page has not taken yet."""

    def __init__(self, name: str, root: UUID | None) -> None:
        """Begin for whoever has this name, with `root` about that tree alone."""
        self.name = name
        self.root = root
        self._frames: asyncio.Queue[bytes] = asyncio.Queue(WAITING_MAX + 1)

    def put(self, frame: bytes, reset: bytes) -> None:
        """Add a notice; if there are too many, all give way to `reset`."""
        if self._frames.qsize() >= WAITING_MAX:
            while not self._frames.empty():
                self._frames.get_nowait()
            frame = reset
        self._frames.put_nowait(frame)

    def end(self) -> None:
        """Let the stream end after what it has."""
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(_END)

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield what goes out, with a sign of life where nothing happens."""
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    frame = await self._frames.get()
            except TimeoutError:
                frame = _ALIVE
            if frame == _END:
                return
            yield frame


class Hub:
    """The streams of this process. All but `publish` belongs to the thread of the event loop."""

    def __init__(self) -> None:
        """Begin without streams."""
        self._streams: set[Stream] = set()
        self._of_one: Counter[str] = Counter()
        self._kept: deque[Changes] = deque(maxlen=KEPT_MAX)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._at: Changes | None = None
        self._told = 0
        self._ended = False

    @property
    def count(self) -> int:
        """Return how many streams are open."""
        return len(self._streams)

    @property
    def at(self) -> str | None:
        """Return how far in the logs everybody was told of, None if nothing is known yet."""
        return None if self._at is None else self._at.id

    @property
    def told(self) -> int:
        """Return how often anybody was told of anything, 0 if nothing is known yet."""
        return self._told

    def start(self) -> None:
        """Begin in the present event loop."""
        self._loop = asyncio.get_running_loop()

    def publish(self, changes: Changes) -> None:
        """Tell everybody, from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._take, changes)

    def end(self) -> None:
        """End all streams, from any thread; none is opened any more."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)

    def open(self, name: str, root: UUID | None, last_id: str) -> AsyncGenerator[bytes, None]:
        """Return what a new stream sends, beginning after `last_id` if that is known still."""
        if self._ended:
            raise Denied(503, "the service is stopping", headers=_later())
        if len(self._streams) >= STREAMS_MAX:
            raise Denied(503, f"{STREAMS_MAX} streams are open already", headers=_later())
        if self._of_one[name] >= STREAMS_OF_ONE_MAX:
            text = f"{STREAMS_OF_ONE_MAX} streams of one token are open already"
            raise Denied(429, text, headers=_later())
        return self._frames(Stream(name, root), last_id)

    async def _frames(self, stream: Stream, last_id: str) -> AsyncGenerator[bytes, None]:
        if self._ended:
            return
        self._streams.add(stream)
        self._of_one[stream.name] += 1
        try:
            yield self._begin(stream, last_id)  # all that is published from now on is put into it
            async for frame in stream.frames():
                yield frame
        finally:
            self._streams.discard(stream)
            self._of_one[stream.name] -= 1
            self._of_one += Counter()  # those without any are forgotten

    def _begin(self, stream: Stream, last_id: str) -> bytes:
        if self._at is None:
            return _BEGIN + (_reset("") if last_id else b"")
        here = self._at.id
        if not last_id or last_id == here:
            return _BEGIN + f"id: {here}\n\n".encode()
        missed = self._missed(last_id)
        if missed is None:
            return _BEGIN + _reset(here)
        frames, size = [], 0
        for each in missed:
            frames.append(_change(each, stream.root))
            size += len(frames[-1])
            if size > MISSED_BYTES_MAX:
                return _BEGIN + _reset(here)
        return _BEGIN + b"".join(frames)

    def _missed(self, last_id: str) -> list[Changes] | None:
        """Return the notices after an id, None if they are not known any more."""
        seen = positions_in(last_id)
        if seen is None or not self._kept:
            return None
        first = self._kept[0].before
        if seen.keys() != first.keys() or any(seen[each] < first[each] for each in seen):
            return None
        if any(seen[each] > self._kept[-1].after[each] for each in seen):
            return None  # of another time
        return [each for each in self._kept if any(each.after[part] > seen[part] for part in seen)]

    def _take(self, changes: Changes) -> None:
        self._at = changes
        self._told += 1
        if changes.is_empty:
            return
        if changes.lost:
            self._kept.clear()  # nobody can go on from before
        else:
            self._kept.append(changes)
        reset = _reset(changes.id)
        whole = reset if changes.lost else _change(changes, None)
        for stream in self._streams:
            if stream.root is None or changes.lost:
                stream.put(whole, reset)
            elif stream.root in changes.trees or changes.flags:
                stream.put(_change(changes, stream.root), reset)

    def _end(self) -> None:
        self._ended = True
        for stream in self._streams:
            stream.end()


def _change(changes: Changes, root: UUID | None) -> bytes:
    return b"id: %b\nevent: change\ndata: %b\n\n" % (changes.id.encode(), changes.data(root))


def _reset(at: str) -> bytes:
    head = f"id: {at}\n" if at else ""
    return f"{head}event: reset\ndata: {{}}\n\n".encode()


def _later() -> dict[str, str]:
    return {"Retry-After": str(RETRY_SECONDS)}
