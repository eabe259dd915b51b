"""Positions of readers of the log in memory, for tests."""

from __future__ import annotations


class MemoryPositions:
    """Keeps how far each reader has come."""

    def __init__(self) -> None:
        """Begin without any."""
        self._positions: dict[str, int] = {}

    def get(self, name: str) -> int | None:
        """Return the position of a reader, None if it never saved one."""
        return self._positions.get(name)

    def save(self, name: str, position: int) -> None:
        """Set the position of a reader."""
        self._positions[name] = position

    def close(self) -> None:
        """Nothing to release."""
