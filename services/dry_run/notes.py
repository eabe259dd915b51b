"""What changed in definitions, and decides nothing that a dry run could judge: told beside it."""

from __future__ import annotations

from collections.abc import Iterator

from warrener.domain.definition.model import JobDefinition, StepDefinition
from warrener.domain.payloads import Payload
from warrener.domain.step_events import StepSucceeded
from warrener.services.dry_run.differences import changed_fields, told
from warrener.services.dry_run.story import Stories
from warrener.services.histories.rules import MARK

NOTES_MAX = 50
_WORDS = {
    "queue": "it goes to another queue",
    "limits": "when it goes out is taken as recorded",
    "window": "when its items go out is taken as recorded",
    "sleep": "when it wakes is taken as recorded",
    "retry": "when it is tried again is taken as recorded",
}


def notes_of(old: Stories, new: Stories) -> tuple[str, ...]:
    """Return notes on the record, and on all definitions that jobs on both sides go by."""
    found: dict[str, None] = {}
    if _is_redacted(old):
        found[f"values were taken out of the history ({MARK}): what reads them may differ"] = None
    compared: set[tuple[str, str]] = set()
    for job, story in new.jobs.items():
        known = old.jobs.get(job)
        if known is None or (known.plan.hash, story.plan.hash) in compared:
            continue
        compared.add((known.plan.hash, story.plan.hash))
        found.update(dict.fromkeys(_notes(known.plan.definition, story.plan.definition)))
        if len(found) >= NOTES_MAX:
            break
    return tuple(found)[:NOTES_MAX]


def _is_redacted(stories: Stories) -> bool:
    """Say whether parameters, arguments or results lack what looked secret."""
    for story in stories.jobs.values():
        items = [each for group in story.items.values() for each in group.values()]
        values: list[Payload | None] = [story.submitted.params]
        for step in (*story.named.values(), *items):
            values += [order.args for order in step.attempts.values()]
            values += [step.end.result] if isinstance(step.end, StepSucceeded) else []
        if any(value is not None and MARK in (value.json or "") for value in values):
            return True
    return False


def _notes(old: JobDefinition, new: JobDefinition) -> Iterator[str]:
    for name, step in new.steps.items():
        known = old.steps.get(name)
        if known is not None:
            yield from _of_step(f"{new.name}: steps.{name}.", known, step)


def _of_step(place: str, old: StepDefinition, new: StepDefinition) -> Iterator[str]:
    for field, found in changed_fields(old, new):
        if field in _WORDS:
            yield f"{told(place, found)} ({_WORDS[field]})"
    before = None if old.timeout is None else old.timeout.beat
    after = None if new.timeout is None else new.timeout.beat
    if before != after:
        yield f"{place}timeout.beat: signs of life are not recorded, so that it is not judged"
