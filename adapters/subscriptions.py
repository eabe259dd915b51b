"""Following a log: at once what this process commits, by looking what others do."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import Final

from eventsourcing.persistence import ApplicationRecorder, ListenNotifySubscription

POLL_SECONDS: Final = 0.1  # how soon a subscription sees what another process wrote


class Listeners:
    """The events to set after every commit of a recorder."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._events: set[Event] = set()

    def add(self, event: Event) -> None:
        """Set an event from now on."""
        self._events.add(event)

    def discard(self, event: Event) -> None:
        """Set it no more."""
        self._events.discard(event)

    def notify(self) -> None:
        """Something was committed."""
        for event in tuple(self._events):
            event.set()


class PollingSubscription(ListenNotifySubscription[ApplicationRecorder]):
    """The subscription of the library that looks again by itself, too."""

    def __init__(
        self,
        recorder: ApplicationRecorder,
        listeners: Listeners,
        gt: int | None,
        topics: Sequence[str],
    ) -> None:
        """Begin to read above position `gt`."""
        super().__init__(recorder, gt, topics)
        self._listeners = listeners
        listeners.add(self._has_been_notified)

    def stop(self) -> None:
        """End the iteration."""
        super().stop()
        self._listeners.discard(self._has_been_notified)

    def _loop_on_pull(self) -> None:
        try:
            while not self._has_been_stopped:
                self._pull()
                self._has_been_notified.wait(POLL_SECONDS)
        except BaseException as error:
            self._thread_error = error
            self.stop()
