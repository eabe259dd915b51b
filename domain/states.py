"""The state machines of jobs and steps, declared with `transitions` and compiled to plain tables.

The machines are consulted only here, once, at import; `decide` functions look moves up in
`JOB_MOVES` and `STEP_MOVES`. Replay never asks them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from transitions import Machine

JOB_ENDED: Final = frozenset({"succeeded", "failed", "cancelled"})
STEP_ENDED: Final = frozenset(
    {"succeeded", "failed", "upstream_failed", "skipped", "not_needed", "cancelled"}
)
STEP_FAILED: Final = frozenset({"failed", "upstream_failed", "cancelled"})

JOB_STATES: Final = ("submitted", "running", "paused", "cancelling", *sorted(JOB_ENDED))
_JOB_ROWS = [
    ("start", "submitted", "running"),
    ("pause", ["submitted", "running"], "paused"),
    ("resume", "paused", "running"),
    ("wait_again", "paused", "submitted"),
    ("cancel", ["submitted", "running", "paused"], "cancelling"),
    ("succeed", "running", "succeeded"),
    ("fail", "running", "failed"),
    ("finish_cancel", "cancelling", "cancelled"),
    ("pass_deadline", ["submitted", "running", "paused"], "running"),
    ("rerun", ["running", *sorted(JOB_ENDED)], "running"),
]

_STEP_ACTIVE = ["ready", "released", "running", "retrying", "waiting", "waiting_user"]
_STEP_STATES = ["pending", *_STEP_ACTIVE, *sorted(STEP_ENDED)]
_STEP_ROWS = [
    ("make_ready", "pending", "ready"),
    ("skip", ["pending", "waiting_user"], "skipped"),
    ("not_need", "pending", "not_needed"),
    ("fail_upstream", "pending", "upstream_failed"),
    ("release", ["ready", "retrying"], "released"),
    ("open", ["pending", "ready"], "waiting"),
    ("start", "released", "running"),
    ("progress", "running", "running"),
    ("schedule_retry", ["released", "running"], "retrying"),
    ("park", ["released", "running"], "waiting_user"),
    ("ready_again", ["retrying", "waiting_user"], "ready"),
    ("succeed", ["pending", "released", "running", "waiting"], "succeeded"),
    ("fail", ["pending", *_STEP_ACTIVE], "failed"),
    ("cancel", ["pending", *_STEP_ACTIVE], "cancelled"),
    ("renew", sorted(STEP_ENDED), "ready"),
]


def machine(states: list[str], rows: list[Any], initial: str) -> Machine:
    """Build a machine without a model, for compiling a table or drawing a diagram."""
    return Machine(
        model=None,
        states=states,
        transitions=[list(row) for row in rows],
        initial=initial,
        auto_transitions=False,
    )


def job_machine() -> Machine:
    """Return the machine of a job."""
    return machine(list(JOB_STATES), _JOB_ROWS, "submitted")


def step_machine() -> Machine:
    """Return the machine of a step."""
    return machine(_STEP_STATES, _STEP_ROWS, "pending")


def compile_moves(built: Machine) -> Mapping[tuple[str, str], str]:
    """Flatten a machine into `(state, trigger) -> next state`."""
    return {
        (transition.source, name): transition.dest
        for name in built.events
        for transition in built.get_transitions(name)
        if transition.dest is not None
    }


JOB_MOVES: Final = compile_moves(job_machine())
STEP_MOVES: Final = compile_moves(step_machine())
