"""Connections to MongoDB: one client for all, what is refused, and errors in the right words."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from eventsourcing.persistence import IntegrityError, InterfaceError, OperationalError
from support.mongo import PrivateMongo
from support.rabbit_node import free_port

from warrener.adapters.mongo_client import MongoDatabase, translated
from warrener.domain.errors import StoreUnavailable, UsageError


@pytest.fixture
def database(mongo_url: str) -> Iterator[MongoDatabase]:
    opened = MongoDatabase(mongo_url)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def standalone() -> Iterator[PrivateMongo]:
    server = PrivateMongo("--standalone").start()
    yield server
    server.stop()


def test_what_is_written_is_read_back(database: MongoDatabase) -> None:
    with database.using() as db:
        db["things"].insert_one({"_id": 1, "text": "é"})

        assert db["things"].find_one({"_id": 1}) == {"_id": 1, "text": "é"}


def test_every_write_waits_for_a_majority_and_its_journal(database: MongoDatabase) -> None:
    with database.using() as db:
        concern = db["things"].write_concern.document

        assert (concern["w"], concern["j"]) == ("majority", True)
        assert concern["wtimeout"] > 0
        assert db["things"].read_concern.level == "majority"
        assert db.client.options.retry_writes is False


def test_all_who_use_a_url_share_one_client_until_the_last_has_left(mongo_url: str) -> None:
    one, two = MongoDatabase(mongo_url), MongoDatabase(mongo_url)
    with one.using() as a, two.using() as b:
        assert a.client is b.client

    one.close()
    one.close()

    with two.using() as db:
        assert db["things"].find_one() is None
    two.close()
    with pytest.raises(InterfaceError, match="closed"), two.using():
        pass


def test_a_key_that_is_taken_is_an_integrity_error(database: MongoDatabase) -> None:
    with database.using() as db:
        db["things"].insert_one({"_id": 1})

    with pytest.raises(IntegrityError), database.using() as db:
        db["things"].insert_one({"_id": 1})
    with pytest.raises(IntegrityError), database.using() as db:
        db["things"].insert_many([{"_id": 2}, {"_id": 1}])


def test_a_fork_must_open_the_database_anew(database: MongoDatabase) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with database.using():
                pass
        except InterfaceError:
            database.close()  # does not disturb the parent's
            code = 0
        finally:
            os._exit(code)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with database.using() as db:
        assert db["things"].find_one() is None


def test_a_standalone_server_is_refused_unless_the_url_says_so(standalone: PrivateMongo) -> None:
    with pytest.raises(UsageError, match="warrener_standalone=yes"):
        MongoDatabase(standalone.url())

    MongoDatabase(standalone.url(options="warrener_standalone=yes")).close()


def test_a_server_that_does_not_answer_is_told_in_time_and_in_plain_words() -> None:
    url = f"mongodb://me:hunter2@127.0.0.1:{free_port()}/d?serverSelectionTimeoutMS=300"
    begun = time.monotonic()

    with pytest.raises(StoreUnavailable, match="cannot be opened") as refused:
        MongoDatabase(url)

    assert time.monotonic() - begun < 10
    assert "hunter2" not in str(refused.value)
    assert "Topology" not in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        "loadBalanced=true&replicaSet=x",
        "authMechanism=GSSAPI",
        "tls=true&tlsInsecure=true&tlsAllowInvalidCertificates=true",
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(options: str) -> None:
    with pytest.raises(UsageError, match="options in the store's URL"):
        MongoDatabase(f"mongodb://localhost/d?{options}")


def test_a_lost_server_is_an_operational_error() -> None:
    server = PrivateMongo().start()
    try:
        database = MongoDatabase(server.url(options="serverSelectionTimeoutMS=300"))
        server.kill()

        with pytest.raises(OperationalError), database.using() as db:
            db["things"].insert_one({"_id": 1})
        database.close()
    finally:
        server.stop()


def test_other_errors_pass_through() -> None:
    with pytest.raises(ZeroDivisionError), translated():
        raise ZeroDivisionError
