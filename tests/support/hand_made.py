"""Short ways to write a job for a test of the dependency semantics."""

from __future__ import annotations

from typing import Any

from support.case import Case
from support.model import Model

YES, NO, ODD = "${{ params.yes }}", "${{ params.no }}", "${{ params.odd }}"
PARAMS = {"yes": True, "no": False, "odd": 3}

Steps = dict[str, dict[str, Any]]


def begin(steps: Steps, results: Any = None, **definition: Any) -> Model:
    """Start a job; steps are calls unless they say otherwise and give null unless said."""
    full = {
        name: step if "set" in step else {"call": "work"} | step for name, step in steps.items()
    }
    model = Model(
        Case(
            definition={"job": "hand-made", "steps": full} | definition,
            params=PARAMS,
            outcomes=dict.fromkeys(steps, "ok"),
            results=dict.fromkeys(steps) | (results or {}),
        )
    )
    model.start()
    return model


def flag(step: str) -> str:
    """Return an expression that fails where the step's result has no flag."""
    return f"${{{{ steps.{step}.result.flag }}}}"


def reading(step: str, part: str = "result") -> str:
    """Return an expression that reads a part of a step."""
    return f"${{{{ steps.{step}.{part} }}}}"


def after(*names: str, **options: Any) -> dict[str, Any]:
    """Return a step that waits for these."""
    return {"after": list(names)} | options


def edge(to: str, when: str) -> dict[str, Any]:
    """Return `needs` with one conditional edge."""
    return {to: {"when": when}}
