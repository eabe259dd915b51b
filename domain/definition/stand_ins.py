"""Steps that run in the stead of others: who waits for whom once failures are caught."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from warrener.domain.definition.model import StepDefinition

OUTCOME = "!"  # no name of a step ends so


def handlers(steps: Mapping[str, StepDefinition]) -> dict[str, dict[str, str]]:
    """Return, for each step that catches, the steps that it names, with the places in its rules."""
    found: dict[str, dict[str, str]] = {}
    for name, step in steps.items():
        for number, rule in enumerate(step.catch):
            found.setdefault(name, {}).setdefault(rule.go, f"steps.{name}.catch[{number}].go")
    return found


def caught(found: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Return, for each handler, the steps that it answers for."""
    answers: dict[str, set[str]] = {}
    for name, going in found.items():
        for handler in going:
            answers.setdefault(handler, set()).add(name)
    return answers


def outcome_graph(
    graph: Mapping[str, Iterable[str]], found: Mapping[str, Iterable[str]]
) -> dict[str, set[str]]:
    """Return who waits for whom, with a node `NAME!` for the outcome of each step that catches.

    A handler follows the step that it answers for, as that stands; the outcome follows both,
    through any number of handlers that have handlers of their own. All others wait for the outcome.
    """
    answers = caught(found)
    waits = {}
    for name, reads in graph.items():
        own = answers.get(name, set())
        waits[name] = own | {_outcome(read, found) for read in reads if read not in own}
    for name, going in found.items():
        waits[f"{name}{OUTCOME}"] = {name, *(_outcome(handler, found) for handler in going)}
    return waits


def _outcome(name: str, found: Mapping[str, Iterable[str]]) -> str:
    return f"{name}{OUTCOME}" if name in found else name
