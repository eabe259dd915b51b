"""What every `Leases` owes. A new one is one more entry in `LEASES`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from warrener.adapters.memory_leases import MemoryLeases
from warrener.adapters.sqlite_leases import SqliteLeases
from warrener.domain.ports import Leases

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LEASES: dict[str, Callable[[Path], Leases]] = {
    "memory": lambda _folder: MemoryLeases(),
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
