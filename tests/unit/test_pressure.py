"""Reactors that send orders to the same queue do without a word among them."""

from __future__ import annotations

import heapq
from collections import deque
from datetime import timedelta

import pytest
from support.ready import START

from warrener.domain.flow.pressure import Pressure

SLOTS = 20
SERVICE_SECONDS = 1.0


class Crowd:
    """Some reactors with work without end, and the slots of one queue."""

    def __init__(self, reactors: int) -> None:
        self.pressures = [Pressure() for _ in range(reactors)]
        self.working = set(range(reactors))
        self.out = [0] * reactors
        self.now = 0.0
        self._queue: deque[tuple[int, float]] = deque()
        self._running: list[tuple[float, int, float]] = []

    def run(self, seconds: float) -> float:
        """Let time pass; return how busy the slots were on average."""
        until, busy = self.now + seconds, 0.0
        while self.now < until:
            self._release()
            while self._queue and len(self._running) < SLOTS:
                who, sent = self._queue.popleft()
                length = SERVICE_SECONDS * (0.8 + 0.4 * ((hash((who, sent)) % 100) / 100))
                heapq.heappush(self._running, (self.now + length, who, sent))
                busy += length
            ended, who, sent = heapq.heappop(self._running)
            self.now = ended
            self.out[who] -= 1
            even = 1 / len(self.pressures)
            at = START + timedelta(seconds=ended)
            waited = ended - sent - SERVICE_SECONDS
            self.pressures[who].answered(waited, SERVICE_SECONDS, at, even)
        return busy / seconds / SLOTS

    def _release(self) -> None:
        for who in self.working:
            while self.out[who] < 2 * SLOTS * self.pressures[who].part:
                self.out[who] += 1
                self._queue.append((who, self.now))


@pytest.mark.parametrize("reactors", [1, 2, 4])
def test_together_they_let_out_about_two_orders_for_each_slot(reactors: int) -> None:
    crowd = Crowd(reactors)
    crowd.run(60)

    assert crowd.run(30) >= 0.97
    assert sum(crowd.out) <= 3.0 * SLOTS
    assert min(crowd.out) >= 0.6 * 2 * SLOTS / reactors


def test_who_is_left_alone_takes_all_slots_again() -> None:
    crowd = Crowd(3)
    crowd.run(60)
    crowd.working = {0}
    crowd.run(30)

    assert crowd.pressures[0].part > 0.95
    assert crowd.run(10) >= 0.97


def test_one_reactor_alone_always_has_all_of_them() -> None:
    pressure = Pressure()
    for number in range(100):
        pressure.answered(60.0, 1.0, START + timedelta(seconds=number), even=1.0)

    assert pressure.part == 1.0


def test_a_clock_that_is_set_back_does_no_harm() -> None:
    pressure = Pressure()
    for number in range(100):
        pressure.answered(60.0, 1.0, START - timedelta(seconds=number), even=0.5)

    assert 0.5 <= pressure.part <= 1.0
