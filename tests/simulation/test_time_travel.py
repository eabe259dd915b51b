"""What a job was at a point of its past is told by its events as it was told then."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any
from uuid import UUID

import msgspec
from support.everything import Everything
from support.scale import scaled

from warrener.adapters.document_views import DocumentViews
from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.events import JobSubmitted
from warrener.domain.ports import EventStore
from warrener.projections.history import job_of
from warrener.services.log_at import LogAt
from warrener.services.logs import LogSet
from warrener.services.partial_log import PartialLog
from warrener.services.past import Past, Version, replay
from warrener.services.places import Place
from warrener.services.projector import catch_up
from warrener.services.queries import Queries

SEEDS = 10
LIVE_SEEDS = 6
POINTS = 12  # of each root
CUTS = 5  # of each log


class Watched(Everything):
    """Asks, after every turn, how its root jobs stand, as `show` does at that time."""

    def __init__(self, seed: int) -> None:
        self.told: dict[int, dict[UUID, Any]] = {}
        self._views = MemoryViewStore()
        super().__init__(seed)

    def turn(self) -> bool:
        busy = super().turn()
        head = self.log.head()
        if head and head not in self.told:
            catch_up(self.log, self._views)
            live = Queries(LogSet([self.log]), self._views)
            begun = [root for root in self.roots if self.log.last(root) is not None]
            self.told[head] = {root: (live.show(root), live.tree(root)) for root in begun}
        return busy


class Later:
    """A log that has ended, and what is asked about its past."""

    def __init__(self, log: EventStore) -> None:
        self.logs = LogSet([log])
        self.queries = Queries(self.logs, MemoryViewStore())
        self.now = log.read(log.head() - 1, 1)[0].recorded.event.at

    def past(self, job: UUID, at: int | Version | None) -> Past:
        place = Place(job)
        return replay(self.logs, self.queries, place, at, now=self.now, open_views=DocumentViews)


def jobs_by(log: EventStore, position: int) -> Iterator[UUID]:
    for each in log.read(0, position):
        if isinstance(each.recorded.event, JobSubmitted):
            yield each.recorded.originator_id


def test_what_show_said_after_every_turn_is_what_replay_says_of_that_position_later() -> None:
    compared = 0
    for seed in range(scaled(LIVE_SEEDS)):
        world = Watched(seed)
        world.run_all()
        later = Later(world.log)
        for position, told in world.told.items():
            for root, (show, tree) in told.items():
                past = later.past(root, position)

                assert past.show() == show, f"seed {seed}, position {position}"
                assert past.tree() == tree, f"seed {seed}, position {position}"
                compared += 1

    assert compared > 20 * LIVE_SEEDS


def test_at_any_position_a_job_is_what_the_whole_log_up_to_there_makes_of_it() -> None:
    compared = 0
    for seed in range(scaled(SEEDS)):
        world = Everything(seed)
        world.run_all()
        later = Later(world.log)
        draws = Random(seed)
        for position in sorted(draws.sample(range(1, world.log.head() + 1), CUTS)):
            cut = LogAt(world.log, position)
            whole = Queries(LogSet([cut]), MemoryViewStore())
            for job in jobs_by(world.log, position):
                past = later.past(job, position)

                assert past.show() == whole.show(job), f"seed {seed}, position {position}"
                for name in past.show().steps:
                    place = Place(job, name)
                    found = msgspec.structs.replace(past, place=place).step()
                    assert found == whole.step(place), f"seed {seed}, position {position}"
                compared += 1

    assert compared > 2 * SEEDS


def test_a_version_is_the_position_of_the_jobs_own_event_of_that_number() -> None:
    world = Everything(3)
    world.run_all()
    later = Later(world.log)
    root = world.roots[0]
    own = [each for each in world.log.read(0, world.log.head()) if job_of(each) == root]
    stream = [each for each in own if each.recorded.originator_id == root]

    for number, each in enumerate(stream, start=1):
        past = later.past(root, Version(number))

        assert past.point.position == past.point.event.position == each.position
        assert past.point.event.version == number
        assert past.show() == later.past(root, each.position).show()


def test_the_events_of_a_tree_alone_tell_the_same_elsewhere() -> None:
    """As after an export and an import: a store of them, with gaps, and no read models."""
    compared = 0
    for seed in range(scaled(SEEDS)):
        world = Everything(seed)
        world.run_all()
        later, draws = Later(world.log), Random(seed)
        for root in world.roots:
            events = list(later.queries.tree_events(root))
            elsewhere = Later(PartialLog(events, world.log.blob))
            own = [each.position for each in events if job_of(each) is not None]
            for position in draws.sample(own, min(POINTS, len(own))):
                here, there = later.past(root, position), elsewhere.past(root, position)

                assert there.point == here.point, f"seed {seed}, position {position}"
                assert there.show() == here.show(), f"seed {seed}, position {position}"
                assert there.tree() == here.tree(), f"seed {seed}, position {position}"
                compared += 1

    assert compared > 10 * SEEDS
