"""Hypothesis strategies for random cases: definitions that are valid and acyclic by construction.

Steps are drawn one after the other and depend only on earlier ones, so that a case shrinks by
losing steps, dependencies and options; the first alternative of every choice is the plainest.
Drawing costs more than running the model: strategies are built once and choices are drawn together.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from support.case import Case

STEPS_MAX = 12
DEPENDENCIES_MAX = 4
NAMES = tuple("abcdefghijkl")
PARAMS = ("p0", "p1", "p2")
ODD_PARAM = "odd"  # always a number: a condition on it is broken
STATES = ("failed", "succeeded", "skipped", "not_needed", "upstream_failed", "cancelled", "pending")
JOINS = ("", "", "", "", "all_done", "any_ok", "any_ok", "any_failed", *["all_failed"] * 3)
JOINS_ALONE = ("", "", "all_done")  # of a step that depends on nothing
OPTIONS: tuple[dict[str, Any], ...] = (
    *[{}] * 10,
    *[{"may_fail": True}] * 2,
    *[{"cancel_rest": True}] * 4,
    {"eager": True},
    {"may_fail": True, "cancel_rest": True},
    {"eager": True, "cancel_rest": True},
)
RESULTS: tuple[Any, ...] = (
    *[{"flag": True}, {"flag": False}, {"flag": True, "n": 1}] * 4,
    {"flag": 3},
    {"n": 1},
    None,
    7,
    [],
)
USES = ("after", "with", "needs", "edge", "edge", "with edge")
PARAM_CONDITIONS = (
    *[f"${{{{ params.{name} }}}}" for name in PARAMS] * 2,
    *[f"${{{{ params.{name} != true }}}}" for name in PARAMS] * 2,
    f"${{{{ params.{ODD_PARAM} }}}}",
)


@cache
def _one_of(*choices: Any) -> SearchStrategy[Any]:
    return st.sampled_from(choices)


@cache
def _reading(name: str) -> SearchStrategy[str]:
    parts = ("result", "result", "result", "result", "status", "result.flag")
    return st.sampled_from([f"${{{{ steps.{name}.{part} }}}}" for part in parts])


@cache
def _step_condition(name: str) -> SearchStrategy[str]:
    guarded = f"steps.{name}.result != null && steps.{name}.result.flag"
    states = [f"steps.{name}.status == '{state}'" for state in STATES]
    others = [f"steps.{name}.result.flag", f"steps.{name}.error != null"] * 2
    return st.sampled_from([f"${{{{ {text} }}}}" for text in [guarded] * 5 + states + others])


_BOOLEANS = st.booleans()
_OPTIONS = st.sampled_from(OPTIONS)
_PLAIN_OR_SET = _one_of("call", "call", "call", "call", "set")
_WITH_WHEN = _one_of(False, False, False, False, False, True)
_TURNS = st.lists(st.integers(0, 11), min_size=1, max_size=6).map(tuple)
_REPEATS = st.lists(st.integers(0, 2), min_size=1, max_size=4).map(tuple)
_RUN = st.tuples(_one_of("ok", "ok", "fail"), st.sampled_from(RESULTS))


def _condition(draw: DrawFn, earlier: list[str]) -> str:
    """Draw a condition over the parameters or one of these steps; at times it is broken."""
    if bool(earlier) and draw(_BOOLEANS):
        return str(draw(_step_condition(draw(_one_of(*earlier)))))
    return str(draw(_one_of(*PARAM_CONDITIONS)))


def _dependencies(draw: DrawFn, earlier: list[str]) -> list[str]:
    if not earlier:
        return []
    count = min(draw(_one_of(0, 1, 1, 2, 2, 3, DEPENDENCIES_MAX)), len(earlier))
    return list(dict.fromkeys(str(draw(_one_of(*earlier))) for _ in range(count)))


def _step(draw: DrawFn, earlier: list[str]) -> dict[str, Any]:
    """Draw one step that depends on some of the earlier ones."""
    after: list[str] = []
    needs: dict[str, Any] = {}
    values: dict[str, Any] = {}
    asked = _dependencies(draw, earlier)
    for place, name in enumerate(asked):
        use = draw(_one_of(*USES))
        if "with" in use:
            values[name] = draw(_reading(name))
        if "edge" in use:
            # Only dependencies asked for before: conditions must not read each other in a circle.
            needs[name] = {"when": _condition(draw, asked[:place])}
        elif use == "needs":
            needs[name] = {}
        elif use == "after":
            after.append(name)
    when = _condition(draw, earlier) if draw(_WITH_WHEN) else ""
    if draw(_PLAIN_OR_SET) == "set":
        values["flag"] = draw(_one_of(True, False, "${{ params.p0 }}"))
        step: dict[str, Any] = {"set": values}
    else:
        step = {"call": "work", "with": values}
    step |= {"after": after, "needs": needs, "when": when}
    depends = bool(asked) or "steps." in when
    step["join"] = draw(_one_of(*JOINS if depends else JOINS_ALONE))
    options: dict[str, Any] = dict(draw(_OPTIONS))
    if not depends or step["join"] == "all_done":  # there is no rest to cancel
        options.pop("cancel_rest", None)
    return {key: value for key, value in step.items() if value} | options


def _job_result(draw: DrawFn, names: list[str]) -> Any:
    kind = draw(_one_of("none", "one", "some", "none"))
    if kind == "none":
        return None
    if kind == "one":
        return draw(_reading(draw(_one_of(*names))))
    read = {draw(_one_of(*names)), draw(_one_of(*names))}
    return {name: f"${{{{ steps.{name}.result }}}}" for name in sorted(read)}


@st.composite
def cases(draw: DrawFn, steps_max: int = STEPS_MAX) -> Case:
    """Draw a definition of up to `steps_max` (at most 12) steps and a run of it."""
    count = draw(st.integers(1, steps_max))
    names = list(draw(st.permutations(NAMES[:count])))
    steps = {name: _step(draw, names[:place]) for place, name in enumerate(names)}
    definition: dict[str, Any] = {"job": "random", "steps": steps}
    if draw(_one_of("continue", "continue", "continue", "stop")) == "stop":
        definition["on_failure"] = "stop"
    if result := _job_result(draw, names):
        definition["result"] = result
    runs = {name: draw(_RUN) for name in names}
    return Case(
        definition=definition,
        params={name: draw(_BOOLEANS) for name in PARAMS} | {ODD_PARAM: 3},
        outcomes={name: outcome for name, (outcome, _) in runs.items()},
        results={name: result for name, (_, result) in runs.items()},
        order=draw(_TURNS),
        repeats=draw(_REPEATS),
    )
