"""What every `Tokens` owes. A new one is one more entry in `TOKENS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.mongo import fresh_mongo_url

from warrener.adapters.memory_tokens import MemoryTokens
from warrener.adapters.mongo_tokens import MongoTokens
from warrener.adapters.sqlite_tokens import SqliteTokens
from warrener.domain.errors import Conflict, StoreUnavailable
from warrener.domain.tokens import AccessToken, Tokens

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TOKENS: dict[str, Callable[[Path], Tokens]] = {
    "memory": lambda _folder: MemoryTokens(),
    "mongo": lambda _folder: MongoTokens(fresh_mongo_url()),
    "sqlite": lambda folder: SqliteTokens(str(folder / "log.db")),
}


@pytest.fixture(params=sorted(TOKENS))
def tokens(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tokens]:
    opened = TOKENS[request.param](tmp_path)
    yield opened
    opened.close()


def token(name: str, digest: str = "aa") -> AccessToken:
    until = NOW + timedelta(days=1)
    return AccessToken(name=name, role="viewer", digest=digest, created_at=NOW, expires_at=until)


def test_tokens_come_back_as_they_were_added_by_name(tokens: Tokens) -> None:
    assert tokens.all() == []

    tokens.add(token("b"))
    tokens.add(token("a", "bb"))

    assert list(tokens.all()) == [token("a", "bb"), token("b")]


def test_a_name_is_taken_once(tokens: Tokens) -> None:
    tokens.add(token("a"))

    with pytest.raises(Conflict):
        tokens.add(token("a", "bb"))

    assert list(tokens.all()) == [token("a")]


def test_a_token_that_was_removed_is_gone_and_its_name_free(tokens: Tokens) -> None:
    tokens.add(token("a"))

    assert tokens.remove("a")
    assert not tokens.remove("a")
    assert tokens.all() == []
    tokens.add(token("a", "bb"))


def test_there_are_no_more_tokens_than_may_be(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("memory", "mongo", "sqlite"):
        monkeypatch.setattr(f"warrener.adapters.{module}_tokens.TOKENS_MAX", 2)
    tokens.add(token("a"))
    tokens.add(token("b"))

    with pytest.raises(Conflict):
        tokens.add(token("c"))


def test_the_secret_is_made_once(tokens: Tokens) -> None:
    assert tokens.secret(b"first") == b"first"
    assert tokens.secret(b"second") == b"first"


def test_what_one_process_adds_is_there_for_another(tmp_path: Path) -> None:
    one, two = (SqliteTokens(str(tmp_path / "log.db")) for _ in range(2))

    one.add(token("a"))

    assert list(two.all()) == [token("a")]
    assert two.secret(b"2") == one.secret(b"1")


def test_the_file_that_is_there_counts_even_if_it_is_another_one(tmp_path: Path) -> None:
    here, away = tmp_path / "log.db", tmp_path / "away.db"
    tokens, other = SqliteTokens(str(here)), SqliteTokens(str(away))
    tokens.add(token("a"))
    other.add(token("b"))
    other.close()

    for end in ("-wal", "-shm", ""):
        Path(f"{here}{end}").rename(tmp_path / f"gone.db{end}")
    with pytest.raises(StoreUnavailable):
        tokens.all()
    assert not here.exists()
    away.rename(here)

    assert list(tokens.all()) == [token("b")]
    tokens.close()


def test_a_file_that_cannot_be_used_is_one_of_our_errors(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"not a database, but more than a hundred bytes " * 9)

    with pytest.raises(StoreUnavailable):
        SqliteTokens(str(tmp_path / "log.db"))
