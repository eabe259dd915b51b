"""Ids of traces and spans, and the text `traceparent` of W3C Trace Context that carries them.

They follow from what they are about: after a crash or a second delivery the same ids come out, and
nobody has to remember them. The trace of a tree has the id of its root job, without the hyphens.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final
from uuid import UUID

import msgspec

TRACEPARENT_CHARACTERS: Final = 55
SPAN_BYTES: Final = 8
_FORM: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?\Z")
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16


class SpanContext(msgspec.Struct, frozen=True):
    """A span of a trace: 32 and 16 hexadecimal digits, never all zeros."""

    trace: str
    span: str


def trace_of(root: UUID) -> str:
    """Return the id of the trace of a root job and all jobs below it."""
    return f"{root.int or 1:032x}"


def span_of_job(job: UUID, run: int = 1) -> str:
    """Return the id of a job's span; a job that was begun anew after its end has another run."""
    return _span(job, b"job", run)


def span_of_attempt(step: UUID, attempt: int) -> str:
    """Return the id of an attempt's span.

    A step is known by its job and path, and its attempts are counted over all generations.
    """
    return _span(step, b"attempt", attempt)


def span_of_opening(step: UUID, version: int) -> str:
    """Return the id of the span of a fan-out, child job, wait or sleep.

    `version` is that of the event in the step's stream by which it was opened.
    """
    return _span(step, b"opening", version)


def traceparent(root: UUID, step: UUID, attempt: int) -> str:
    """Return the text by which whoever runs an attempt knows the attempt's span."""
    return f"00-{trace_of(root)}-{span_of_attempt(step, attempt)}-01"  # 01: is recorded


def parsed(text: str | None) -> SpanContext | None:
    """Return the span that a `traceparent` names, None if it names none."""
    found = _FORM.match(text) if text is not None and text.isascii() else None
    if found is None or found[1] == _NO_TRACE or found[2] == _NO_SPAN:
        return None
    if text is not None and text.startswith("00") and found[3]:
        return None
    return SpanContext(found[1], found[2])


def _span(about: UUID, kind: bytes, number: int) -> str:
    what = b"%b%b/%d" % (about.bytes, kind, number)
    text = blake2b(what, digest_size=SPAN_BYTES).hexdigest()
    return text if text != _NO_SPAN else "f" * len(_NO_SPAN)
