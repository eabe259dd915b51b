"""Limits with reserved names: nobody defines them, and they hold once people have set them.

They bound orders that are out: those of a tree of jobs (`@root`, for each), of all jobs of a name
(`@job:NAME`), of a stage (`@step:NAME/STEP`), of a queue (`@queue:NAME`). `@jobs` and `@jobs:NAME`
bound the root jobs that are open, see `FlowSettings.intake`.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from warrener.domain.control_events import LimitChanged
from warrener.domain.definition.model import Limit
from warrener.domain.definition.names import is_reserved
from warrener.domain.flow.ready import Stage
from warrener.domain.limit_state import Claim
from warrener.domain.step_events import Held

ROOT: Final = "@root"
JOBS: Final = "@jobs"
NO_KEY: Final = "null"
KNOWN: Final = "@root, @job:NAME, @step:NAME/STEP, @queue:NAME, @jobs and @jobs:NAME"


def bounds_jobs(name: str) -> bool:
    """Say whether a reserved name is of a limit for root jobs, not for orders."""
    return name == JOBS or name.startswith(f"{JOBS}:")


def problem(name: str) -> str:
    """Return what is wrong with the name of a limit, "" if nothing."""
    if not is_reserved(name) or name in (ROOT, JOBS):
        return ""
    kind, _, of = name.partition(":")
    job, _, step = of.partition("/")
    known = bool(job and step) if kind == "@step" else kind in ("@job", "@queue", JOBS) and of
    return "" if known else f"it is no limit; those with reserved names are {KNOWN}"


def names_for_step(stage: Stage) -> tuple[str, ...]:
    """Return the reserved names that orders of a stage come under."""
    return ROOT, f"@job:{stage.job}", f"@step:{stage.job}/{stage.step}", f"@queue:{stage.queue}"


def names_for_job(name: str) -> tuple[str, ...]:
    """Return the reserved names that a root job comes under, by the name of its definition."""
    return JOBS, f"{JOBS}:{name}"


def is_set(change: LimitChanged | None) -> bool:
    """Say whether a limit bounds something by what people have set."""
    return change is not None and not (change.slots is None and change.rate is None)


def held_of(name: str, root: UUID | None = None) -> Held:
    """Return what is held of a limit by what is in a tree of jobs; only `@root` asks in which."""
    return Held(name, str(root) if name == ROOT else NO_KEY)


def claim(name: str, root: UUID | None = None) -> Claim:
    """Return the claim of a limit that bounds nothing but by what people have set."""
    return Claim(Limit(name=name), held_of(name, root))
