"""Writes commits behind the last one of a partition, whoever else does so at the same time.

A commit goes to the place after the last one that the writer knows. If that place is taken, it
looks where the log ends and tries again. If it is not known what became of an attempt (connection
lost, no majority in time), it looks for the commit by its id before it writes it again. A commit
that was given up may still arrive; it is then found by its events.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Final

from eventsourcing.persistence import IntegrityError, OperationalError
from pymongo import DESCENDING
from pymongo.read_concern import ReadConcern

from warrener.adapters.mongo_client import MongoDatabase, taken_fields
from warrener.adapters.mongo_commits import TIP_FIELDS, Draft, Tip, tip_of
from warrener.adapters.mongo_layout import COMMITS, POSITION_MAX
from warrener.adapters.mongo_reader import MongoReader

# How long a commit is tried; an election takes about 10. The last try may begin right before the
# end and then take as long as the driver's own bounds allow (see `mongo_client.TIMEOUTS_MS`).
COMMIT_SECONDS: Final = 30.0
PAUSE_SECONDS: Final = 0.005  # grows twofold up to the maximum, with chance in it
PAUSE_SECONDS_MAX: Final = 0.5

_LOCAL = ReadConcern("local")


class MongoWriter:
    """The writer of one partition. Threads may share it; they write one by one."""

    def __init__(
        self,
        database: MongoDatabase,
        partition: int,
        reader: MongoReader,
        floor: Callable[[], int],
        commit_seconds: float = COMMIT_SECONDS,
    ) -> None:
        """Take a database that is open; `floor` gives a position at which some commit ends."""
        self._database = database
        self._reader = reader
        self._partition = partition
        self._floor = floor
        self._commit_seconds = commit_seconds
        self._lock = RLock()
        self._tip: Tip | None = None  # behind which the next commit goes
        self._seen: Tip | None = None  # the newest that was read
        self._alone = False

    def tip(self) -> Tip:
        """Return what the last commit in the log hands on to the next, as it is now."""
        seen = self._seen
        if seen is None:
            floor = self._floor()
            around = self._reader.around(floor) if floor else None
            seen = tip_of(around) if around is not None else Tip()
        above = {"k": self._partition, "p": {"$gt": seen.position, "$lte": POSITION_MAX}}
        with self._database.using() as db:
            found = db[COMMITS].find_one(above, TIP_FIELDS, sort=[("p", DESCENDING)])
        self._seen = seen if found is None else tip_of(found)
        return self._seen

    def forget_tip(self) -> None:
        """Read it anew when it is needed: somebody has changed what it says."""
        self._tip = self._seen = None

    def append(self, draft: Draft) -> int:
        """Write a commit; return the position of its last event.

        Raises `IntegrityError` if a version of it is taken, if the log does not end where it is to
        go or, while `alone`, if somebody else has written; and `OperationalError` if it is not
        known whether it is written.
        """
        with self._turn():
            attempt = Patience(self._commit_seconds)
            while True:
                try:
                    position = self._try(draft, attempt)
                except OperationalError as error:
                    attempt.failed(error)
                    position = None
                if position is not None:
                    return position
                attempt.pause()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See to it that what is read stays true until it is acted on.

        Other threads of this process wait. Others are not kept waiting, but if one of them writes
        to this partition before a commit in the block, that commit is refused.
        """
        with self._turn():
            outermost = not self._alone
            if outermost:
                self._tip = self.tip()
            self._alone = True
            try:
                yield
            finally:
                self._alone = not outermost

    def _try(self, draft: Draft, attempt: Patience) -> int | None:
        """Write the commit if it is not there; return its last position, None to try again."""
        if attempt.unsure and (found := self._find(draft)) is not None:
            self._tip = found
            return found.position
        if self._tip is None or draft.after not in (None, self._tip.position):
            self._tip = self.tip()
        if draft.after not in (None, self._tip.position):
            raise IntegrityError(f"the log ends at {self._tip.position} and not at {draft.after}")
        document = draft.at(self._partition, self._tip)
        try:
            with self._database.using() as db:
                db[COMMITS].insert_one(document)
        except IntegrityError as error:
            self._after_refusal(draft, attempt, error)
            return None
        self._tip = tip_of(document)
        return self._tip.position

    def _after_refusal(self, draft: Draft, attempt: Patience, error: IntegrityError) -> None:
        """Raise what a refusal means, or return to try again."""
        fields = taken_fields(error)
        if "_id" in fields or (attempt.unsure and self._is_there(draft)):
            attempt.failed(error)  # it is ours; a majority does not have it yet
        elif "p" in fields and not self._alone:
            before = self._tip
            self._tip = self.tip()
            attempt.lost_race(error, in_sight=self._tip != before)
        elif "f" in fields and not self._alone and not self._can_be_read(draft):
            attempt.lost_race(error, in_sight=False)
        else:
            raise error

    def _can_be_read(self, draft: Draft) -> bool:
        """Say whether a majority has what took a version: before that it may yet vanish."""
        taken = {"k": self._partition, "f": {"$in": draft.body["f"]}}
        with self._database.using() as db:
            return db[COMMITS].find_one(taken, {"_id": 1}) is not None

    def _find(self, draft: Draft) -> Tip | None:
        """Return the tip that the commit made, None if a majority does not have it."""
        with self._database.using() as db:
            found = db[COMMITS].find_one({"_id": draft.id, "k": self._partition}, TIP_FIELDS)
        return tip_of(found) if found is not None else None

    def _is_there(self, draft: Draft) -> bool:
        """Say whether the primary has the commit, a majority or not."""
        with self._database.using() as db:
            commits = db[COMMITS].with_options(read_concern=_LOCAL)
            return commits.find_one({"_id": draft.id, "k": self._partition}, {"_id": 1}) is not None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=self._commit_seconds):
            text = f"another thread has been writing for more than {self._commit_seconds} s"
            raise OperationalError(text)
        try:
            yield
        finally:
            self._lock.release()


class Patience:
    """How long something has been tried, and whether it may have been done meanwhile."""

    def __init__(self, seconds: float) -> None:
        """Allow so much time from now."""
        self.unsure = False
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._pause = PAUSE_SECONDS
        self._hurry = False
        self._races = 0
        self._reason: Exception | None = None

    def failed(self, error: Exception) -> None:
        """It is not known what became of a try."""
        self.unsure = True
        self._reason = error

    def lost_race(self, error: Exception, *, in_sight: bool) -> None:
        """Somebody was faster; whoever sees by what may try again at once, but only once."""
        self._hurry = in_sight and not self._races
        self._races += 1
        self._reason = error

    def pause(self) -> None:
        """Wait a little before the next try; raises `OperationalError` if the time is up."""
        if self._hurry:
            self._hurry = False
            return
        if time.monotonic() + self._pause > self._deadline:
            known = "it is not known whether it is" if self.unsure else "it is not"
            raise OperationalError(
                f"it could not be written within {self._seconds} s ({known} in the log):"
                f" {self._reason}"
            ) from self._reason
        time.sleep(self._pause * random.uniform(0.5, 1.5))
        self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)
