"""Every error as a problem document of RFC 9457. No traceback leaves the process."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from warrener.domain import errors

MEDIA_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = 5
TEXT_MAX: Final = 2_000
ERRORS_MAX: Final = 100

logger = structlog.get_logger()


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fault of a request or of a definition: where it is, what is wrong, what to do."""

    path: str
    message: str
    hint: str = ""
    line: int | None = None


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong. `type` is one of a few names, `request` is in the log of the service."""

    type: str
    title: str
    status: int
    detail: str
    hint: str = ""
    request: str = ""
    errors: tuple[Fault, ...] = ()


class Refused(errors.UsageError):
    """A command was refused by whoever was to carry it out."""


class Denied(Exception):
    """A request is not served, for a reason of HTTP; `headers` go with the answer."""

    def __init__(
        self, status: int, detail: str, hint: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.hint = hint
        self.headers = headers or {}


# The first that fits counts.
_KINDS: Final[Sequence[tuple[type[Exception], int, str, str]]] = (
    (errors.PrunedJob, 410, "pruned-job", "The job was pruned"),
    (errors.UnknownJob, 404, "unknown", "There is no such thing"),
    (errors.DefinitionError, 422, "invalid-definition", "The definition is not valid"),
    (errors.ParameterError, 422, "invalid-parameters", "The parameters do not fit"),
    (Refused, 409, "refused", "The command was refused"),
    (errors.UsageError, 400, "invalid-request", "The request cannot be used"),
    (errors.ExpressionError, 422, "invalid-expression", "An expression cannot be evaluated"),
    (errors.CommitTooLarge, 413, "too-large", "More than the store takes at once"),
    (errors.Busy, 503, "busy", "No job is taken in now"),
    (errors.StoreUnavailable, 503, "store-unavailable", "The store cannot be reached"),
    (errors.BrokerUnavailable, 503, "broker-unavailable", "The broker cannot be reached"),
    (errors.ServiceUnavailable, 503, "unavailable", "The service cannot do this now"),
    (errors.Conflict, 503, "conflict", "Somebody else wrote first"),
)
_HINTS: Final = {
    "busy": "Try again later, with the same key.",
    "store-unavailable": "Nothing is lost: try again. `warrener doctor` says what is wrong.",
    "broker-unavailable": "Nothing is lost: try again. `warrener doctor` says what is wrong.",
}
_TITLES: Final = {status.value: status.phrase for status in HTTPStatus}


def answer_to(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Return the answer to a request that failed."""
    document, headers = problem_of(error, str(request.scope.get("warrener.request", "")))
    return Response(
        encoded(document), status_code=document.status, headers=headers, media_type=MEDIA_TYPE
    )


def encoded(document: ProblemDocument) -> bytes:
    """Return a document as JSON; text that UTF-8 cannot carry is replaced."""
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:
        safe = document.detail.encode("utf-8", "replace").decode()
        return msgspec.json.encode(msgspec.structs.replace(document, detail=safe, errors=()))


def problem_of(error: Exception, request: str) -> tuple[ProblemDocument, dict[str, str]]:
    """Return what to say about an exception, and headers; one that nobody foresaw is logged."""
    if isinstance(error, Denied):
        return _denied(error, request), error.headers
    if isinstance(error, HTTPException):
        return _of_framework(error, request), dict(error.headers or {})
    if isinstance(error, errors.PayloadError):
        status = 413 if error.code == "payload-too-large" else 422
        return _document(status, error.code, "The value cannot be used", error, request), {}
    for kind, status, name, title in _KINDS:
        if isinstance(error, kind):
            headers = {"Retry-After": str(_seconds(error))} if status == 503 else {}
            return _document(status, name, title, error, request), headers
    logger.error("web.fault", request=request, exc_info=error)
    document = ProblemDocument(
        type="fault",
        title="The service has a fault",
        status=500,
        detail="The log of the service has the details.",
        request=request,
    )
    return document, {}


def _document(
    status: int, name: str, title: str, error: Exception, request: str
) -> ProblemDocument:
    problems = error.problems if isinstance(error, errors.DefinitionError) else ()
    return ProblemDocument(
        type=name,
        title=title,
        status=status,
        detail=str(error)[:TEXT_MAX],
        hint=_HINTS.get(name, ""),
        request=request,
        errors=faults_of(problems),
    )


def _denied(error: Denied, request: str) -> ProblemDocument:
    title = _TITLES.get(error.status, "Error")
    return ProblemDocument(
        type=title.lower().replace(" ", "-"),
        title=title,
        status=error.status,
        detail=error.detail,
        hint=error.hint,
        request=request,
    )


def _of_framework(error: HTTPException, request: str) -> ProblemDocument:
    title = _TITLES.get(error.status_code, "Error")
    extra = error.extra if isinstance(error.extra, list) else []
    faults = [each for each in extra if isinstance(each, dict)]
    inside = error.status_code >= 500
    return ProblemDocument(
        type=title.lower().replace(" ", "-"),
        title=title,
        status=error.status_code,
        detail=title if inside else str(error.detail)[:TEXT_MAX],
        request=request,
        errors=tuple(
            Fault(path=str(each.get("key", "")), message=str(each.get("message", ""))[:TEXT_MAX])
            for each in faults[:ERRORS_MAX]
        ),
    )


def faults_of(problems: Sequence[errors.Problem]) -> tuple[Fault, ...]:
    """Return what is wrong with a definition, bounded."""
    return tuple(
        Fault(path=each.path, message=each.message, hint=each.hint, line=each.line)
        for each in problems[:ERRORS_MAX]
    )


def _seconds(error: Exception) -> int:
    return error.retry_after if isinstance(error, errors.Busy) else RETRY_SECONDS
