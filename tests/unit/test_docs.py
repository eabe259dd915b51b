"""The pages that are generated from the program are current."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from transitions import Machine

DOCS = Path(__file__).parents[2] / "ops" / "docs"


def draw_states():
    spec = importlib.util.spec_from_file_location("draw_states", DOCS / "draw_states.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_drawn_states_are_those_of_the_program():
    assert (DOCS / "states.md").read_text("utf-8") == draw_states().page(), (
        "run: python ops/docs/draw_states.py"
    )


def test_moves_between_the_same_two_states_share_an_arrow():
    rows = [["go", "a", "b"], ["run", "a", "b"], ["end", "b", "c"]]
    machine = Machine(
        None, states=["a", "b", "c"], transitions=rows, initial="a", auto_transitions=False
    )

    text = draw_states().diagram(machine, frozenset({"c"}))

    assert text.splitlines()[2:-1] == [
        "    [*] --> a",
        "    a --> b: go, run",
        "    b --> c: end",
        "    c --> [*]",
    ]
