"""What was decided about a job's steps: assigned to the job at once, and collected as one event."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from warrener.domain.events import FanOut, JobAdvanced
from warrener.domain.job_state import (
    Job,
    assign_below,
    assign_caught,
    assign_child,
    assign_cleaned,
    assign_cleaning,
    assign_closing,
    assign_edge,
    assign_fan_out,
    assign_heard,
    assign_item,
    assign_settled,
)


class Decided:
    """The decisions of one batch about the steps of one job."""

    def __init__(self, job: Job) -> None:
        """Begin with nothing decided."""
        self._job = job
        self._edges: dict[str, dict[str, bool]] = {}
        self._readied: dict[str, tuple[str, ...]] = {}
        self._fan_outs: dict[str, FanOut] = {}
        self._children: dict[str, UUID] = {}
        self._begun: dict[str, int] = {}
        self._settled: dict[str, str] = {}
        self._items: dict[str, dict[str, list[int]]] = {}
        self._below: dict[str, int] = {}
        self._caught: dict[str, str] = {}
        self._heard: dict[str, str] = {}
        self._cleaning: dict[UUID, None] = {}
        self._cleaned: dict[UUID, None] = {}
        self._closing = False

    def edge(self, step: str, dependency: str, required: bool) -> None:
        """A conditional edge was decided."""
        assign_edge(self._job, step, dependency, required)
        self._edges.setdefault(step, {})[dependency] = required

    def ready(self, step: str, blind: tuple[str, ...]) -> None:
        """A step may begin; `blind` names the dependencies whose outcome it does not know."""
        self._readied[step] = blind

    def fan_out(self, step: str, shape: FanOut) -> None:
        """A fan-out was opened."""
        assign_fan_out(self._job, step, shape)
        self._fan_outs[step] = shape

    def child(self, step: str, child: UUID) -> None:
        """A step started its child job."""
        assign_child(self._job, step, child)
        self._children[step] = child

    def begun(self, step: str, begun: int) -> None:
        """Items below this index have begun."""
        self._job.fan_outs[step].begun = begun
        self._begun[step] = begun

    def item(self, step: str, index: int, state: str) -> None:
        """An item ended."""
        assign_item(self._job, step, index, state)
        self._items.setdefault(step, {}).setdefault(state, []).append(index)

    def settled(self, step: str, state: str) -> None:
        """A named step ended."""
        assign_settled(self._job, step, state)
        self._settled[step] = state

    def caught(self, step: str, handler: str) -> None:
        """Another step answers for the failure of a step."""
        assign_caught(self._job, step, handler)
        self._caught[step] = handler

    def below(self, steps: dict[str, int]) -> None:
        """A child job ended with these steps in its subtree."""
        assign_below(self._job, steps)
        for state, count in steps.items():
            self._below[state] = self._below.get(state, 0) + count

    def heard(self, key: str, name: str) -> None:
        """A step took a kept signal."""
        assign_heard(self._job, key, name)
        self._heard[key] = name

    def cleaning(self, child: UUID) -> None:
        """A cancelled child job still cleans up."""
        assign_cleaning(self._job, child)
        self._cleaning[child] = None

    def cleaned(self, child: UUID) -> None:
        """A cancelled child job has cleaned up."""
        assign_cleaned(self._job, child)
        if self._cleaning.pop(child, self) is self:  # else it came and went in this batch
            self._cleaned[child] = None

    def closing(self) -> None:
        """Only clean-up is left to do."""
        assign_closing(self._job)
        self._closing = True

    def event(self, at: datetime, cause: str) -> JobAdvanced | None:
        """Return everything decided as one event, None if nothing was."""
        event = JobAdvanced(
            at=at,
            cause=cause,
            edges=self._edges,
            readied=self._readied,
            fan_outs=self._fan_outs,
            children=self._children,
            begun=self._begun,
            settled=self._settled,
            items={
                name: {state: tuple(indexes) for state, indexes in by_state.items()}
                for name, by_state in self._items.items()
            },
            below=self._below,
            caught=self._caught,
            heard=self._heard,
            cleaning=tuple(self._cleaning),
            cleaned=tuple(self._cleaned),
            closing=self._closing,
        )
        return None if event == JobAdvanced(at=at, cause=cause) else event
