"""The writer of a partition against a replica set that lags, loses answers and elects.

The model has what the primary has and how much of that a majority has. At random, a write is lost
on its way, its answer is lost or comes too late for a majority, somebody else writes in between, or
another primary is elected, which takes back what no majority had.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from random import Random
from typing import Any, cast

import pytest
from eventsourcing.persistence import IntegrityError, OperationalError
from hypothesis import given
from hypothesis import strategies as st
from pymongo import errors
from pymongo.read_concern import ReadConcern
from support.events import stream_id

from warrener.adapters import mongo_writer
from warrener.adapters.mongo_client import Document, MongoDatabase, translated
from warrener.adapters.mongo_commits import draft
from warrener.adapters.mongo_reader import MongoReader
from warrener.adapters.mongo_writer import MongoWriter
from warrener.domain.stored import NO_LINK, StoredRow, link

KEYS = ("_id", "p", "f")


class Members:
    """A replica set, as far as the writer uses it: both the database and its one collection."""

    def __init__(self, seed: int, trouble: float) -> None:
        self.random = Random(seed)
        self.trouble = trouble
        self.primary: list[Document] = []
        self.majority = 0  # how many of those a majority has
        self.delayed: list[Document] = []  # requests that may arrive yet
        self.rivals = 0

    @contextmanager
    def using(self) -> Iterator[Any]:
        with translated():
            yield {"log_commits": _Collection(self, majority=True)}

    def insert(self, document: Document) -> None:
        if self.happens():
            self.delayed.append(document)
            raise errors.AutoReconnect("lost on its way, or late")
        if self.happens():
            self.write_as_a_rival()
        self.refuse_taken(document)
        self.primary.append(document)
        if self.happens():
            raise errors.AutoReconnect("the answer was lost")
        if self.happens():
            raise errors.WTimeoutError("no majority in time", code=64)
        self.majority = len(self.primary)

    def look(self, wanted: Mapping[str, Any], *, majority: bool) -> list[Document]:
        """Return what is there now; meanwhile a majority gets more, or another is elected."""
        if self.happens():
            raise errors.AutoReconnect("no answer")
        if self.happens():
            del self.primary[self.majority :]
        if self.delayed and self.happens():
            self.arrive(self.delayed.pop())
        seen = self.primary[: self.majority] if majority else self.primary
        found = [document for document in seen if _matches(document, wanted)]
        self.majority = self.random.randint(self.majority, len(self.primary))
        return found

    def arrive(self, document: Document) -> None:
        with suppress(errors.DuplicateKeyError):
            self.refuse_taken(document)
            self.primary.append(document)

    def happens(self) -> bool:
        return self.random.random() < self.trouble

    def write_as_a_rival(self) -> None:
        last = self.primary[-1]["q"] if self.primary else 0
        before = self.primary[-1]["h"] if self.primary else NO_LINK
        self.rivals += 1
        rows = (row(1_000 + self.rivals, 1),)
        body = {"k": 0, "p": last + 1, "q": last + 1, "h": link(before, last + 1, rows)}
        self.primary.append({"_id": self.rivals, **body, "f": [f"{rows[0].stream.hex}:1"]})

    def refuse_taken(self, document: Document) -> None:
        for key in self.random.sample(KEYS, 3):  # which of several is named is not promised
            if any(_overlap(each[key], document[key]) for each in self.primary):
                details = {"keyPattern": {"k": 1, key: 1}}
                raise errors.DuplicateKeyError("taken", 11000, details)


class _Collection:
    def __init__(self, members: Members, *, majority: bool) -> None:
        self._members = members
        self._majority = majority

    def with_options(self, read_concern: ReadConcern) -> _Collection:
        return _Collection(self._members, majority=read_concern.level != "local")

    def insert_one(self, document: Document) -> None:
        self._members.insert(document)

    def find_one(self, wanted: Document, fields: Any = None, sort: Any = None) -> Document | None:
        found = self._members.look(wanted, majority=self._majority)
        return found[-1] if found else None


def _overlap(one: Any, other: Any) -> bool:
    return bool(set(one) & set(other)) if isinstance(one, list) else bool(one == other)


def _matches(document: Document, wanted: Mapping[str, Any]) -> bool:
    for field, value in wanted.items():
        have = document[field]
        if not isinstance(value, dict):
            if have != value:
                return False
        elif "$in" in value:
            if not _overlap(have, value["$in"]):
                return False
        elif not value["$gt"] < have <= value["$lte"]:
            return False
    return True


def row(stream: int, version: int) -> StoredRow:
    return StoredRow(stream_id(stream), version, "topic", b"state")


def writer_of(members: Members) -> MongoWriter:
    database = cast(MongoDatabase, members)
    return MongoWriter(database, 0, MongoReader(database, 0), lambda: 0)


@pytest.fixture(scope="module", autouse=True)
def _no_time_to_lose() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mongo_writer, "PAUSE_SECONDS", 1e-6)
        patch.setattr(mongo_writer, "PAUSE_SECONDS_MAX", 1e-6)
        yield


@given(seed=st.integers(0, 2**32), trouble=st.sampled_from([0.0, 0.1, 0.25, 0.4]))
def test_what_is_acknowledged_is_there_once_and_in_its_place(seed: int, trouble: float) -> None:
    members = Members(seed, trouble)
    writer = writer_of(members)

    acknowledged = {
        number: writer.append(draft([row(number, 1), row(number, 2)])) for number in range(1, 7)
    }

    kept = members.primary[: members.majority]
    before, after = NO_LINK, 0
    places = {}
    for document in kept:
        assert document["p"] == after + 1
        after, streams = document["q"], document.get("e", {})
        places.update({int(name, 16): after for name in streams})
        rows = [row(int(name, 16), each["v"]) for name in streams for each in streams[name]]
        rows = rows or [row(1_000 + document["_id"], 1)]
        assert document["h"] == link(before, document["p"], rows)
        before = document["h"]
    assert places == acknowledged


@given(seed=st.integers(0, 2**32), trouble=st.sampled_from([0.0, 0.1, 0.25, 0.4]))
def test_a_version_is_refused_only_for_one_that_is_there_to_stay(seed: int, trouble: float) -> None:
    members = Members(seed, trouble)
    taken = f"{stream_id(1).hex}:1"
    rival = {"_id": 0, "k": 0, "p": 1, "q": 1, "h": bytes(32), "f": [taken]}
    members.primary.append(rival)  # no majority has it: an election may take it back

    try:
        writer_of(members).append(draft([row(1, 1)]))
    except IntegrityError:
        assert rival in members.primary[: members.majority]
    else:
        assert rival not in members.primary

    assert sum(taken in each["f"] for each in members.primary[: members.majority]) == 1


def test_what_never_gets_a_majority_is_given_up_with_its_outcome_unknown() -> None:
    members = Members(0, 0.0)
    members.primary.append({"_id": 0, "k": 0, "p": 1, "q": 1, "h": NO_LINK, "f": ["x:1"]})
    database = cast(MongoDatabase, members)
    members.look = lambda wanted, *, majority: []  # type: ignore[method-assign,assignment]
    writer = MongoWriter(database, 0, MongoReader(database, 0), lambda: 0, 0.05)

    with pytest.raises(OperationalError, match=r"could not be written within 0\.05 s"):
        writer.append(draft([row(1, 1)]))
