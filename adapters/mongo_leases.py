"""Leases in MongoDB, beside the log, for reactors on any number of machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from eventsourcing.persistence import IntegrityError, PersistenceError
from pymongo import ReturnDocument

from warrener.adapters.mongo_client import Document, MongoDatabase
from warrener.domain.errors import StoreUnavailable
from warrener.domain.ports import Lease

LEASES: Final = "log_leases"
MEMBERS: Final = "log_members"


class MongoLeases:
    """Keeps who holds which partition.

    One document a lease, changed in one step by whoever finds it free or its own. Leases of
    different roles, such as `reactor` and `projector`, do not touch each other. Times are kept as
    text, for MongoDB's own have no microseconds.
    """

    def __init__(self, database: MongoDatabase | str, role: str = "reactor") -> None:
        """Use a database that is open, or open the one that a URL names and close it at the end.

        Raises `UsageError` and `StoreUnavailable`.
        """
        opened = MongoDatabase(database) if isinstance(database, str) else database
        self._database = opened
        self._own = opened is not database
        self._role = role

    def take(self, partition: int, holder: str, now: datetime, seconds: float) -> int:
        """Take or keep the lease until `now + seconds`; return its epoch, 0 if it is another's."""
        until = _text(now + timedelta(seconds=seconds))
        # One that keeps its lease finds it; one that takes it from somebody else raises the epoch.
        key = {"_id": f"{self._role}:{partition}"}
        kept = self._change({**key, "holder": holder}, {"$set": {"until": until}})
        if kept is not None:
            return int(kept["epoch"])
        free = {**key, "holder": {"$ne": holder}, "until": {"$lte": _text(now)}}
        names = {"role": self._role, "partition": partition}
        change = {"$set": {"holder": holder, "until": until, **names}, "$inc": {"epoch": 1}}
        try:
            taken = self._change(free, change, upsert=True)
        except IntegrityError:  # it is there and not free
            return 0
        return int(taken["epoch"]) if taken is not None else 0

    def give_up(self, partition: int, holder: str) -> None:
        """Let go of the lease, if it is the holder's."""
        own = {"_id": f"{self._role}:{partition}", "holder": holder}
        with _translated(), self._database.using() as db:
            # Who had it and its epoch stay known.
            db[LEASES].update_one(own, {"$set": {"until": ""}})

    def holder(self, partition: int) -> tuple[str, datetime] | None:
        """Return who took the lease last and until when, None if nobody did or it was given up."""
        with _translated(), self._database.using() as db:
            found = db[LEASES].find_one({"_id": f"{self._role}:{partition}"})
        if found is None or not found["until"]:
            return None
        return found["holder"], datetime.fromisoformat(found["until"])

    def all(self) -> dict[int, Lease]:
        """Return the leases that somebody took and did not give up, run out or not."""
        with _translated(), self._database.using() as db:
            found = list(db[LEASES].find({"role": self._role, "until": {"$ne": ""}}))
        found.sort(key=_partition)
        return {each["partition"]: _lease(each) for each in found}

    def announce(self, member: str, now: datetime, seconds: float) -> None:
        """Say that somebody is there until `now + seconds`, whether it holds a lease or not."""
        until = _text(now + timedelta(seconds=seconds))
        key = {"_id": f"{self._role}:{member}"}
        change = {"$set": {"role": self._role, "member": member, "until": until}}
        with _translated(), self._database.using() as db:
            db[MEMBERS].delete_many({"role": self._role, "until": {"$lte": _text(now)}})
            db[MEMBERS].update_one(key, change, upsert=True)

    def withdraw(self, member: str) -> None:
        """Somebody is there no longer."""
        with _translated(), self._database.using() as db:
            db[MEMBERS].delete_one({"_id": f"{self._role}:{member}"})

    def members(self, now: datetime) -> Sequence[str]:
        """Return who is there, by name."""
        with _translated(), self._database.using() as db:
            there = {"role": self._role, "until": {"$gt": _text(now)}}
            return sorted(each["member"] for each in db[MEMBERS].find(there))

    def close(self) -> None:
        """Close the database if it was opened here."""
        if self._own:
            self._database.close()

    def _change(
        self, wanted: Document, change: Document, *, upsert: bool = False
    ) -> Document | None:
        with _translated(), self._database.using() as db:
            found: Document | None = db[LEASES].find_one_and_update(
                wanted, change, upsert=upsert, return_document=ReturnDocument.AFTER
            )
            return found


def _lease(document: Document) -> Lease:
    until = datetime.fromisoformat(document["until"])
    return Lease(document["holder"], until, document["epoch"])


def _partition(document: Document) -> int:
    return int(document["partition"])


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError:  # means something to whoever writes
        raise
    except PersistenceError as error:
        raise StoreUnavailable(f"the leases cannot be used: {error}") from error
