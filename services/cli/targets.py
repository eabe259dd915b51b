"""What commands that steer are about, and what is said once they are carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from warrener.domain.errors import ServiceUnavailable, UsageError
from warrener.domain.states import JOB_ENDED
from warrener.services.cli.session import Session, job_named

if TYPE_CHECKING:
    from warrener.services.places import Place
    from warrener.services.queries import Queries


def whole_job(session: Session, text: str) -> UUID:
    """Return the job that a text names; raises `UsageError` if it names a step."""
    given = _given_id(session, text)
    if given is not None:
        return given
    with session.queries() as queries:
        return job_named(queries, text)


def job_or_part(session: Session, text: str) -> UUID:
    """Return the job that a text names: one with this id, or the one that a step started."""
    given = _given_id(session, text)
    if given is not None:
        return given
    with session.queries() as queries:
        place = queries.locate(text)
        child = _child(queries, place)
    if child is None:
        raise UsageError(f"step {place.path} of job {place.job} has started no job: name a job")
    return child


def job_or_step(session: Session, text: str) -> Place:
    """Return the job or step that a text names; an open job stands for the step that started it."""
    from warrener.services.places import Place

    given = _given_id(session, text)
    if given is not None:
        return Place(given)
    with session.queries() as queries:
        place = queries.locate(text)
        child = _child(queries, place)
        if child is None or queries.show(child, whole=False).state in JOB_ENDED:
            return place
    return Place(child)


def step_of(session: Session, text: str) -> Place:
    """Return the step that a text names; raises `UsageError` if it names a job."""
    with session.queries() as queries:
        place = queries.locate(text)
    if place.path is None:
        raise UsageError(f"{text} is a job: name a step of it, such as {text}/merge")
    return place


def answered(done: bool) -> None:
    """Raise `ServiceUnavailable` if a command went to the broker, and no reactor took it yet."""
    if not done:
        raise ServiceUnavailable(
            "no reactor has answered: the command waits at the broker until one takes it"
        )


def tell(session: Session, command: str, sentence: str, **facts: Any) -> None:
    """Say that a command was carried out: as a JSON document, or in a sentence."""
    if session.output.as_json:
        session.output.json({"command": command, **facts})
    else:
        session.output.show(sentence)


def say_how_to_go_on(session: Session, job: UUID) -> None:
    """Tell how to go on with a job of a store that nobody works on."""
    from warrener.services import wiring_runs
    from warrener.services.logs import log_of_job, root_of

    if session.has_fleet or session.output.as_json:
        return
    with session.logs() as logs:
        root = root_of(log_of_job(logs, job), job)
    if not wiring_runs.is_worked_on(session.settings, root):
        again = session.command("run", "--resume", root)
        session.output.note(f"nobody works on it now; go on with: {again}")


def _given_id(session: Session, text: str) -> UUID | None:
    """Return a whole id where a fleet judges it: its store need not be at hand."""
    if not session.has_fleet:
        return None
    try:
        return UUID(text.strip())
    except ValueError:
        return None


def _child(queries: Queries, place: Place) -> UUID | None:
    return place.job if place.path is None else queries.step(place, whole=False).child
