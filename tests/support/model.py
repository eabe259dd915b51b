"""An executable model of the dependency semantics, to compare the real core with.

It is written for obviousness: after every report everything is worked out anew from the states
of the steps. Its only memory besides those states is how each conditional edge was decided, what
each step gave, and with what arguments it was started. The rules are those of
`ops/decisions/0002-dependency-semantics.md`; the numbers in comments are its sections.
"""

from __future__ import annotations

from typing import Any, Literal

from support.case import Case, Report, conditions, dependencies, topological_order
from support.family import Broken, View, condition, reads, render
from support.joins import JOINS, RUN

ENDED = {"succeeded", "failed", "upstream_failed", "skipped", "not_needed", "cancelled"}
FAILED = {"failed", "upstream_failed", "cancelled"}
EXPRESSION_ERROR = "expression-error"
WORK_ERROR = "work-failed"


Edge = Literal["required", "not required", "undecided"]


class Model:
    """One run of a case. `start` once, then `report` as often as wanted, in any order."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.steps: dict[str, dict[str, Any]] = case.definition["steps"]
        self.dependencies = {name: dependencies(step) for name, step in self.steps.items()}
        self.order = topological_order(self.dependencies)
        self.readers = {
            name: [reader for reader in self.order if name in self.dependencies[reader]]
            for name in self.order
        }
        self.states = dict.fromkeys(self.steps, "pending")
        self.results: dict[str, Any] = {}  # of succeeded steps
        self.errors: dict[str, str] = {}  # codes, of failed steps
        self._decided: dict[tuple[str, str], bool | None] = {}  # conditional edges; None: broken
        self._arguments: dict[str, Any] = {}

    def start(self) -> None:
        """Submit the job."""
        self._settle()

    def report(self, step: str, outcome: str) -> None:
        """Take a report; one for a step that is not running changes nothing (10)."""
        if self.states[step] != "running":
            return
        if outcome == "ok":
            self._succeed(step, self.case.results[step])
        else:
            self._fail(step, WORK_ERROR)
        self._settle()

    @property
    def running(self) -> set[str]:
        """Return the steps that were started and have not ended."""
        return {name for name, state in self.states.items() if state == "running"}

    @property
    def job(self) -> str:
        """Return the state of the job: running, succeeded or failed (9)."""
        if not ENDED.issuperset(self.states.values()):
            return "running"
        for name, state in self.states.items():
            if state in {"failed", "upstream_failed"} and not self._may_fail(name):
                return "failed"
        try:
            self.job_result()
        except Broken:
            return "failed"
        return "succeeded"

    def job_result(self) -> Any:
        """Return the result of a job of which every step has ended; raises `Broken`."""
        views = {name: self._view(name, readable=True) for name in self.steps}
        return render(self.case.definition.get("result"), self.case.params, views)

    def arguments(self, step: str) -> Any:
        """Return the rendered `with` of a step that was started."""
        return self._arguments[step]

    # --- edges and demand (1, 2) ---------------------------------------------------------------

    def edge(self, reader: str, dependency: str) -> Edge:
        """Return what the reader's edge to one of its dependencies is at this moment."""
        if dependency not in conditions(self.steps[reader]):
            return "required"
        decided = self._decided.get((reader, dependency))
        if decided is not None:
            return "required" if decided else "not required"
        return "undecided" if self.states[reader] == "pending" else "not required"

    def demanded(self) -> set[str]:
        """Return the steps that are demanded now."""
        return self._reached({"required"})

    def demandable(self) -> set[str]:
        """Return the steps that are demanded or may yet be."""
        return self._reached({"required", "undecided"})

    def _reached(self, edges: set[Edge]) -> set[str]:
        reached: set[str] = set()
        for name in reversed(self.order):  # readers first
            asking = (
                reader
                for reader in self.readers[name]
                if reader in reached
                and self.states[reader] not in {"not_needed", "cancelled"}
                and self.edge(reader, name) in edges
            )
            if self._demanded_by_itself(name) or any(asking):
                reached.add(name)
        return reached

    def _demanded_by_itself(self, name: str) -> bool:
        return (
            not self.readers[name]
            or bool(self.steps[name].get("eager"))
            or name in reads(self.case.definition.get("result"))
        )

    def _decide_edges(self) -> None:
        for name in self.order:
            if self.states[name] == "pending":
                while any(self._decide_edge(name, to) for to in self.dependencies[name]):
                    pass  # one decision may let another condition of the same step be evaluated

    def _decide_edge(self, reader: str, dependency: str) -> bool:
        when = conditions(self.steps[reader]).get(dependency)
        if when is None or (reader, dependency) in self._decided:
            return False
        read = reads(when)
        if not all(self._ended(x) or self.edge(reader, x) == "not required" for x in read):
            return False
        views = {x: self._view(x, self.edge(reader, x) != "not required") for x in read}
        try:
            self._decided[reader, dependency] = condition(when, self.case.params, views)
        except Broken:
            self._decided[reader, dependency] = None
        return True

    # --- one step at a time, until nothing can move (6) ----------------------------------------

    def _settle(self) -> None:
        self._decide_edges()
        while any(self._consider(name) for name in self.order):  # the first that can move
            self._decide_edges()

    def _consider(self, name: str) -> bool:
        """Start or end a pending step if it is time; return whether it was."""
        if self.states[name] != "pending":
            return False
        if name not in self.demandable():
            self.states[name] = "not_needed"
            return True
        if name not in self.demanded():
            return False
        if any(self._decided.get((name, to), True) is None for to in self.dependencies[name]):
            self._fail(name, EXPRESSION_ERROR)
            return True
        verdict = self._join(name)
        if verdict is None:
            return False
        rest = self._open_dependencies(name)
        if verdict == RUN:
            self._run(name)
        else:
            self.states[name] = verdict
        if self.steps[name].get("cancel_rest"):
            self._cancel_rest(name, rest)
        return True

    def _join(self, name: str) -> str | None:
        """Return "run", the state the step ends in, or None while undecided (3)."""
        required = [to for to in self.dependencies[name] if self.edge(name, to) == "required"]
        outcomes = [self._outcome(to) for to in required if self._ended(to)]
        join = JOINS[self.steps[name].get("join", "all_ok")]
        return join(outcomes, not self._open_dependencies(name))

    def _open_dependencies(self, name: str) -> list[str]:
        """Return what an early decision leaves behind: required and running, or undecided."""
        edges = {to: self.edge(name, to) for to in self.dependencies[name]}
        return [
            to
            for to, edge in edges.items()
            if edge == "undecided" or (edge == "required" and not self._ended(to))
        ]

    def _outcome(self, name: str) -> str:
        """Return what an ended step is to its readers: ok, failed or skipped (4)."""
        state = self.states[name]
        if state == "succeeded" or (state in FAILED and self._may_fail(name)):
            return "ok"
        return "failed" if state in FAILED else "skipped"

    def _run(self, name: str) -> None:
        """Evaluate `when`, then the arguments, then start the step (5)."""
        step = self.steps[name]
        views = {to: self._view(to, self.edge(name, to) == "required") for to in self.steps}
        try:
            if "when" in step and not condition(step["when"], self.case.params, views):
                self.states[name] = "skipped"
                return
            value = render(step.get("set", step.get("with", {})), self.case.params, views)
        except Broken:
            self._fail(name, EXPRESSION_ERROR)
            return
        if "set" in step:
            self._succeed(name, value)
        else:
            self.states[name] = "running"
            self._arguments[name] = value

    def _cancel_rest(self, name: str, rest: list[str]) -> None:
        """Cancel what the early decision of a join left behind, readers first (7)."""
        for dependency in reversed(self.order):
            if dependency not in rest or self._ended(dependency):
                continue
            demanded = self.demanded()
            others = (
                reader
                for reader in self.readers[dependency]
                if reader != name
                and reader in demanded
                and self.states[reader] == "pending"
                and self.edge(reader, dependency) == "required"
            )
            if not any(others):
                self.states[dependency] = "cancelled"

    # --- plain facts about steps ---------------------------------------------------------------

    def _succeed(self, name: str, result: Any) -> None:
        self.states[name] = "succeeded"
        self.results[name] = result

    def _fail(self, name: str, code: str) -> None:
        self.states[name] = "failed"
        self.errors[name] = code
        if self.case.definition.get("on_failure") == "stop" and not self._may_fail(name):
            for other in self.steps:  # (8)
                if not self._ended(other):
                    self.states[other] = "cancelled"

    def _ended(self, name: str) -> bool:
        return self.states[name] in ENDED

    def _may_fail(self, name: str) -> bool:
        return bool(self.steps[name].get("may_fail"))

    def _view(self, name: str, readable: bool) -> View:
        """Return what expressions see; without `readable` result and error are null (5)."""
        return View(
            result=self.results.get(name) if readable else None,
            status=self.states[name] if self._ended(name) else "pending",
            error=self.errors.get(name) if readable else None,
        )


def script(case: Case) -> list[Report]:
    """Return every report of a run in the order in which they come in.

    Each step that was started reports once, also if it was cancelled meanwhile, and its report
    is repeated; a repeated report comes at any later time.
    """
    model = Model(case)
    model.start()
    started: set[str] = set()
    outstanding: list[str] = []
    reports: list[Report] = []
    while True:
        for name in sorted(model.running - started):
            repeats = case.repeats[len(started) % len(case.repeats)]
            outstanding += [name] * (1 + repeats)
            started.add(name)
        if not outstanding:
            return reports
        index = case.order[len(reports) % len(case.order)] % len(outstanding)
        name = outstanding.pop(index)
        reports.append(Report(name, case.outcomes[name]))
        model.report(*reports[-1])
