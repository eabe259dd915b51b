"""What every `Positions` owes. A new one is one more entry in `POSITIONS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.mongo import fresh_mongo_url

from warrener.adapters.memory_positions import MemoryPositions
from warrener.adapters.mongo_positions import MongoPositions
from warrener.adapters.sqlite_positions import SqlitePositions
from warrener.domain.errors import StoreUnavailable
from warrener.domain.notices import Positions

POSITIONS: dict[str, Callable[[Path], Positions]] = {
    "memory": lambda _folder: MemoryPositions(),
    "mongo": lambda _folder: MongoPositions(fresh_mongo_url()),
    "sqlite": lambda folder: SqlitePositions(str(folder / "log.db")),
}


@pytest.fixture(params=sorted(POSITIONS))
def positions(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Positions]:
    opened = POSITIONS[request.param](tmp_path)
    yield opened
    opened.close()


def test_a_reader_that_never_saved_has_no_position(positions: Positions) -> None:
    assert positions.get("mail") is None


def test_the_last_position_of_each_reader_is_kept(positions: Positions) -> None:
    positions.save("mail", 3)
    positions.save("webhook", 0)
    positions.save("mail", 7)

    assert (positions.get("mail"), positions.get("webhook")) == (7, 0)


def test_a_position_may_go_back(positions: Positions) -> None:
    positions.save("mail", 7)
    positions.save("mail", 2)

    assert positions.get("mail") == 2


def test_a_saved_position_is_there_for_the_next_process(tmp_path: Path) -> None:
    one, two = (SqlitePositions(str(tmp_path / "log.db")) for _ in range(2))

    one.save("mail", 7)

    assert two.get("mail") == 7


def test_a_file_that_cannot_be_used_is_one_of_our_errors(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"not a database, but more than a hundred bytes " * 9)

    with pytest.raises(StoreUnavailable):
        SqlitePositions(str(tmp_path / "log.db"))
