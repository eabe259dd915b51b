"""What a worker remembers of attempts that it no longer has in hand, within bounds."""

from __future__ import annotations

from collections import OrderedDict
from uuid import UUID

from warrener.domain.messages import CancelStep, RunStep
from warrener.domain.ports import Outgoing
from warrener.services.runners import Attempt

REPORTS_MAX = 4_096
REPORT_BYTES_MAX = 16 * 1024 * 1024  # of all reports together
CANCELLED_MAX = 10_000


class ReportCache:
    """The newest reports by attempt, so that an order that comes again is answered, not run."""

    def __init__(self, count_max: int = REPORTS_MAX, bytes_max: int = REPORT_BYTES_MAX) -> None:
        """Keep at most so many reports, of so many bytes together."""
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._reports: OrderedDict[Attempt, Outgoing] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._reports)

    def get(self, attempt: Attempt) -> Outgoing | None:
        """Return the report of an attempt, which counts as new again."""
        found = self._reports.get(attempt)
        if found is not None:
            self._reports.move_to_end(attempt)
        return found

    def add(self, attempt: Attempt, report: Outgoing) -> None:
        """Keep a report; older ones go, and one that is too big is not kept."""
        reports, size = self._reports, len(report.body)
        if attempt in reports or size > self._bytes_max:
            return
        reports[attempt] = report
        self._bytes += size
        while len(reports) > self._count_max or self._bytes > self._bytes_max:
            self._bytes -= len(reports.popitem(last=False)[1].body)


class Cancellations:
    """The attempts that were cancelled lately: their orders may still be on the way."""

    def __init__(self, count_max: int = CANCELLED_MAX) -> None:
        """Keep at most so many."""
        self._count_max = count_max
        self._attempts: dict[tuple[UUID, int], None] = {}

    def __len__(self) -> int:
        return len(self._attempts)

    def add(self, cancel: CancelStep) -> None:
        """Remember an attempt; the oldest is forgotten where there are too many."""
        self._attempts[cancel.step, cancel.attempt] = None
        if len(self._attempts) > self._count_max:
            del self._attempts[next(iter(self._attempts))]

    def __contains__(self, order: RunStep) -> bool:
        return (order.step, order.attempt) in self._attempts
