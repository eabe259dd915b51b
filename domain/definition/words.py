"""The words of a job's function beside calls: `need`, `each`, `compute`, `expr`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from warrener.domain.definition import python_options as options
from warrener.domain.definition.durations import pause
from warrener.domain.definition.handles import MEMBER, Handle, as_handle, inner, plain, refuse
from warrener.domain.definition.model import Wait
from warrener.domain.definition.step_handle import (
    Edge,
    FanOutHandle,
    StepHandle,
    condition_text,
    draft_of,
    template,
)
from warrener.domain.definition.tracing import required

_NO_CALL = {
    "sets": ("compute(...)", "call an endpoint or a job in it"),
    "wait": ("wait_for(...)", "wait in a job of its own, and call that in it"),
    "sleep": ("sleep(...)", "sleep in a job of its own, and call that in it"),
}


def need(step: Any, *, when: Any = None) -> Any:
    """Read a step's result over an edge that is required only `when` a condition holds.

    Stands as an argument of a call, or in `.needs(...)`. Where the edge is not required, the call
    does not wait for the step and reads null.
    """
    required("need(...)")
    draft_of(step, "need(...)")
    return Edge(step, None if when is None else condition_text(when, "need(..., when=...)"))


def each(
    source: Any,
    call: Callable[..., Any],
    *,
    window: int | None = None,
    tolerate: int | str | None = None,
) -> Any:
    """Make one call for each item of a list or map; the value is the list of their results.

    `call` gets the item, and the index, too, if it asks for two; it makes exactly one
    call of an endpoint or a job. At most `window` items run at a time; up to `tolerate` items (a
    count, or a share such as "2%") may fail.
    """
    trace = required("each(...)")
    before = len(trace.drafts)
    scope = (Handle("item"), Handle("index"))
    handle = call(*scope[: _parameters(call)])
    made = trace.drafts[before:]
    if type(handle) is not StepHandle or made != [draft_of(handle, "each(...)")]:
        refuse(
            f"the function given to each(...) made {len(made)} calls instead of returning one",
            "make one call in it; put several steps into a job of their own and call that",
        )
    fields = made[0].fields
    for field, (word, hint) in _NO_CALL.items():
        if field in fields:
            refuse(f"each(...) cannot go over {word}", hint)
    fields["for_each"] = template(source, made[0])
    fields.update(window=window, tolerate=tolerate)
    return FanOutHandle(made[0])


def compute(values: Any) -> Any:
    """Compute values from handles without a worker: a `set:` step."""
    handle = required("compute(...)").add("compute", {})
    draft = draft_of(handle, "compute(...)")
    draft.fields["sets"] = template(values, draft)
    return handle


def wait_for(
    signal: str, *, form: dict[str, Any] | None = None, expire: str | float | None = None
) -> Any:
    """Wait for a signal of this name; with `form` (JSON Schema) for a person's answer that fits it.

    The value is the data that comes with it. After `expire` the step fails.
    """
    trace = required("wait_for(...)")
    if not isinstance(signal, str):
        refuse(f"wait_for({signal!r}): a signal has a name", 'write such as wait_for("approval")')
    if form is not None and not isinstance(form, dict):
        refuse(f"wait_for(...): the form {form!r} is not a JSON Schema, a dict")
    wait = Wait(
        signal=signal,
        form=None if form is None else plain(form),
        expire=options.seconds("wait_for(...): expire", expire),
    )
    return trace.add(signal, {}, wait=wait)


def sleep(until: Any) -> Any:
    """Wait for a duration such as "14d" (a number counts seconds), or until an instant.

    An instant is RFC 3339 text or a `datetime` with a time zone; a handle may give either.
    """
    trace = required("sleep(...)")
    if isinstance(until, Handle):
        return trace.add("sleep", {}, sleep=template(until, None))
    if isinstance(until, timedelta):
        until = until.total_seconds()
    elif isinstance(until, datetime):
        until = until.isoformat()
    try:
        pause(until)
    except ValueError as error:
        refuse(f"sleep(...): {error}")
    return trace.add("sleep", {}, sleep=until)


def expr(text: str, *values: Any) -> Any:
    """Return a handle on a CEL expression; each `{}` in the text stands for the next value."""
    parts = text.split("{}")
    if len(parts) != len(values) + 1:
        refuse(f"expr({text!r}) has {len(parts) - 1} places for {len(values)} values")
    filled = [inner(as_handle(value), MEMBER) for value in values]
    joined = "".join(part + value for part, value in zip(parts, [*filled, ""], strict=True))
    return Handle(joined, rank=0)


def _parameters(call: Callable[..., Any]) -> int:
    """Return how many of item and index a function takes; what has a default is not for them."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = inspect.signature(call).parameters.values()
    asked = sum(item.kind in positional and item.default is item.empty for item in found)
    return 2 if asked > 1 else 1
