"""Blobs of a partition in MongoDB: small ones as documents, large ones in GridFS.

A blob is named by its hash, so that writing it twice is writing it once. It is written before the
commit that needs it; if that commit is refused, the blob stays until somebody prunes. Each
partition has blobs of its own, for what one no longer needs another may still need. A large blob is
there once its document is: that names the file, and is written after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from bson import ObjectId
from eventsourcing.persistence import IntegrityError
from gridfs import GridFSBucket
from pymongo import ASCENDING

from warrener.adapters.mongo_client import Document, MongoDatabase
from warrener.adapters.mongo_layout import BLOBS, FILES

INLINE_BYTES_MAX: Final = 1024 * 1024
BATCH_BYTES_MAX: Final = 8 * 1024 * 1024


class MongoBlobs:
    """The blobs of one partition."""

    def __init__(self, database: MongoDatabase, partition: int) -> None:
        """Take a database that is open."""
        self._database = database
        self._partition = partition

    def get(self, name: str) -> bytes | None:
        """Return a blob by its name, None if there is none."""
        with self._database.using() as db:
            found = db[BLOBS].find_one({"k": self._partition, "n": name})
            if found is None:
                return None
            if "d" in found:
                return bytes(found["d"])
            return bytes(GridFSBucket(db, FILES).open_download_stream(found["file"]).read())

    def put(self, blobs: Mapping[str, bytes]) -> None:
        """Write the blobs that are not there yet."""
        small: list[Document] = []
        size = 0
        for name, data in blobs.items():
            if len(data) > INLINE_BYTES_MAX:
                self._put_large(name, data)
                continue
            if size + len(data) > BATCH_BYTES_MAX:
                self._put_small(small)
                small, size = [], 0
            small.append({"k": self._partition, "n": name, "d": data})
            size += len(data)
        self._put_small(small)

    def names(self, after: str, limit: int) -> Sequence[str]:
        """Return names in order, those after one."""
        with self._database.using() as db:
            wanted = {"k": self._partition, "n": {"$gt": after}}
            found = db[BLOBS].find(wanted, {"n": 1}).sort("n", ASCENDING).limit(limit)
            return [each["n"] for each in found]

    def delete(self, names: Iterable[str]) -> None:
        """Forget blobs; those that are not there are no error."""
        for name in names:
            with self._database.using() as db:
                found = db[BLOBS].find_one_and_delete({"k": self._partition, "n": name})
            if found is not None and "file" in found:
                self._delete_file(found["file"])

    def _put_small(self, documents: Sequence[Document]) -> None:
        if not documents:
            return
        with suppress(IntegrityError), self._database.using() as db:  # those that are there stay
            db[BLOBS].insert_many(documents, ordered=False)

    def _put_large(self, name: str, data: bytes) -> None:
        with self._database.using() as db:
            if db[BLOBS].find_one({"k": self._partition, "n": name}, {"_id": 1}) is not None:
                return
            file = GridFSBucket(db, FILES).upload_from_stream(name, data)
        try:
            with self._database.using() as db:
                db[BLOBS].insert_one({"k": self._partition, "n": name, "file": file})
        except IntegrityError:  # somebody else was faster
            self._delete_file(file)

    def _delete_file(self, file: ObjectId) -> None:
        with self._database.using() as db:
            GridFSBucket(db, FILES).delete(file)
