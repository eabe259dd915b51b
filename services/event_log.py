"""The log as the core sees it, over an application of the `eventsourcing` library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar, cast
from uuid import UUID

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import (
    ApplicationRecorder,
    DataError,
    IntegrityError,
    Mapper,
    PersistenceError,
    StoredEvent,
)
from eventsourcing.utils import Environment, EnvType

from warrener.domain.errors import CommitTooLarge, Conflict, StoredDataError, StoreUnavailable
from warrener.domain.events import Recorded, roots_of
from warrener.domain.ports import Positioned

T = TypeVar("T")
Projector = Callable[[T | None, Iterable[Recorded]], T | None]


class LogRecorder(Protocol):
    """What the log asks of an application recorder of the library, beside the library's interface.

    Obligations: `insert_events` takes `blobs` (name -> bytes), `opened` and `ended` (ids of jobs)
    and `published`, and writes them with the events in one durable transaction; it returns
    positions that rise without gaps in the order of commits; it raises `IntegrityError` and writes
    nothing if a version is taken or skips its predecessor, or if events are to go `after` another
    position than the last one.
    """

    @property
    def mapper(self) -> Mapper[UUID]:
        """Encodes and decodes the events that the recorder keeps."""
        ...

    def find_position(self, originator_id: UUID, originator_version: int) -> int | None:
        """Return the position of one event, None if there is none."""
        ...

    def select_published(self) -> int:
        """Return the highest `published` that `insert_events` was told, 0 without any."""
        ...

    def select_open_roots(self) -> Sequence[UUID]:
        """Return the root jobs that are open by what `insert_events` was told, oldest first."""
        ...

    def select_blob(self, name: str) -> bytes | None:
        """Return a blob by its name, None if there is none."""
        ...

    def select_epoch(self) -> int:
        """Return how often this log was restored from a backup."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """Keep every other writer waiting until the block ends."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class LogApplication(Application[UUID]):
    """The library's application over a recorder that is open already; reads no variables."""

    def __init__(self, recorder: LogRecorder) -> None:
        """Take the recorder with its mapper."""
        self._given = recorder
        super().__init__()

    def construct_env(self, name: str, env: EnvType | None = None) -> Environment:
        """Return no settings: all is given."""
        return Environment(name, env)

    def construct_mapper(self) -> Mapper[UUID]:
        """Return the recorder's mapper."""
        return self._given.mapper

    def construct_recorder(self) -> ApplicationRecorder:
        """Return the recorder."""
        return cast(ApplicationRecorder, self._given)


