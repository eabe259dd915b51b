"""What is taken of a log about one tree of jobs tells of it what the whole log tells."""

from __future__ import annotations

from uuid import UUID

from support.everything import run
from support.scale import scaled

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.events import JobSubmitted
from warrener.domain.ports import EventStore
from warrener.projections.history import job_of
from warrener.services.logs import LogSet
from warrener.services.partial_log import PartialLog
from warrener.services.queries import Queries

SEEDS = 12


def queries_of(log: EventStore) -> Queries:
    return Queries(LogSet([log]), MemoryViewStore())


def jobs_of(queries: Queries, root: UUID) -> list[UUID]:
    found = [each.recorded for each in queries.tree_events(root)]
    return [each.originator_id for each in found if isinstance(each.event, JobSubmitted)]


def test_a_part_of_the_log_tells_of_its_tree_what_the_whole_log_tells() -> None:
    compared = 0
    for seed in range(scaled(SEEDS)):
        world = run(seed)
        whole = queries_of(world.log)
        for root in world.roots:
            part = queries_of(PartialLog(whole.tree_events(root), world.log.blob))

            assert list(part.history(root, tree=True)) == list(whole.history(root, tree=True))
            assert part.tree(root) == whole.tree(root)
            assert list(part.timeline(root, tree=True)) == list(whole.timeline(root, tree=True))
            for job in jobs_of(whole, root):
                assert part.show(job) == whole.show(job), f"seed {seed}"
                compared += 1

    assert compared > SEEDS


def test_a_part_of_the_log_up_to_a_position_is_what_there_was_then() -> None:
    for seed in range(scaled(SEEDS)):
        world = run(seed)
        whole = queries_of(world.log)
        root = world.roots[0]
        own = [each for each in whole.tree_events(root) if job_of(each) is not None]
        until = own[len(own) // 2].position

        part = [each.position for each in whole.tree_events(root, until=until)]

        assert [each.position for each in own if each.position <= until] == [
            position for position in part if position in {each.position for each in own}
        ]
        assert max(part) == until
