"""Random definitions that use everything a definition can say, small enough to run by hundreds.

A world has a root job, `tree`, which may start itself and the job `leaf`. Steps depend only on
those before them. Steps that answer for failures (`mend...`) and clean-up (`end...`) come last:
nothing reads the former, and only clean-up depends on clean-up.
"""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
from support.random_options import Options, maybe
from support.random_themes import Theme

from warrener.domain.definition.model import JobDefinition

ANSWER_FORM = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
SIGNALS = ("go", "stop")
JOINS = ("all_done", "any_ok", "any_ok", "any_failed", "all_failed")
TREE, LEAF = "tree", "leaf"


class RandomJobs:
    """The definitions of one world and what to submit. `options` has the limits that all share."""

    def __init__(self, random: Random, theme: Theme) -> None:
        self.random = random
        self.theme = theme
        self.options = Options(random, theme)
        self.definitions = {
            LEAF: self._definition(LEAF, random.randint(1, 3)),
            TREE: self._definition(TREE, random.randint(3, 8)),
        }

    def params(self) -> dict[str, Any]:
        """Return parameters of a root job."""
        count = self.random.randint(0, self.theme.items_max)
        items = [self.random.choice("aabc") for _ in range(count)]
        return {
            "n": self.random.choice((0, 1, 2, 2, 3)),
            "flag": maybe(self.random),
            "items": items,
        }

    def _definition(self, name: str, count: int) -> JobDefinition:
        steps: dict[str, dict[str, Any]] = {}
        for place in range(count):
            steps[f"s{place}"] = self._step(list(steps), is_leaf=name == LEAF)
        self._let_some_catch(steps)
        for place in range(self.random.choice((0, 0, 0, 1, 2))):
            steps[f"end{place}"] = self._clean_up(steps)
        head: dict[str, Any] = {"job": name, "steps": steps}
        if maybe(self.random, self.theme.stop):
            head["on_failure"] = "stop"
        if name == TREE:
            head["budget"] = {
                "depth": self.random.choice((1, 2, 3)),
                "steps": self.random.choice((40, 100, 200)),
            }
        if name == TREE and maybe(self.random, self.theme.deadline):
            head["deadline"] = self.random.choice((5.0, 30.0, 120.0))
        if maybe(self.random):
            head["result"] = f"${{{{ steps.{self.random.choice(list(steps))}.result }}}}"
        return msgspec.convert(head, JobDefinition)

    # --- steps -----------------------------------------------------------------------------------

    def _step(self, earlier: list[str], *, is_leaf: bool) -> dict[str, Any]:
        kinds = [
            kind for kind in self.theme.kinds if not (is_leaf and kind in {"child_job", "jobs"})
        ]
        kind = self.random.choice(kinds)
        step = self._depends(kind, earlier)
        getattr(self, f"_{kind}")(step, earlier)
        if maybe(self.random, 0.15):
            step["may_fail"] = True
        if maybe(self.random, 0.1):
            step["eager"] = True
        return step

    def _depends(self, kind: str, earlier: list[str]) -> dict[str, Any]:
        """Return a step that depends on some earlier ones, in any of the ways there are."""
        step: dict[str, Any] = {}
        count = min(self.random.choice((0, 1, 1, 1, 2, 3)), len(earlier))
        asked = self.random.sample(earlier, count)
        reads: dict[str, str] = {}
        for place, name in enumerate(asked):
            use = self.random.choice(("after", "with", "with", "needs", "edge", "edge"))
            if use == "with" and kind not in {"wait", "sleep"}:
                part = self.random.choice(("result", "result", "status", "error"))
                reads[f"of_{name}"] = f"${{{{ steps.{name}.{part} }}}}"
            elif use == "edge":
                step.setdefault("needs", {})[name] = {"when": self._condition(asked[:place])}
            elif use == "needs":
                step.setdefault("needs", {})[name] = {}
            else:
                step["after"] = [*step.get("after", ()), name]
        if kind == "set":
            values = (1, 1, "${{ params.flag }}", "${{ params.flag }}", "${{ params.nothing }}")
            step["set"] = {"x": self.random.choice(values), **reads}
        elif kind not in {"wait", "sleep"}:
            step["with"] = reads
        if maybe(self.random, 0.15):
            step["when"] = self._condition(asked)
        if asked and maybe(self.random, 0.3):
            step["join"] = self.random.choice(JOINS)
            if step["join"] != "all_done" and maybe(self.random, 0.4):
                step["cancel_rest"] = True
        return step

    def _condition(self, readable: list[str]) -> str:
        texts = ["params.flag", "!params.flag", "params.n > 0", "size(params.items) > 1"]
        for name in readable:
            texts += [f"steps.{name}.status == 'succeeded'", f"steps.{name}.result != null"]
            texts += [f"steps.{name}.error == null", f"steps.{name}.result == 7"]
        return f"${{{{ {self.random.choice(texts)} }}}}"

    def _call(self, step: dict[str, Any], earlier: list[str]) -> None:
        step["call"] = self.random.choice(("work", "work", "work", "other"))
        step |= self.options.of_call()
        if maybe(self.random, 0.25):
            step["compensate"] = "undo"

    def _each(self, step: dict[str, Any], earlier: list[str]) -> None:
        step["call"] = "work"
        step["with"]["item"] = "${{ item }}"
        self._over(step, earlier)
        step |= self.options.of_call(items=True)

    def _child_job(self, step: dict[str, Any], earlier: list[str]) -> None:
        self._child(step, "c")
        if maybe(self.random, 0.25):
            step["compensate"] = "undo"

    def _jobs(self, step: dict[str, Any], earlier: list[str]) -> None:
        self._over(step, earlier)
        self._child(step, "${{ item }}")

    def _over(self, step: dict[str, Any], earlier: list[str]) -> None:
        lists = ["${{ params.items }}"] * 3 + ["${{ ['x', 'y', 'z'] }}"]
        if earlier:
            lists.append(f"${{{{ steps.{self.random.choice(earlier)}.result }}}}")
        step["for_each"] = self.random.choice(lists)
        if maybe(self.random, 0.6):
            step["window"] = self.random.choice((1, 2, 3))
        if maybe(self.random, 0.4):
            step["tolerate"] = self.random.choice((1, "50%", "100%"))

    def _child(self, step: dict[str, Any], mark: Any) -> None:
        step["job"] = self.random.choice((LEAF, LEAF, TREE))
        step["with"] |= {
            "n": self.random.choice(("${{ params.n - 1 }}",) * 5 + ("${{ params.n }}",)),
            "flag": "${{ !params.flag }}",
            "items": [mark, "b"],
        }
        step["when"] = self.random.choice(("${{ params.n > 0 }}",) * 3 + ("${{ params.n >= 0 }}",))

    def _set(self, step: dict[str, Any], earlier: list[str]) -> None:
        """All is said where it depends on others."""

    def _wait(self, step: dict[str, Any], earlier: list[str]) -> None:
        step["wait"] = {"for": self.random.choice(SIGNALS)}
        if maybe(self.random):
            step["wait"]["form"] = ANSWER_FORM
        if maybe(self.random, 0.6):
            step["wait"]["expire"] = self.random.choice((2.0, 20.0, 60.0))

    def _sleep(self, step: dict[str, Any], earlier: list[str]) -> None:
        lengths = (1, 10, "5s", "${{ params.n }}", "${{ params.items }}", "2030-01-01T00:00:20Z")
        step["sleep"] = self.random.choice(lengths)

    # --- what answers and what cleans up ---------------------------------------------------------

    def _let_some_catch(self, steps: dict[str, dict[str, Any]]) -> None:
        """Have new steps answer for failures of some, and others for those of the new ones."""
        for name in list(steps):
            if maybe(self.random, 0.25):
                self._add_handler(steps, name, chain=self.random.choice((1, 1, 2)))

    def _add_handler(self, steps: dict[str, dict[str, Any]], name: str, chain: int) -> None:
        handler = f"mend_{name}"
        kind = self.random.choice(("call", "call", "set"))
        if kind == "call":
            error = {"error": f"${{{{ steps.{name}.error }}}}"}
            steps[handler] = {"call": "work", "with": error, **self.options.of_call()}
        else:
            steps[handler] = {"set": {"mended": f"${{{{ steps.{name}.error.code }}}}"}}
        on = self.random.choice(("*", "*", "broken", "bad-luck", "run-timeout", "wait-expired"))
        steps[name]["catch"] = [{"on": on, "go": handler}]
        if chain > 1:
            self._add_handler(steps, handler, chain - 1)

    def _clean_up(self, steps: dict[str, dict[str, Any]]) -> dict[str, Any]:
        step: dict[str, Any] = {"always": True}
        kind = self.random.choice(("call", "call", "call", "each", "sleep", "set"))
        name = self.random.choice(list(steps))
        if kind == "call":
            step |= {"call": "clean", "with": {"of": f"${{{{ steps.{name}.status }}}}"}}
            step |= self.options.of_call()
        elif kind == "each":
            step |= {"call": "clean", "for_each": ["x", "y"], "with": {"item": "${{ item }}"}}
        elif kind == "sleep":
            step |= {"sleep": 1, "after": [name]}
        else:
            step |= {"set": {"of": f"${{{{ steps.{name}.status }}}}"}}
        if maybe(self.random, 0.3):
            step["may_fail"] = True
        return step
