"""Going through events, forth and back, shows at each what `replay` says of its position."""

from __future__ import annotations

from random import Random

import pytest
from support.everything import Everything
from support.scale import scaled

from warrener.adapters.document_views import DocumentViews
from warrener.adapters.memory_views import MemoryViewStore
from warrener.services import walk as walking
from warrener.services.logs import LogSet
from warrener.services.partial_log import PartialLog
from warrener.services.past import replay
from warrener.services.places import Place
from warrener.services.queries import Queries
from warrener.services.walk import Walk

SEEDS = 8
LOOKS = 25


@pytest.mark.parametrize("tree", [False, True])
def test_at_every_event_the_state_is_that_of_its_position(
    tree: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "STRIDE_EVENTS_MIN", 7)
    for seed in range(scaled(SEEDS)):
        world = Everything(seed)
        world.run_all()
        logs, root = LogSet([world.log]), world.roots[0]
        queries, draws = Queries(logs, MemoryViewStore()), Random(seed)
        walk = Walk(PartialLog(queries.tree_events(root)), root, DocumentViews, tree=tree)
        history = [line.position for line in queries.history(root, tree=tree)]
        now = world.clock.now()

        assert [each.position for each in walk.events] == history
        places = [*range(min(5, len(history))), *range(min(4, len(history) - 1), -1, -1)]
        places += [draws.randrange(len(history)) for _ in range(LOOKS)]
        for number in places:
            walk.look(number)
            past = replay(
                logs, queries, Place(root), history[number], now=now, open_views=DocumentViews
            )
            assert walk.queries().show(root) == past.show(), f"seed {seed}, event {number}"


def test_the_changes_of_all_events_add_up_to_the_state_at_the_end() -> None:
    for seed in range(scaled(SEEDS)):
        world = Everything(seed)
        world.run_all()
        root = world.roots[0]
        queries = Queries(LogSet([world.log]), MemoryViewStore())
        walk = Walk(PartialLog(queries.tree_events(root)), root, DocumentViews, tree=True)
        states: dict[tuple[str, str], str] = {}

        for number in range(len(walk.events)):
            for change in walk.look(number):
                if "state" in change.fields:
                    old, new = change.fields["state"]
                    known = states.get((change.kind, change.path))
                    assert old in (known, "", None, "pending", "ready"), f"seed {seed}: {change}"
                    states[change.kind, change.path] = new

        show = queries.show(root)
        assert states["job", ""] == show.state
        for name, step in show.steps.items():
            assert states.get(("step", name), "pending") == step.state, f"seed {seed}, {name}"
