"""Tracing: running a job function once, on handles, and writing down the steps it asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any

import msgspec

from warrener.domain.definition.handles import refuse
from warrener.domain.definition.model import Catch, Limit, Need, StepDefinition
from warrener.domain.definition.step_handle import Draft, StepHandle, template
from warrener.domain.errors import DefinitionError, Problem

_MARK = re.compile("\0(\\d+)\0")
_current: ContextVar[Trace | None] = ContextVar("warrener_trace", default=None)


class Trace:
    """The steps asked for so far, in order, and the jobs they start."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self.callees: dict[str, Any] = {}  # job name -> job function

    def add(
        self,
        default_name: str,
        arguments: Mapping[str, Any],
        *,
        result_fields: frozenset[str] = frozenset(),
        defaults: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> StepHandle:
        """Write down a step that is given these arguments; its result may have these fields.

        `defaults` are the values that arguments have which were left out.
        """
        draft = Draft(step_name(default_name), fields)
        draft.result_fields = result_fields
        draft.defaults.update(defaults or {})
        if arguments:
            fields["with_"] = {name: template(item, draft) for name, item in arguments.items()}
        self.drafts.append(draft)
        return StepHandle(draft)

    def names(self) -> dict[str, str]:
        """Return the final name of every mark: given names first, then the first free default."""
        taken: dict[str, Draft] = {}
        for draft in self.drafts:
            if draft.name is not None and taken.setdefault(draft.name, draft) is not draft:
                _refuse_at(draft, f"two steps are named {draft.name}", "name them differently")
        for draft in self.drafts:
            if draft.name is None:
                draft.name = _free(draft.default_name, taken)
                taken[draft.name] = draft
        return {draft.mark: str(draft.name) for draft in self.drafts}

    def steps(self) -> dict[str, StepDefinition]:
        """Return the finished steps by name, in the order in which they were asked for."""
        names = self.names()
        return {names[draft.mark]: _finish(draft, names) for draft in self.drafts}


def current() -> Trace | None:
    """Return the trace that is going on, if any."""
    return _current.get()


def required(what: str) -> Trace:
    """Return the trace that is going on; refuses where there is none."""
    trace = _current.get()
    return trace if trace is not None else refuse(f"{what} only works inside a traced job")


@contextmanager
def tracing() -> Iterator[Trace]:
    """Make a new trace the current one."""
    trace = Trace()
    token = _current.set(trace)
    try:
        yield trace
    finally:
        _current.reset(token)


def step_name(name: str) -> str:
    """Make the name of a function or a job a name for a step."""
    cleaned = re.sub(r"[^a-z0-9_]", "_", name.lower()).lstrip("_0123456789")
    return cleaned or "step"


def rename(value: Any, names: Mapping[str, str]) -> Any:
    """Replace the marks in a template by the names of the steps."""
    if isinstance(value, str):
        return _MARK.sub(lambda match: names[match.group()], value) if "\0" in value else value
    if isinstance(value, dict):
        return {key: rename(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [rename(item, names) for item in value]
    if isinstance(value, tuple):
        return tuple(rename(item, names) for item in value)
    if isinstance(value, Limit):
        return msgspec.structs.replace(value, key=rename(value.key, names))
    return Catch(on=value.on, go=rename(value.go, names)) if isinstance(value, Catch) else value


def _finish(draft: Draft, names: Mapping[str, str]) -> StepDefinition:
    try:
        fields = {key: rename(item, names) for key, item in draft.fields.items()}
        needs = {
            rename(mark, names): Need(when=rename(edge.when, names))
            for mark, edge in draft.needs.items()
        }
        after = tuple(dict.fromkeys(rename(mark, names) for mark in draft.after))
    except KeyError:
        _refuse_at(
            draft,
            f"the step {names[draft.mark]} uses a handle of another job",
            "hand values to other jobs as their parameters",
        )
    return StepDefinition(**fields, needs=needs, after=after)


def _free(name: str, taken: Mapping[str, Draft]) -> str:
    candidates = (f"{name}_{number_}" for number_ in count(2))
    return name if name not in taken else next(each_ for each_ in candidates if each_ not in taken)


def _refuse_at(draft: Draft, message: str, hint: str) -> Any:
    file, line = draft.place
    raise DefinitionError([Problem(message=message, hint=hint, file=file, line=line)])
