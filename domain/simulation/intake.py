"""Submissions of a simulation: taken at once, or when there is room for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from uuid import UUID

from warrener.domain.flow.lanes import Flow
from warrener.domain.limit_state import Claim
from warrener.domain.limits import Limits
from warrener.domain.simulation.agenda import Agenda
from warrener.domain.simulation.progress import Progress
from warrener.domain.simulation.trace import TraceJob

Intaken = Callable[[str], Sequence[Claim]]


class Intake:
    """Keeps submissions while the flow holds them back, or a limit for jobs of their name is full.

    Of jobs of one name the first goes first.
    """

    def __init__(
        self, agenda: Agenda, flow: Flow, limits: Limits, progress: Progress, claims: Intaken
    ) -> None:
        """Take what tells the limits that a job comes under, by the name of its definition."""
        self._agenda = agenda
        self._flow = flow
        self._limits = limits
        self._progress = progress
        self._claims = claims
        self._held: dict[str, deque[TraceJob]] = {}

    @property
    def waiting(self) -> int:
        """Return how many submissions wait."""
        return sum(map(len, self._held.values()))

    def submit(self, trace: TraceJob) -> None:
        """A job is submitted."""
        name = trace.shape.name
        if name in self._held or not self._take(trace):
            self._held.setdefault(name, deque()).append(trace)

    def ended(self, job: UUID) -> None:
        """A job has ended: others may come in its place."""
        self._limits.give_back(job)

    def look(self) -> None:
        """Take those that wait, as far as there is room."""
        for name in list(self._held):
            waiting = self._held[name]
            while waiting and self._take(waiting[0]):
                waiting.popleft()
            if not waiting:
                del self._held[name]

    def _take(self, trace: TraceJob) -> bool:
        if self._flow.measures.intake_held:
            return False
        claims, now = self._claims(trace.shape.name), self._agenda.at
        if claims and self._limits.blocker(claims, now) is not None:
            return False
        job = self._progress.accept(trace)
        if claims and job.left:
            self._limits.take(job.id, claims, now)
        return True
