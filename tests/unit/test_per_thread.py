"""What threads of a pool have open, each for itself."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from threading import Barrier

import pytest

from warrener.services.web.per_thread import PerThread


class Opened:
    """Numbers what is opened, and keeps what is open; closing it fails."""

    def __init__(self) -> None:
        self.now: set[int] = set()
        self._numbers = count(1)
        self.per_thread = PerThread(self._open)

    @contextmanager
    def _open(self) -> Iterator[int]:
        number = next(self._numbers)
        self.now.add(number)
        yield number
        self.now.remove(number)
        raise ConnectionError("it is gone already")


def test_a_thread_opens_once_until_it_lets_go_or_all_are_to_open_anew() -> None:
    opened = Opened()
    per_thread = opened.per_thread

    assert (per_thread.get(), per_thread.get()) == (1, 1)
    per_thread.let_go()
    assert opened.now == set()
    assert (per_thread.get(), per_thread.get()) == (2, 2)
    per_thread.renew()
    assert (per_thread.get(), opened.now) == (3, {3})


def test_each_thread_has_its_own_and_all_are_closed_at_the_end() -> None:
    opened, both = Opened(), Barrier(2, timeout=20.0)

    def get(_: int) -> int:
        both.wait()
        return opened.per_thread.get()

    with ThreadPoolExecutor(2) as pool:
        found = set(pool.map(get, range(2)))
    assert found == opened.now == {1, 2}

    opened.per_thread.close()

    assert opened.now == set()


def test_what_cannot_be_opened_is_tried_again_by_the_next_who_asks() -> None:
    faults = [ConnectionError("away")]

    @contextmanager
    def opens() -> Iterator[str]:
        if faults:
            raise faults.pop()
        yield "open"

    per_thread = PerThread(opens)

    with pytest.raises(ConnectionError):
        per_thread.get()
    assert per_thread.get() == "open"
