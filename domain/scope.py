"""What expressions see: `params`, `steps`, `job`, and in fan-outs `item` and `index`.

Values are fetched and decoded only when an expression looks at them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from warrener.domain.events import Error
from warrener.domain.job import Job

STEP_FIELDS = ("result", "results", "status", "error")
Fetch = Callable[[str], Any]


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

    `hidden` names the dependencies whose result reads as null for this reader: those that had not
    ended when its join was decided (`unseen`), and those it turned out not to require.
    """

    __slots__ = ("_fetch_error", "_fetch_result", "hidden", "job", "names", "unseen")

    def __init__(
        self,
        job: Job,
        names: Mapping[str, Any],
        fetch_result: Fetch,
        fetch_error: Callable[[str], Error | None],
        reader: str | None = None,
    ) -> None:
        self.job = job
        self.names = names
        self._fetch_result = fetch_result
        self._fetch_error = fetch_error
        edges = job.edges.get(reader or "", {})
        self.unseen = job.blind.get(reader or "", ())
        self.hidden = {*self.unseen, *(name for name, required in edges.items() if not required)}

    def _keys(self) -> tuple[str, ...]:
        return tuple(self.names)

    def __getitem__(self, name: str) -> StepView:
        if name not in self.names:
            raise KeyError(name)
        return StepView(self, name)

    def result(self, name: str) -> Any:
        """Return the decoded result of a step that succeeded, else None."""
        return self._fetch_result(name) if self.job.step(name) == "succeeded" else None

    def error(self, name: str) -> dict[str, Any] | None:
        """Return the error of a step that failed, else None."""
        error = self._fetch_error(name) if self.job.step(name) == "failed" else None
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
        "attempt": 1,
        "labels": dict(job.labels),
    }
