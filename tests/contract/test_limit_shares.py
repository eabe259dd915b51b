"""What every `LimitShares` owes. A new one is one more entry in `SHARES`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from random import Random

import pytest
from support.mongo import fresh_mongo_url

from warrener.adapters.memory_limit_shares import MemoryLimitShares
from warrener.adapters.mongo_limit_shares import MongoLimitShares
from warrener.domain.limit_shares import Ask, Entry, LimitShares, Share, ShareKey, balance
from warrener.domain.step_events import Held

SHARES: dict[str, Callable[[], LimitShares]] = {
    "memory": MemoryLimitShares,
    "mongo": lambda: MongoLimitShares(fresh_mongo_url()),
}
API = ShareKey(Held("api", "null"), "slots")
ODD = ShareKey(Held("api", '"é\U0001f407 $.\x00"'), "slots")
BURST = ShareKey(Held("api", "null"), "burst")


@pytest.fixture(params=sorted(SHARES))
def shares(request: pytest.FixtureRequest) -> Iterator[LimitShares]:
    opened = SHARES[request.param]()
    yield opened
    opened.close()


def test_what_one_partition_was_granted_another_cannot_have(shares: LimitShares) -> None:
    ask = {API: Ask(3, wanted=5)}

    assert shares.balance(0, 1, ask, 1.0) == {API: Share(3)}
    assert shares.balance(1, 1, ask, 2.0) == {API: Share(0)}
    shares.balance(0, 1, {API: Ask(3, held=1, wanted=1)}, 3.0)

    assert shares.balance(1, 1, ask, 4.0) == {API: Share(2)}


def test_each_limit_and_key_and_unit_is_shared_for_itself(shares: LimitShares) -> None:
    asks = {API: Ask(1, wanted=1), ODD: Ask(2, wanted=2), BURST: Ask(4, wanted=4, fill=0.5)}

    granted = shares.balance(0, 1, asks, 1.0)

    assert granted == {API: Share(1), ODD: Share(2), BURST: Share(4, 4.0)}
    assert shares.of(0).keys() == asks.keys()
    assert shares.of(1) == {}


def test_an_entry_is_kept_as_it_was_made(shares: LimitShares) -> None:
    ask = Ask(4, wanted=4, tokens=0.25, fill=1 / 3)
    expected, _ = balance(None, 7, 3, ask, 1893456000.123456)

    shares.balance(7, 3, {BURST: ask}, 1893456000.123456)
    assert shares.of(7) == {BURST: expected}
    expected, _ = balance(expected, 2, 1, ask, 1893456001.5)
    shares.balance(2, 1, {BURST: ask}, 1893456001.5)

    assert shares.of(7) == shares.of(2) == {BURST: expected}


def test_who_asks_with_an_older_epoch_gets_nothing_and_changes_nothing(
    shares: LimitShares,
) -> None:
    shares.balance(0, 2, {API: Ask(3, held=2, wanted=3)}, 1.0)
    before = shares.of(0)

    assert shares.balance(0, 1, {API: Ask(3)}, 2.0) == {API: Share(0)}

    assert shares.of(0) == before


def test_what_nobody_has_or_wants_is_gone(shares: LimitShares) -> None:
    shares.balance(0, 1, {API: Ask(3, wanted=3), BURST: Ask(2, wanted=2, fill=1.0)}, 1.0)

    shares.balance(0, 1, {API: Ask(3), BURST: Ask(2, tokens=1.0, fill=1.0)}, 1.0)

    assert shares.of(0) == {}
    share = shares.balance(1, 1, {API: Ask(3, wanted=3), BURST: Ask(2, wanted=2, fill=1.0)}, 1.25)
    assert share == {API: Share(3), BURST: Share(2, 1.5)}  # what was left, and what came since


def test_of_many_who_ask_at_once_nobody_gets_what_another_has(shares: LimitShares) -> None:
    total = 10
    granted: dict[int, list[Share]] = {partition: [] for partition in range(4)}
    failed: list[BaseException] = []

    def ask(partition: int) -> None:
        random = Random(partition)
        try:
            for _ in range(25):
                asks = {API: Ask(total, wanted=random.randint(0, total))}
                granted[partition].extend(shares.balance(partition, 1, asks, 1.0).values())
                entry = shares.of(partition).get(API, Entry())
                assert sum(part.granted for part in entry.parts.values()) <= total
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=ask, args=(partition,)) for partition in granted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failed
    assert all(len(answers) >= 1 for answers in granted.values())
