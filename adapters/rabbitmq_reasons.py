"""Why something of RabbitMQ's failed, in words for people; never with a password."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from socket import gaierror

from pika import exceptions

ACCESS_REFUSED, NOT_FOUND, LOCKED, PRECONDITION_FAILED, NOT_ALLOWED = 403, 404, 405, 406, 530

DECLARE = "have an administrator run `warrener broker declare`"
_AUTHENTICATION = "it refuses user or password"
_VHOST = "the virtual host does not exist, or the user may not use it"
_BY_CODE = {ACCESS_REFUSED: _AUTHENTICATION, NOT_ALLOWED: _VHOST}


def why(error: BaseException) -> str:
    """Return why a connection failed or was lost."""
    for cause in _causes(error):
        if isinstance(cause, exceptions.ProbableAuthenticationError):
            return _AUTHENTICATION
        if isinstance(cause, exceptions.ProbableAccessDeniedError):
            return _VHOST
        if isinstance(cause, exceptions.ConnectionClosedByBroker):
            return _BY_CODE.get(cause.reply_code) or f"it closed the connection: {_text(cause)}"
        if found := _of_system(cause):
            return found
    return _of_pika(error)


def _of_system(cause: BaseException) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {cause.reason or cause}"
    if isinstance(cause, gaierror):
        return "the name of its host is not known"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return ""


def _of_pika(error: BaseException) -> str:
    names = [type(cause).__name__ for cause in _causes(error)]
    if any("Timeout" in name and "Heartbeat" not in name for name in names):
        blocked = "ConnectionBlockedTimeout" in names
        return "it takes no messages for want of memory or disk" if blocked else "no answer in time"
    if "AMQPHeartbeatTimeout" in names:
        return "it gave no sign of life"
    if "IncompatibleProtocolError" in names:
        return "it closed the connection at once: is that port RabbitMQ's, and with TLS or without?"
    if "StreamLostError" in names:
        return "the connection broke"
    return str(error) or names[0]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those it is wrapped around; pika keeps them in three different places."""
    waiting, seen = [error], 0
    while waiting and seen < 20:
        cause = waiting.pop(0)
        seen += 1
        yield cause
        inner = [*cause.args, *getattr(cause, "exceptions", ()), getattr(cause, "exception", None)]
        waiting += [found for found in inner if isinstance(found, BaseException)]


def refusal(what: str, error: exceptions.ChannelClosedByBroker) -> str:
    """Return why the broker refuses something to a channel, and what can be done about it."""
    code, text = error.reply_code, error.reply_text
    if code == ACCESS_REFUSED:
        return f"{what} is refused: {text}; grant the user this permission, or {DECLARE}"
    if code == PRECONDITION_FAILED and "inequivalent" in text:
        return (
            f"{what} fails, as it exists with other arguments: {text}; give the queue_type it has"
            " in the broker's URL, or delete it once it is empty and declare it again"
        )
    if code == LOCKED:
        return f"{what} fails, as another connection has it for itself: {text}"
    return f"{what} fails: {_text(error)}"


def _text(error: exceptions.AMQPError) -> str:
    return f"{error.reply_code} {error.reply_text}"
