"""Draws the state machines of jobs and steps, from the machines that the program itself uses.

python ops/docs/draw_states.py            writes ops/docs/states.md anew
python ops/docs/draw_states.py --check    says with its exit code whether states.md is current
"""

from __future__ import annotations

import sys
from pathlib import Path

from transitions import Machine

from warrener.domain.states import JOB_ENDED, STEP_ENDED, job_machine, step_machine

PAGE = Path(__file__).with_name("states.md")
HEAD = """# States of jobs and steps

Drawn from `domain/states.py` by `python ops/docs/draw_states.py`; do not edit. An arrow bears the
name of the move. Ended states absorb: nothing leads out of them. Some states and moves are declared
ahead of their use: what waits for a user, and what pauses.
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join(
        [
            HEAD,
            "## Job\n",
            diagram(job_machine(), JOB_ENDED),
            "## Step\n",
            diagram(step_machine(), STEP_ENDED),
        ]
    )


def diagram(machine: Machine, ended: frozenset[str]) -> str:
    """Return a machine as a Mermaid diagram; moves between the same two states share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for name in machine.events:
        for move in machine.get_transitions(name):
            arrows.setdefault((move.source, move.dest), []).append(name)
    lines = [f"    [*] --> {machine.initial}"]
    lines += [f"    {a} --> {b}: {', '.join(names)}" for (a, b), names in sorted(arrows.items())]
    lines += [f"    {state} --> [*]" for state in sorted(ended)]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"]) + "\n"


def main() -> int:
    """Write the page, or check it."""
    if "--check" in sys.argv[1:]:
        current = PAGE.exists() and PAGE.read_text("utf-8") == page()
        print(f"{PAGE}: {'current' if current else 'out of date: run this without --check'}")
        return 0 if current else 1
    PAGE.write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
