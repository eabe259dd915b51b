"""Submits and steers jobs over the HTTP API, where WARRENER_API_URL names one."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import quote, urlsplit
from uuid import UUID

import msgspec

from warrener.domain.errors import Busy, ServiceUnavailable, UnknownJob, UsageError
from warrener.domain.events import Error
from warrener.domain.messages import (
    AdjustStep,
    AnswerUserAction,
    CancelJob,
    ChangeFlow,
    ChangeLimit,
    PauseJob,
    RerunJob,
    ResumeJob,
    RetryJob,
    SignalJob,
    SteeringMessage,
    SubmitJob,
)
from warrener.domain.states import JOB_ENDED
from warrener.services.outcomes import Outcome
from warrener.services.steering_calls import SteeringCalls

ANSWER_SECONDS: Final = 30.0
ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
ASK_AGAIN_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 5
_API: Final = "/api/v1"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

Call = tuple[str, str, dict[str, Any]]  # method, path, body


class ApiClient(SteeringCalls):
    """Talks to a web service. `by` is what the service knows: the name of the token.

    Raises `UsageError` where the service refuses, `Busy` if it takes no job in now, and
    `ServiceUnavailable` if it cannot be reached.
    """

    def __init__(self, url: str, token: str = "") -> None:
        """Take the address of the service, such as http://127.0.0.1:8470; connect to nothing."""
        self._url = url.rstrip("/") + _API
        self._token = _checked_token(token)
        direct = [urllib.request.ProxyHandler({})] if _host_of(url) in _LOOPBACK else []
        self._opener = urllib.request.build_opener(*direct, _NoRedirects())
        self._csrf = ""

    def send(self, message: SubmitJob) -> UUID:
        """Submit a message that is made already; the same key gives the same job."""
        if message.selection is not None or message.given:
            raise UsageError("parts of jobs cannot be submitted over the HTTP API")
        library = {name: json.loads(text) for name, text in message.library.items()}
        body = {
            "definition": json.loads(message.definition),
            "library": library,
            "params": json.loads(bytes(message.params)),
            "key": message.key,
            "labels": message.labels,
            "priority": message.priority,
            "fair": message.fair,
            "deadline": None if message.deadline is None else message.deadline.isoformat(),
        }
        found = self._request("POST", "/jobs", body, traceparent=message.traceparent)
        return UUID(found["job"])

    def steer(self, command: SteeringMessage, name: str) -> bool:  # noqa: ARG002
        """Have a command carried out; say whether it was."""
        method, path, body = _CALLS[type(command)](command)
        return bool(self._request(method, path, {"reason": command.reason, **body})["done"])

    def wait(self, job: UUID, timeout_seconds: float | None = None) -> Outcome:
        """Wait until a job has ended; raises `TimeoutError` if it has not by then."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            shown = self._request("GET", f"/jobs/{job}?whole=true")
            if shown["state"] in JOB_ENDED:
                return _outcome(shown)
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"job {job} has not ended within {timeout_seconds} s")
            time.sleep(ASK_AGAIN_SECONDS)

    def _request(
        self, method: str, path: str, body: Any = None, *, traceparent: str | None = None
    ) -> Any:
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if traceparent:
            headers["traceparent"] = traceparent
        if method != "GET":
            headers["Content-Type"] = "application/json"
            headers["X-Warrener-CSRF"] = self._csrf_known()
        data = None if body is None else msgspec.json.encode(body)
        asked = urllib.request.Request(self._url + path, data, headers, method=method)
        try:
            with self._opener.open(asked, timeout=ANSWER_SECONDS) as answer:
                return json.loads(answer.read(ANSWER_BYTES_MAX))
        except urllib.error.HTTPError as error:
            raise _refusal(error) from None
        except (OSError, ValueError, HTTPException, RecursionError) as error:
            reason = getattr(error, "reason", None) or error
            raise ServiceUnavailable(f"{self._url} cannot be asked: {reason}") from error

    def _csrf_known(self) -> str:
        """Return what a service without tokens wants with each change; with a token, nothing."""
        if not self._token and not self._csrf:
            self._csrf = self._request("GET", "/session").get("csrf") or ""
        return self._csrf


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows none: the token is for the service that was named, and no other."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _host_of(url: str) -> str:
    """Return the host that an address names; raises `UsageError` for what is none."""
    try:
        parts = urlsplit(url)
        host, named, _ = parts.hostname, parts.username is not None, parts.port
    except ValueError:
        host, named = None, False
    if named:  # what stands there may be a password
        raise UsageError("WARRENER_API_URL: leave the user out; WARRENER_API_TOKEN lets you in")
    if not host or parts.scheme not in ("http", "https") or parts.query:
        raise UsageError(f"WARRENER_API_URL: {url!r} is no address such as http://host:8470")
    return host


def _checked_token(token: str) -> str:
    """Return a token as it may stand in a header; it is in no message."""
    found = token.strip()
    if not all("!" <= char <= "~" for char in found):
        raise UsageError("WARRENER_API_TOKEN has characters that are in no token")
    return found


def _refusal(error: urllib.error.HTTPError) -> Exception:
    """Return what an answer that is none means for whoever asked."""
    try:
        found: Mapping[str, Any] = json.loads(error.read(ANSWER_BYTES_MAX))
        told = "; ".join(
            [str(found["detail"]), *(each["message"] for each in found.get("errors", ()))]
        )
    except (ValueError, KeyError, TypeError, OSError):
        told = f"the service answered {error.code}"
    if error.code == HTTPStatus.UNAUTHORIZED:
        return UsageError(f"{told}: set WARRENER_API_TOKEN")
    if error.code == HTTPStatus.NOT_FOUND:
        return UnknownJob(told)
    if error.code == HTTPStatus.SERVICE_UNAVAILABLE and "Retry-After" in error.headers:
        again = error.headers["Retry-After"]
        return Busy(told, int(again) if again.isdigit() else RETRY_SECONDS)
    if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServiceUnavailable(told)
    return UsageError(told)


def _outcome(shown: Mapping[str, Any]) -> Outcome:
    error = shown.get("error")
    return Outcome(
        job=UUID(shown["job"]),
        name=shown["name"],
        version=shown["version"],
        state=shown["state"],
        result=shown.get("result"),
        error=None if error is None else Error(code=error["code"], message=error["message"]),
        steps=shown["counts"],
        elapsed_seconds=(_time(shown["ended_at"]) - _time(shown["submitted_at"])).total_seconds(),
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _at(command: Any, verb: str, **body: Any) -> Call:
    return "POST", f"/jobs/{command.job}/{verb}", body


def _adjust(command: AdjustStep) -> Call:
    if command.retry is not None:
        raise UsageError("retry rules cannot be changed over the HTTP API with this command")
    return _at(
        command, "adjust", step=command.step, window=command.window, tolerated=command.tolerated
    )


def _limit(command: ChangeLimit) -> Call:
    rate = None
    if command.rate is not None:
        rate = {"count": command.rate.count, "seconds": command.rate.seconds}
    body = {"slots": command.slots, "rate": rate, "burst": command.burst}
    return "PUT", f"/limits/{quote(command.name, safe='')}", body


def _flow(command: ChangeFlow) -> Call:
    names = ("policy", "weights", "mode", "bound_seconds", "intake")
    return "PATCH", "/flow", {name: getattr(command, name) for name in names}


_CALLS: Final[Mapping[type, Callable[[Any], Call]]] = {
    CancelJob: lambda asked: _at(asked, "cancel"),
    PauseJob: lambda asked: _at(asked, "pause"),
    ResumeJob: lambda asked: _at(asked, "resume"),
    RetryJob: lambda asked: _at(asked, "retry", step=asked.path),
    RerunJob: lambda asked: _at(asked, "rerun", step=asked.step, key=asked.key),
    SignalJob: lambda asked: _at(asked, "signal", name=asked.name, data=asked.data, key=asked.key),
    AnswerUserAction: lambda asked: (
        "POST",
        f"/actions/{asked.request}/answer",
        {"data": asked.data},
    ),
    AdjustStep: _adjust,
    ChangeLimit: _limit,
    ChangeFlow: _flow,
}
