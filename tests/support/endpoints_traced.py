"""Endpoints whose own code is instrumented with OpenTelemetry, by its API alone."""

from __future__ import annotations

import asyncio
import sys

from warrener import RetryLater, endpoint
from warrener.services.current_trace import current_traceparent


@endpoint("traced.work")
def work(text: str) -> str | None:
    from opentelemetry import trace

    with trace.get_tracer("users.own").start_as_current_span("inner", attributes={"text": text}):
        return current_traceparent()


@endpoint("traced.work_later")
async def work_later(text: str) -> str | None:
    await asyncio.sleep(0)
    return await asyncio.create_task(_inner(text))


async def _inner(text: str) -> str | None:
    return work.function(text)


@endpoint("traced.fail")
def fail(text: str) -> None:
    raise ValueError(text)


@endpoint("traced.again")
def again() -> None:
    raise RetryLater(after=0.01)


@endpoint("traced.modules")
def modules() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]