class EventLog:
    """An `EventStore` over a recorder of the library.

    `commit` goes to the recorder itself: `Application.save` does the same in one `insert_events`,
    after looking at each event in ways that cost several times as much as writing it.
    """

    def __init__(self, recorder: LogRecorder, partition: int = 0) -> None:
        """Take an open recorder of a partition; it is closed with the log."""
        self.partition = partition
        self.application = LogApplication(recorder)
        self._log = recorder
        self._recorder = self.application.recorder
        self._events = self.application.events
        self._encode = cast(Callable[[Recorded], StoredEvent], recorder.mapper.to_stored_event)
        self._decode = cast(Callable[[StoredEvent], Recorded], recorder.mapper.to_domain_event)

    @property
    def recorder(self) -> LogRecorder:
        """Return the recorder, which keeps the commits whole as well."""
        return self._log

    def commit(
        self,
        events: Sequence[Recorded],
        blobs: Mapping[str, bytes],
        published: int = 0,
        after: int | None = None,
    ) -> int:
        """Append the events with their blobs; return the position of the last one.

        Raises `Conflict` if a version is taken or the one before is missing, or if the log does not
        end at `after`, and `StoreUnavailable` if it is not known to be written; committing the same
        again is safe.
        """
        stored = [self._encode(recorded) for recorded in events]
        opened, ended = roots_of(events)
        with _translated():
            try:
                positions = self._recorder.insert_events(
                    stored,
                    blobs=blobs,
                    opened=opened,
                    ended=ended,
                    published=published,
                    after=after,
                )
            except IntegrityError as error:
                found = self._find(stored)
                if found is None:
                    raise Conflict(_conflict(stored)) from error
                return found
        return positions[-1] if positions else self.head()

    def stream(self, stream: UUID, after_version: int = 0) -> Iterable[Recorded]:
        """Return the events of one stream in order of version; they are decoded one by one."""
        with _translated():
            stored = self._recorder.select_events(stream, gt=after_version)
        return map(self._decode, stored)

    def load(self, stream: UUID, projector: Projector[T]) -> T | None:
        """Return the state that a projector folds from a stream, None without events."""
        repository: Any = self.application.repository
        with _translated():
            try:
                state: T = repository.get(stream, projector_func=projector)
            except AggregateNotFoundError:
                return None
            return state

    def last(self, stream: UUID) -> Recorded | None:
        """Return the newest event of one stream."""
        with _translated():
            stored = self._recorder.select_events(stream, desc=True, limit=1)
        return self._decode(stored[0]) if stored else None

    def position(self, stream: UUID, version: int) -> int | None:
        """Return the position of one event of a stream, None if there is none."""
        with _translated():
            return self._log.find_position(stream, version)

    def read(self, after_position: int, limit: int) -> Sequence[Positioned]:
        """Return up to `limit` events of the log after a position, in order."""
        with _translated():
            found = self._recorder.select_notifications(
                after_position, limit, inclusive_of_start=False
            )
        partition, decode = self.partition, self._decode
        return [Positioned(stored.id, decode(stored), partition) for stored in found]

    def head(self) -> int:
        """Return the last position, 0 for an empty log."""
        with _translated():
            return self._recorder.max_notification_id() or 0

    def published(self) -> int:
        """Return the position up to which everything that follows from the log was sent."""
        with _translated():
            return self._log.select_published()

    def open_roots(self) -> Iterable[UUID]:
        """Return the root jobs that were submitted and have not ended, the oldest first."""
        with _translated():
            return self._log.select_open_roots()

    def blob(self, name: str) -> bytes:
        """Return a blob by its hash; raises `StoredDataError` if it is not there."""
        with _translated():
            data = self._log.select_blob(name)
        if data is None:
            raise StoredDataError(f"blob {name} is not in the store")
        return data

    def epoch(self) -> int:
        """Return how often the log was restored from a backup."""
        with _translated():
            return self._log.select_epoch()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other writer waiting, so that what is read stays true until it is acted on.

        Raises `StoreUnavailable` if somebody else does so for too long.
        """
        with _translated(), self._log.alone():
            yield

    def close(self) -> None:
        """Release connections."""
        self.application.close()
        with _translated():
            self._log.close()

    def _find(self, wanted: Sequence[StoredEvent]) -> int | None:
        """Return the last position of a commit of exactly these events, None if there is none.

        So a commit whose outcome was unknown is told from a conflict when it is tried again.
        """
        last, count = wanted[-1], len(wanted)
        position = self._log.find_position(cast(UUID, last.originator_id), last.originator_version)
        if position is None or position < count:
            return None
        found = self._recorder.select_notifications(position - count + 1, count)
        same = [_identity(stored) for stored in found] == [_identity(each) for each in wanted]
        return position if same else None


def _identity(stored: StoredEvent) -> tuple[object, ...]:
    return stored.originator_id, stored.originator_version, stored.topic, stored.state


def _conflict(stored: Sequence[StoredEvent]) -> str:
    first = stored[0]
    more = f" (or one of {len(stored) - 1} more events)" if len(stored) > 1 else ""
    return (
        f"version {first.originator_version} of stream {first.originator_id}{more}"
        " is taken, or does not follow the last one"
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Turn errors of the library into ours."""
    try:
        yield
    except DataError as error:
        raise CommitTooLarge(f"the store does not take it: {error}") from error
    except PersistenceError as error:
        raise StoreUnavailable(f"the store cannot be used: {error}") from error
