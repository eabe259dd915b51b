"""From what a user names to a step that an endpoint runs: down to what made a job fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warrener.domain.errors import UsageError
from warrener.domain.ids import split_path
from warrener.services.places import Place

if TYPE_CHECKING:
    from warrener.services.queries import Queries
    from warrener.services.shapes import Show, Step

DEPTH_MAX = 1_000  # jobs below each other, far more than there can be

_NO_ENDPOINT = {
    "set": "computes its result from an expression",
    "sleep": "waits for a time",
    "wait": "waits for a signal or a person",
}


def step_to_run(queries: Queries, text: str) -> Place:
    """Return the step of an endpoint that a text names; for a job the one that made it fail.

    Raises `UsageError` that says what to name instead.
    """
    place = queries.locate(text)
    if place.path is None:
        found = blamed(queries, place)
        if found is None:
            state = queries.show(place.job, whole=False).state
            raise UsageError(f"job {place.job} is {state}: name one of its steps, as {text}/STEP")
        return found
    step = queries.step(place, whole=False)
    problem = _problem(step, place)
    if problem is None:
        return place
    below = blamed(queries, place)
    hint = f"; what failed below it is {below.job}/{below.path}" if below else ""
    raise UsageError(f"step {place.path} of job {place.job} {problem}{hint}")


def _problem(step: Step, place: Place) -> str | None:
    """Return why a step has no endpoint to run, None if it has one that went out."""
    if step.kind == "for_each" and split_path(place.path or "")[1] is None:
        return f"is a fan-out: name an item of it, such as {place.job}/{place.path}[0]"
    if step.kind == "job":
        child = step.child
        name = f"{place.job}/{place.path}/STEP" if child else "a step of it once it has started"
        return f"starts a job: name {name}"
    if step.kind in _NO_ENDPOINT:
        return f"has no endpoint: it {_NO_ENDPOINT[step.kind]}"
    if step.attempts:
        return None
    if step.state == "succeeded":
        return "was not run: its result was given, so debug it in the job that it is from"
    return f"has not gone out: it is {step.state}"


def blamed(queries: Queries, place: Place) -> Place | None:
    """Return the step of an endpoint whose failure made a job or step fail, None if none did."""
    for _ in range(DEPTH_MAX):
        if place.path is None:
            name = _failed(queries.show(place.job, whole=False))
            if name is None:
                return None
            place = Place(place.job, name)
        step = queries.step(place, whole=False)
        if step.state != "failed":
            return None
        if step.kind == "for_each" and split_path(place.path or "")[1] is None:
            items = queries.items(place.job, step.name, state="failed", limit=1)
            if not items:
                return None
            place = Place(place.job, items[0].path)
        elif step.child is not None:
            place = Place(step.child)
        else:
            return place if step.attempts else None
    return None


def _failed(shown: Show) -> str | None:
    """Return the first step that failed, one that no other answers for if there is any."""
    failed = [step for step in shown.steps.values() if step.state == "failed"]
    open_ones = [step for step in failed if step.caught_by is None]
    return next((step.path for step in open_ones or failed), None)
