"""Which steps have another name only: what they call, and on what, is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from warrener.domain.payloads import Payload
from warrener.services.dry_run.story import JobStory

Read = Callable[[Payload | None], Any]


def renames(old: JobStory, new: JobStory, read: tuple[Read, Read]) -> dict[str, str]:
    """Return old names and new ones; `read` gives the values of each side."""
    found: dict[str, str] = {}
    added = [name for name in new.plan.steps if name not in old.plan.steps]
    for name, step in old.plan.steps.items():
        call = step.definition.call
        if name in new.plan.steps or call is None or not added:
            continue
        ours = _sent(old, read[0], name)
        for other in added:
            same = new.plan.steps[other].definition.call == call
            if same and ours is not None and _sent(new, read[1], other) == ours:
                found[name] = other
                added.remove(other)
                break
    return found


def _sent(side: JobStory, read: Read, name: str) -> Any:
    """Return the arguments of the first order of a step or of its first item, None without any."""
    for story in (side.named.get(name), side.items.get(name, {}).get(0)):
        for order in [] if story is None else story.attempts.values():
            return read(order.args)
    return None
