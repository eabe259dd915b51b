"""Stores in MongoDB: made once, opened as what they are, refused where they are not ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pymongo import MongoClient
from support.events import run_of, stream_id

from warrener.adapters.mongo_events import MongoRecorder
from warrener.adapters.mongo_leases import MongoLeases
from warrener.adapters.mongo_logs import MongoLogs, init_logs, open_logs
from warrener.adapters.mongo_positions import MongoPositions
from warrener.domain.errors import StoredDataError, StoreUnavailable, UsageError
from warrener.domain.partitions import PARTITIONS_MAX
from warrener.services.event_log import EventLog


def log(logs: MongoLogs, partition: int) -> EventLog:
    return EventLog(logs.recorder(partition), partition)


def set_meta(url: str, **fields: object) -> None:
    with MongoClient[dict[str, object]](url) as client:
        client.get_default_database()["log_meta"].update_one({}, {"$set": fields})


def test_a_store_keeps_the_number_of_partitions_that_it_was_made_with(mongo_url: str) -> None:
    init_logs(mongo_url, 3)
    init_logs(mongo_url, 3)

    logs = open_logs(mongo_url, create=True)

    assert logs.count == 3
    logs.close()
    with pytest.raises(UsageError, match="has 3 partitions, and that cannot be changed"):
        init_logs(mongo_url, 4)


@pytest.mark.parametrize("partitions", [0, -1, PARTITIONS_MAX + 1])
def test_a_number_of_partitions_must_be_sensible(mongo_url: str, partitions: int) -> None:
    with pytest.raises(UsageError, match="1 to 1024 partitions"):
        init_logs(mongo_url, partitions)


def test_a_database_without_a_store_is_refused_unless_it_is_to_be_made(mongo_url: str) -> None:
    with pytest.raises(UsageError, match="warrener store init"):
        open_logs(mongo_url, create=False)

    open_logs(mongo_url, create=True).close()

    logs = open_logs(mongo_url, create=False)
    assert logs.count == 16
    logs.close()


def test_partitions_have_logs_of_their_own(mongo_url: str) -> None:
    init_logs(mongo_url, 2)
    logs = open_logs(mongo_url, create=False)
    zero, one = log(logs, 0), log(logs, 1)

    assert zero.commit(run_of(1, 1, 3), {"a": b"zero"}) == 3
    assert one.commit([*run_of(2, 1, 1), *run_of(1, 1, 1, "shared")], {"a": b"one"}, 1) == 2

    assert (zero.head(), one.head()) == (3, 2)
    assert [each.partition for each in one.read(0, 10)] == [1, 1]
    assert list(zero.stream(stream_id(1))) == run_of(1, 1, 3)
    assert (zero.blob("a"), one.blob("a")) == (b"zero", b"one")
    assert (zero.published(), one.published()) == (0, 1)
    with pytest.raises(UsageError, match="partitions 0 to 1"):
        logs.recorder(2)
    logs.close()


def test_a_stream_is_found_in_the_lowest_partition_that_has_it(mongo_url: str) -> None:
    init_logs(mongo_url, 4)
    logs = open_logs(mongo_url, create=False)
    log(logs, 3).commit([*run_of(1, 1, 2), *run_of(2, 1, 1)], {})
    log(logs, 1).commit(run_of(1, 1, 1), {})

    assert [logs.find(stream_id(number)) for number in (1, 2, 3)] == [1, 3, None]
    logs.close()


def test_a_store_of_a_newer_version_is_refused(mongo_url: str) -> None:
    init_logs(mongo_url, 1)
    set_meta(mongo_url, layout=99)

    uses: list[Callable[[], object]] = [
        lambda: open_logs(mongo_url, create=True),
        lambda: open_logs(mongo_url, create=False),
        lambda: init_logs(mongo_url, 1),
        lambda: MongoRecorder(mongo_url),
    ]
    for use in uses:
        with pytest.raises(StoredDataError, match="newer version of Warrener"):
            use()


@pytest.mark.parametrize("fields", [{"layout": "1"}, {"partitions": None}, {"partitions": 0}])
def test_what_says_nothing_sensible_of_itself_is_no_store(
    mongo_url: str, fields: dict[str, object]
) -> None:
    init_logs(mongo_url, 1)
    set_meta(mongo_url, **fields)

    with pytest.raises(StoredDataError, match="not a store"):
        open_logs(mongo_url, create=True)


def test_a_store_that_is_closed_says_so(mongo_url: str) -> None:
    logs = open_logs(mongo_url, create=True)
    one = log(logs, 0)
    logs.close()
    logs.close()

    for use in (one.head, lambda: one.commit(run_of(1, 1, 1), {}), lambda: logs.find(stream_id(1))):
        with pytest.raises(StoreUnavailable, match="closed"):
            use()


def test_leases_and_positions_may_share_the_client_of_the_logs(mongo_url: str) -> None:
    logs = open_logs(mongo_url, create=True)
    leases, positions = MongoLeases(mongo_url), MongoPositions(mongo_url)
    logs.close()

    assert leases.all() == {}
    assert positions.get("mail") is None
    leases.close()
    positions.close()
    with pytest.raises(StoreUnavailable):
        leases.all()
    with pytest.raises(StoreUnavailable):
        positions.save("mail", 1)
