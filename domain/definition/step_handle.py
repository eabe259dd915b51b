"""The handle of a step while its job is traced: its values, and methods that say how it runs."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

import msgspec

from warrener.domain.definition import python_options as options
from warrener.domain.definition.handles import (
    Handle,
    literal,
    number,
    plain,
    refuse,
    text_of,
    users_place,
)
from warrener.domain.definition.model import Catch, Join, Need
from warrener.domain.expression_text import OPEN

_STEP_NAME = re.compile(r"[a-z][a-z0-9_]*\Z", re.ASCII)
_marks = count(1)


class Draft:
    """A step while its job is traced; `fields` become the `StepDefinition`."""

    def __init__(self, default_name: str, fields: dict[str, Any]) -> None:
        self.mark = f"\0{next(_marks)}\0"
        self.default_name = default_name
        self.name: str | None = None
        self.fields = fields
        self.needs: dict[str, Need] = {}
        self.after: list[str] = []
        self.defaults: dict[str, Any] = {}  # of the arguments that were left out
        self.result_fields: frozenset[str] = frozenset()
        self.place = users_place()


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

    def always(self) -> StepHandle:
        """Run the step at the very end, whatever happened, also when the job is cancelled."""
        return self._set("always", True)

    def catch(self, on: str = "*", *, go: StepHandle) -> StepHandle:
        """Let another step answer for failures with this code (or class): it runs in their stead.

        Whoever reads this step gets the result of the other one then. The first rule counts.
        """
        rule = Catch(on=on, go=draft_of(go, ".catch(..., go=...)").mark)
        return self._set("catch", (*self._draft.fields.get("catch", ()), rule))

    def compensate(self, endpoint: Any) -> StepHandle:
        """Undo the step by this endpoint if the job fails or is cancelled later on."""
        return self._set("compensate", options.endpoint_name(".compensate(...)", endpoint))

    def retry(self, *rules: options.Retry) -> StepHandle:
        """Retry by these rules instead of the endpoint's; without any, never."""
        return self._set("retry", options.retry(".retry(...)", rules))

    def timeout(self, bounds: options.Timeout | str | float) -> StepHandle:
        """Bound the time of the step; one duration bounds the run of an attempt."""
        return self._set("timeout", options.timeout(".timeout(...)", bounds))

    def limits(self, *limits: options.Limit) -> StepHandle:
        """Put the step under these limits instead of the endpoint's."""
        found = options.limits(".limits(...)", limits)
        made = tuple(
            options.limit(".limits(...)", line, _limit_key(self._draft, line)) for line in found
        )
        return self._set("limits", made)

    def on_user_action(self, rule: options.UserActionRule) -> StepHandle:
        """Say what becomes of the step while it waits for a person."""
        return self._set("on_user_action", options.user_action(".on_user_action(...)", rule))

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


def _limit_key(draft: Draft, limit: options.Limit) -> str | None:
    """Return the key as an expression: the value of the argument that it names."""
    key = limit.key
    if key is None:
        return None
    if isinstance(key, Handle) or (isinstance(key, str) and OPEN in key):
        return key if isinstance(key, str) else str(template(key, draft))
    given = draft.fields.get("with_", {})
    if not isinstance(key, str) or not (key in given or key in draft.defaults):
        known = ", ".join((*given, *draft.defaults)) or "none"
        refuse(
            f"the key {key!r} of the limit {limit.name} is no argument of this call",
            f"name one ({known}), or write a text with ${{{{ }}}}",
        )
    value = given[key] if key in given else template(draft.defaults[key], draft)
    if isinstance(value, list | dict):
        refuse(
            f"the limit {limit.name} has the argument {key} as its key, which is more than a value",
            "name one that is text or a number, or write a text with ${{ }}",
        )
    return value if isinstance(value, str) else "${{ " + literal(value) + " }}"


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
