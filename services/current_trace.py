"""The span that whoever calls us is in, as OpenTelemetry knows it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from warrener.domain.trace_context import parsed


def callers_traceparent(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the span that has called this program, by the variable `TRACEPARENT`, if any has."""
    text = environ.get("TRACEPARENT")
    return text if parsed(text) else None


def current_traceparent() -> str | None:
    """Return the current span as `traceparent` text, None if there is none.

    OpenTelemetry is not imported for it: where nobody has, no span is current.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
