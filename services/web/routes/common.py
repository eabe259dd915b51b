"""What the routes have in common: roles, what may go wrong, pages, places in jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

import litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter

from warrener.domain.errors import ParameterError, UnknownJob, UsageError
from warrener.services.labels import RESERVED
from warrener.services.places import Place
from warrener.services.queries import Queries
from warrener.services.web.access import Needed
from warrener.services.web.problems import MEDIA_TYPE, ProblemDocument
from warrener.services.web.reader import Opened

T = TypeVar("T")
P = TypeVar("P")
LIMIT_MAX: Final = 1_000
NUMBER_MAX: Final = 2**62

Limit = Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX, description="At most so many.")]
JobsMax = Annotated[int, QueryParameter(ge=1, le=5_000, description="At most so many jobs.")]
After = Annotated[int, QueryParameter(ge=0, le=NUMBER_MAX, description="Go on after this one.")]
Cursor = Annotated[
    str | None, QueryParameter(max_length=2_048, description="`next` of the page before.")
]
Text = Annotated[str | None, QueryParameter(max_length=300)]

_WRONG: Final = {
    400: "The request cannot be used.",
    401: "A token or a session is needed.",
    403: "The role does not allow it, or another site asks.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    410: "The job was pruned.",
    413: "The body is too large.",
    414: "The URL is too long.",
    415: "The body is not JSON.",
    421: "The service has another name.",
    422: "A value is not valid.",
    429: "Too many streams are open.",
    431: "The headers are too long.",
    503: "The store or the broker cannot be reached, or too much is asked at once.",
}
_CHANGING: Final = {409: "The command was refused."}


def responses(more: Mapping[int, str] | None = None) -> dict[int, ResponseSpec]:
    """Return what may go wrong, for the OpenAPI document."""
    return {
        status: ResponseSpec(
            ProblemDocument, description=text, media_type=MEDIA_TYPE, generate_examples=False
        )
        for status, text in {**_WRONG, **(more or {})}.items()
    }


def reads(path: str, role: Needed = "viewer", **more: Any) -> Callable[[Any], HTTPRouteHandler]:
    """Mark a function that answers GET."""
    return litestar.get(path, opt={"role": role}, responses=responses(), **more)


def changes(
    method: Callable[..., Any], path: str, role: Needed = "operator", **more: Any
) -> Callable[[Any], HTTPRouteHandler]:
    """Mark a function that changes something, by `litestar.post` or another."""
    documented = {**responses(_CHANGING), **more.pop("responses", {})}
    found: Callable[[Any], HTTPRouteHandler] = method(
        path, opt={"role": role}, responses=documented, **more
    )
    return found


def segment(text: str) -> str:
    """Return a part of the path as it was meant: slashes and percent signs are encoded in it."""
    return text.replace("%2F", "/").replace("%25", "%")


def step_at(queries: Queries, job: UUID, path: str) -> Place:
    """Return the step or item of a job, or of those below it, that a path leads to."""
    place = queries.locate(f"{job}/{segment(path)}")
    if place.path is None:
        raise UnknownJob(f"{path!r} is not the path of a step, such as merge or groups[3]")
    return place


def of_job(job: UUID, question: Callable[[Opened], T]) -> Callable[[Opened], T]:
    """Return a question about a job that raises `PrunedJob` if the job is in an archive."""

    def ask(opened: Opened) -> T:
        try:
            return question(opened)
        except UnknownJob:
            opened.queries.locate(str(job))
            raise

    return ask


def cut(found: Iterable[T], limit: int, place: Callable[[T], P]) -> tuple[tuple[T, ...], P | None]:
    """Return a page of what was found, and the place to go on after if there is more."""
    items = tuple(islice(found, limit + 1))
    last = place(items[limit - 1]) if len(items) > limit else None
    return items[:limit], last


def labels_in(pairs: list[str] | None) -> dict[str, str]:
    """Return labels from texts such as `team=web`."""
    found = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"label {pair!r}: write label=NAME=VALUE")
        found[key] = value
    return found


def utc(at: datetime | None) -> datetime | None:
    """Return a time with a zone; one without is taken as UTC."""
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def moment_in(text: str | None) -> int | datetime | None:
    """Return a position of the log, or a time; raises `UsageError`."""
    if text is None:
        return None
    stripped = text.strip()
    if stripped.isascii() and stripped.isdigit() and len(stripped) < 19:
        return int(stripped)
    try:
        at = datetime.fromisoformat(stripped)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):  # the first and the last day are not whole in UTC
        hint = "write a position of the log, or such as 2026-01-31T08:00:00Z"
        raise UsageError(f"{text!r} is not a time: {hint}") from None


def checked_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels that users may give; raises `ParameterError`."""
    for key in labels:
        if key.startswith(RESERVED):
            raise ParameterError(f"label {key}: labels that begin with {RESERVED} are reserved")
    return dict(labels)
