"""What expressions see: `params`, `steps`, `job`, and in fan-outs `item` and `index`.

Values are fetched and decoded only when an expression looks at them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

from warrener.domain.events import Error
from warrener.domain.job_state import Job

STEP_FIELDS = ("result", "results", "status", "error")


class Fetch(Protocol):
    """Gives results and errors of ended steps."""

    def result(self, name: str) -> Any:
        """Return the decoded result of a step that succeeded."""
        ...

    def error(self, name: str) -> Error | None:
        """Return the error of a step that failed."""
        ...


class _Lazy(Mapping[str, Any]):
    """A mapping whose keys are known and whose values are made on demand."""

    __slots__ = ()

    def _keys(self) -> tuple[str, ...]:
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys())

    def __len__(self) -> int:
        return len(self._keys())


class StepView(_Lazy):
    """One step: `.result`, `.results`, `.status`, `.error`."""

    __slots__ = ("_hidden", "_name", "_steps")

    def __init__(self, steps: StepsView, name: str) -> None:
        self._steps = steps
        self._name = name

    def _keys(self) -> tuple[str, ...]:
        return STEP_FIELDS

    def __getitem__(self, field: str) -> Any:
        steps, name = self._steps, self._name
        if field in {"result", "results"}:
            return None if name in steps.hidden else steps.result(name)
        if field == "status":
            ended = steps.job.ended(name) and name not in steps.unseen
            return steps.job.step(name) if ended else "pending"
        if field == "error":
            return None if name in steps.hidden else steps.error(name)
        raise KeyError(field)


class StepsView(_Lazy):
    """The steps of a job, as one of them sees them.

    `unseen` names the dependencies that had not ended when the reader's join was decided, `hidden`
    those that it does not require: the results of both read as null.
    """

    __slots__ = ("_fetch", "hidden", "job", "names", "unseen")

    def __init__(
        self,
        job: Job,
        names: Collection[str],
        fetch: Fetch,
        *,
        unseen: Collection[str] = (),
        hidden: Collection[str] = (),
    ) -> None:
        self.job = job
        self.names = names
        self.unseen = unseen
        self.hidden = {*unseen, *hidden}
        self._fetch = fetch

    def _keys(self) -> tuple[str, ...]:
        return tuple(self.names)

    def __getitem__(self, name: str) -> StepView:
        if name not in self.names:
            raise KeyError(name)
        return StepView(self, name)

    def result(self, name: str) -> Any:
        """Return the decoded result of a step, or of who answered for it, if that succeeded."""
        answering = self.job.stand_in(name)
        return self._fetch.result(answering) if self.job.step(answering) == "succeeded" else None

    def error(self, name: str) -> dict[str, Any] | None:
        """Return the error of a step that failed, else None."""
        error = self._fetch.error(name) if self.job.step(name) == "failed" else None
        if error is None:
            return None
        return {"code": error.code, "message": error.message, "type": error.type}


def job_variable(job: Job) -> dict[str, Any]:
    """Return what expressions see as `job`."""
    return {
        "id": str(job.id),
        "root": str(job.root),
        "parent": None if job.parent is None else str(job.parent.job),
        "depth": job.depth,
        "attempt": job.generation,
        "labels": dict(job.labels),
    }
