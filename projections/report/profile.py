"""How many items were at work over time, in a bounded number of cells, however long it takes."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import msgspec

CELLS: Final = 256
FIRST_WIDTH_MICROS: Final = 1_000


class Profile(msgspec.Struct):
    """Microseconds of work in each cell of time since `begin`; cells get wider as time goes on."""

    begin: int
    width: int = FIRST_WIDTH_MICROS
    cells: list[int] = msgspec.field(default_factory=lambda: [0] * CELLS)

    def add(self, begin: int, end: int) -> None:
        """Count that somebody worked from then until then."""
        low, high = max(begin, self.begin) - self.begin, end - self.begin
        while high > self.width * CELLS:
            self._widen()
        while low < high:
            cell = low // self.width
            stop = min(high, (cell + 1) * self.width)
            self.cells[cell] += stop - low
            low = stop

    def means(self, begin: int, end: int, count: int) -> list[float]:
        """Return how many worked at once on average, in equal stretches from then until then."""
        if end <= begin:
            return []
        sums = [0]
        for cell in self.cells:
            sums.append(sums[-1] + cell)
        places = [begin + (end - begin) * place / count for place in range(count + 1)]
        worked = [self._until(place, sums) for place in places]
        length = (end - begin) / count
        return [max(0.0, (after - before) / length) for before, after in pairwise(worked)]

    def _until(self, at: float, sums: list[int]) -> float:
        """Return how much work was done until then; within a cell it is taken to be even."""
        place = min(max(at - self.begin, 0.0) / self.width, float(CELLS))
        cell = min(int(place), CELLS - 1)
        return sums[cell] + (place - cell) * self.cells[cell]

    def _widen(self) -> None:
        halves = zip(self.cells[::2], self.cells[1::2], strict=True)
        self.cells = [first + second for first, second in halves] + [0] * (CELLS // 2)
        self.width *= 2
