"""Spans of traces as they are handed on, and what takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from warrener.domain.trace_context import SpanContext

Attributes = Mapping[str, str | int | float | bool]


class SpanEvent(msgspec.Struct, frozen=True):
    """Something that happened in the midst of a span."""

    name: str
    at: datetime
    attributes: Attributes = {}


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Something that began and has ended. `parent` is the id of a span of the same trace.

    `error` says in words what went wrong, if anything did. `sends` marks what a message begins.
    """

    context: SpanContext
    name: str
    begin: datetime
    end: datetime
    parent: str | None = None
    sends: bool = False
    attributes: Attributes = {}
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanContext, ...] = ()
    error: str | None = None


class SpanSink(Protocol):
    """Takes spans on their way to whoever keeps traces.

    Obligations: when `send` returns, the other side has taken the spans; it raises `TracesDelayed`
    if it has not, within a bounded time, whatever the other side does. The same spans may be sent
    again. What it raises can be logged: there is no secret in it. `close` may come from another
    thread, and ends a `send` soon.
    """

    def send(self, spans: Sequence[Span]) -> None:
        """Hand spans over."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...
