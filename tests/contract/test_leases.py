"""What every `Leases` owes. A new one is one more entry in `LEASES`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.mongo import fresh_mongo_url

from warrener.adapters.memory_leases import MemoryLeases
from warrener.adapters.mongo_leases import MongoLeases
from warrener.adapters.sqlite_leases import SqliteLeases
from warrener.domain.ports import Lease, Leases

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LEASES: dict[str, Callable[[Path], Leases]] = {
    "memory": lambda _folder: MemoryLeases(),
    "mongo": lambda _folder: MongoLeases(fresh_mongo_url()),
    "sqlite": lambda folder: SqliteLeases(str(folder / "log.db")),
}


@pytest.fixture(params=sorted(LEASES))
def leases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Leases]:
    opened = LEASES[request.param](tmp_path)
    yield opened
    opened.close()


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_a_free_lease_is_taken_and_kept_by_asking_again(leases: Leases) -> None:
    assert leases.holder(0) is None

    assert leases.take(0, "a", NOW, 10)
    assert leases.take(0, "a", later(5), 10)

    assert leases.holder(0) == ("a", later(15))


def test_another_gets_it_only_when_it_has_run_out(leases: Leases) -> None:
    leases.take(0, "a", NOW, 10)

    assert not leases.take(0, "b", later(9.999), 10)
    assert leases.take(0, "b", later(10), 10)

    assert not leases.take(0, "a", later(11), 10)
    assert leases.holder(0) == ("b", later(20))


def test_partitions_are_leased_one_by_one(leases: Leases) -> None:
    assert leases.take(0, "a", NOW, 10)
    assert leases.take(1, "b", NOW, 10)

    assert leases.holder(0) == ("a", later(10))
    assert leases.holder(1) == ("b", later(10))


def test_a_lease_that_is_given_up_is_free_at_once(leases: Leases) -> None:
    leases.take(0, "a", NOW, 10)

    leases.give_up(0, "b")
    assert not leases.take(0, "b", NOW, 10)
    leases.give_up(0, "a")

    assert leases.take(0, "b", NOW, 10)


def test_of_many_who_ask_at_once_one_gets_it(leases: Leases) -> None:
    got: list[str] = []

    def ask(name: str) -> None:
        if leases.take(0, name, NOW, 10):
            got.append(name)

    threads = [threading.Thread(target=ask, args=(f"holder-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(got) == 1


def test_the_epoch_rises_whenever_a_lease_goes_to_somebody_else(leases: Leases) -> None:
    assert leases.take(0, "a", NOW, 10) == 1
    assert leases.take(0, "a", later(5), 10) == 1
    assert leases.take(0, "b", later(20), 10) == 2
    leases.give_up(0, "b")
    assert leases.take(0, "b", later(21), 10) == 2
    leases.give_up(0, "b")

    assert leases.take(0, "a", later(22), 10) == 3
    assert leases.take(1, "a", later(22), 10) == 1


def test_all_leases_that_were_not_given_up_are_listed(leases: Leases) -> None:
    leases.take(3, "a", NOW, 10)
    leases.take(1, "b", NOW, 10)
    leases.take(2, "b", NOW, 10)
    leases.give_up(2, "b")

    assert leases.all() == {1: Lease("b", later(10), 1), 3: Lease("a", later(10), 1)}


def test_members_are_there_until_they_withdraw_or_fall_silent(leases: Leases) -> None:
    leases.announce("b", NOW, 10)
    leases.announce("a", later(5), 10)
    assert leases.members(later(9.999)) == ["a", "b"]

    assert leases.members(later(10)) == ["a"]
    leases.withdraw("a")

    assert leases.members(later(10)) == []
