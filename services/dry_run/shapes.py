"""What a dry run answers: for each job what would have been otherwise, and all of it by kind."""

from __future__ import annotations

from typing import Any, Literal, get_args
from uuid import UUID

from warrener.services.shapes import Shape

Kind = Literal[
    "params-refused",
    "definition-invalid",
    "step-missing",
    "step-new",
    "not-run",
    "would-run",
    "input-differs",
    "endpoint-differs",
    "result-does-not-fit",
    "outcome-differs",
    "timeout",
    "fan-out-differs",
    "child-differs",
    "job-result-differs",
    "job-state-differs",
    "deadline",
    "budget",
    "command-refused",
]
KINDS: tuple[str, ...] = get_args(Kind)
Verdict = Literal["same", "differs", "unknown"]


class Finding(Shape, frozen=True, kw_only=True):
    """One decision that would be another one.

    `path` is that of the step from the root job down, `""` for the job itself. `at` is the JSON
    path of the first difference between `old` and `new`. `because` is the part of the definition
    that led to it, as far as that can be told. `follows` counts the steps that cannot be judged, or
    differ, because of this one; `alike` the items (or sub-jobs of items) of which the same is true.
    With `unknown` nothing is recorded of what would come next.
    """

    job: UUID
    path: str
    kind: Kind
    sentence: str
    old: Any = None
    new: Any = None
    at: str | None = None
    because: str | None = None
    unknown: bool = False
    follows: int = 0
    alike: int = 1


class JobReport(Shape, frozen=True, kw_only=True):
    """What a dry run found about one recorded tree of jobs.

    The verdict is unknown where its history cannot be read: `problem` says why. `open_steps` counts
    steps that had not ended when the history did: they were not judged. `more` counts the findings
    that were left out.
    """

    job: UUID
    name: str
    version: int
    state: str
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    more: int = 0
    notes: tuple[str, ...] = ()
    open_steps: int = 0
    steps: int = 0
    problem: str | None = None


class Group(Shape, frozen=True, kw_only=True):
    """In so many jobs the same kind of finding, at the same step (items as `groups[*]`)."""

    kind: str
    path: str
    jobs: int
    example: UUID
    sentence: str


class Summary(Shape, frozen=True, kw_only=True):
    """All jobs of a dry run: how many by verdict, and what was found, the most frequent first."""

    definition: str
    version: int
    hash: str
    jobs: int
    same: int
    differs: int
    unknown: int
    steps: int
    seconds: float
    groups: tuple[Group, ...]
    more: int = 0
