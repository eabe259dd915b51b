"""Tracing: running a job function once, on handles, and writing down the steps it asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any

import msgspec

from warrener.domain.definition.handles import (
    Handle,
    literal,
    number,
    plain,
    refuse,
    text_of,
    users_place,
)
from warrener.domain.definition.model import Join, Need, StepDefinition
from warrener.domain.errors import DefinitionError, Problem

_MARK = re.compile("\0(\\d+)\0")
_STEP_NAME = re.compile(r"[a-z][a-z0-9_]*\Z", re.ASCII)
_marks = count(1)
_current: ContextVar[Trace | None] = ContextVar("warrener_trace", default=None)


class Draft:
    """A step while its job is traced; `fields` become the `StepDefinition`."""

    def __init__(self, default_name: str, fields: dict[str, Any]) -> None:
        self.mark = f"\0{next(_marks)}\0"
        self.default_name = default_name
        self.name: str | None = None
        self.fields = fields
        self.needs: dict[str, Need] = {}
        self.after: list[str] = []
        self.result_fields: frozenset[str] = frozenset()
        self.place = users_place()


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
        **fields: Any,
    ) -> StepHandle:
        """Write down a step that is given these arguments; its result may have these fields."""
        draft = Draft(step_name(default_name), fields)
        draft.result_fields = result_fields
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


class StepHandle(Handle):
    """The handle of a step: its result, and methods that say how it depends on others.

    A field of the result that has the name of a method is reached by `handle.result.when`.
    """

    __slots__ = ("_draft",)
    _field = "result"

    def __init__(self, draft: Draft) -> None:
        super().__init__(f"steps.{draft.mark}.{self._field}")
        self._draft = draft

    @property
    def result(self) -> Any:
        """The step's result (of a fan-out: the list of results), without the methods."""
        return Handle(text_of(self))

    @property
    def status(self) -> Any:
        """The step's state, such as "succeeded"; a field of the result is `.result.status`."""
        return self._of_step("status")

    @property
    def error(self) -> Any:
        """The step's error, or null; a field of the result is `.result.error`."""
        return self._of_step("error")

    def when(self, condition: Any) -> StepHandle:
        """Run the step only if the condition holds; otherwise it ends skipped."""
        return self._set("when", condition_text(condition, ".when(...)"))

    def after(self, *steps: StepHandle) -> StepHandle:
        """Wait for these steps without reading their results."""
        self._draft.after.extend(draft_of(step, ".after(...)").mark for step in steps)
        return self

    def needs(self, *edges: Edge) -> StepHandle:
        """Depend on `need(step, when=...)` without reading its result."""
        for edge in edges:
            if not isinstance(edge, Edge):
                refuse(".needs(...) takes edges", "write .needs(need(step, when=...))")
            add_edge(self._draft, edge, always=True)
        return self

    def named(self, name: str) -> StepHandle:
        """Give the step a name; the default is the name of what it calls."""
        if not isinstance(name, str) or not _STEP_NAME.match(name):
            refuse(
                f"{name!r} is not a name of a step",
                "use small letters, digits and _, beginning with a letter",
            )
        self._draft.name = name
        return self

    def join(self, kind: str) -> StepHandle:
        """Say when a step with dependencies runs; the default is `all_ok`."""
        try:
            return self._set("join", Join(kind))
        except ValueError:
            refuse(f"{kind!r} is not a join", f"use one of {', '.join(Join)}")

    def eager(self) -> StepHandle:
        """Run the step even if nobody reads its result."""
        return self._set("eager", True)

    def may_fail(self) -> StepHandle:
        """Let a failure of the step count as ok; its result is null then."""
        return self._set("may_fail", True)

    def cancel_rest(self) -> StepHandle:
        """Stop the other dependencies once the join was decided early."""
        return self._set("cancel_rest", True)

    def _of_step(self, field: str) -> Handle:
        if field in self._draft.result_fields:
            refuse(
                f"`.{field}` of a step is the step's own, and its result has a field {field}, too",
                f"write .result.{field} for the field",
            )
        return Handle(f"steps.{self._draft.mark}.{field}")

    def _set(self, field: str, value: Any) -> StepHandle:
        self._draft.fields[field] = value
        return self


class FanOutHandle(StepHandle):
    """The handle of a fan-out; its value is the list of results in the order of the items."""

    __slots__ = ()
    _field = "results"

    @property
    def results(self) -> Any:
        """The list of results, null where a failure was tolerated."""
        return Handle(text_of(self))


class Edge(msgspec.Struct, frozen=True):
    """A dependency on a step, made by `need`; `when` is the text of its condition."""

    step: StepHandle
    when: str | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        refuse(f"need(...) has no field {name}", "give the whole step to need(...) as an argument")

    def __bool__(self) -> bool:
        return bool(self.step)


def template(value: Any, draft: Draft | None) -> Any:
    """Turn what the user passed into a template; edges are noted with the step that reads them."""
    if isinstance(value, Handle):
        return "${{ " + text_of(value) + " }}"
    if isinstance(value, Edge):
        if draft is None:
            refuse("need(...) stands in the arguments of a call", "return the step itself")
        add_edge(draft, value)
        return template(value.step, draft)
    if isinstance(value, str):
        return "${{ " + literal(value) + " }}" if "${{" in value or "\0" in value else value
    if isinstance(value, dict):
        return {_text_key(key): template(item, draft) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [template(item, draft) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return number(value)
    return template(plain(value), draft)


def add_edge(draft: Draft, edge: Edge, *, always: bool = False) -> None:
    """Note an edge; reading a result makes a plain edge already, so only conditions are kept."""
    mark = edge.step._draft.mark
    known = draft.needs.get(mark)
    if known is not None and known.when != edge.when:
        refuse("one step is needed under two conditions", "join them with & or |")
    if always or edge.when is not None:
        draft.needs[mark] = Need(when=edge.when)


def condition_text(condition: Any, where: str) -> str:
    """Return the text of a condition; refuses what Python has decided during the trace already."""
    if not isinstance(condition, Handle):
        refuse(
            f"the condition of {where} is {condition!r}, not something to be decided at run time",
            "compare with == and != (not `is`), and join with & | ~ (not `and`, `or`, `not`)",
        )
    return "${{ " + text_of(condition) + " }}"


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
    return value


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


def draft_of(step: Any, where: str) -> Draft:
    """Return the draft behind a step's handle; refuses anything else."""
    if not isinstance(step, StepHandle):
        refuse(
            f"{where} takes a whole step, as a call in this job returned it",
            "not a field of its result, a parameter or a value",
        )
    return step._draft


def _text_key(key: Any) -> str:
    return key if isinstance(key, str) else refuse(f"the key {key!r} of a dict is not text")


def _refuse_at(draft: Draft, message: str, hint: str) -> Any:
    file, line = draft.place
    raise DefinitionError([Problem(message=message, hint=hint, file=file, line=line)])
