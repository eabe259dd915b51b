"""What a tree of jobs waits for where nothing but people can move it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from uuid import UUID

import msgspec

from warrener.domain.step import Step

if TYPE_CHECKING:
    from warrener.services.controller import Controller


class Awaited(msgspec.Struct, frozen=True):
    """Something that only a person can give.

    `name` is the user action, or the signal; `request` is what an answer names.
    """

    kind: Literal["user-action", "signal", "paused"]
    job: UUID
    path: str = ""  # of the step in its job
    name: str = ""
    request: UUID | None = None


def awaited(controller: Controller, root: UUID) -> tuple[Awaited, ...]:
    """Return what the jobs under a root wait for; empty if anything but people can move them."""
    memory = controller.memory
    tree = {job for job, active in memory.jobs.items() if active.tree.root == root}
    paused = [Awaited("paused", job) for job in sorted(tree & memory.paused)]
    if any(controller.flow.waiting().values()) or memory.limits.waiting():
        return ()
    found = [*paused]
    for step in memory.steps.values():
        if step.job not in tree or _waits_for_steps(controller, step):
            continue
        if step.state == "ready" and paused:
            continue
        asked = _asked(controller, step)
        if asked is None:
            return ()
        found.append(asked)
    return tuple(found)


def _waits_for_steps(controller: Controller, step: Step) -> bool:
    """Say whether a step waits for its items or its child job, which are looked at themselves."""
    if step.state != "waiting":
        return False
    return step.child is not None or step.path in controller.memory.jobs[step.job].job.fan_outs


def _asked(controller: Controller, step: Step) -> Awaited | None:
    """Return what a step asks of people, None if it waits for something else."""
    request = controller.memory.requests.open.get(step.request) if step.request else None
    if step.state == "waiting_user" and request is not None:
        return Awaited("user-action", step.job, step.path, request.asked.action, request.id)
    if step.state == "waiting" and step.signal is not None:
        return Awaited("signal", step.job, step.path, step.signal, step.request)
    return None
