"""The span that whoever calls us is in, as OpenTelemetry knows it."""

from __future__ import annotations

import sys


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
