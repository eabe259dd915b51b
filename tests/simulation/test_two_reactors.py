"""Two reactors that both believe the log to be theirs are slow, but never wrong."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from simulation.test_world import TREE, answer, check_promises, total, tree
from support.scale import scaled
from support.world import World

from warrener.adapters.faults import Crash, Faults
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import Conflict, StoreUnavailable
from warrener.services.outcomes import outcome
from warrener.services.submission import Source

SEEDS = 120
CHUNK = 20
CONTENDED_TURNS = 120


class TwoReactors(World):
    """A world in which a second reactor works on the same log for a while, with long pauses."""

    def __init__(self, seed: int, faults: Faults) -> None:
        super().__init__(seed, answer, faults)
        self.sleeping = 0
        self.rival = self.new_reactor()

    def turn(self) -> bool:
        busy = super().turn()
        if self.sleeping > 0:  # as if it were stopped: what it holds it keeps
            self.sleeping -= 1
            return busy
        if self.random.random() < 0.1:
            self.sleeping = self.random.randint(1, 40)
        try:
            return self.rival.turn() is not None or busy
        except (Crash, StoreUnavailable, Conflict):
            self.rival = self.new_reactor()
            return True

    def leave(self) -> None:
        """End the second reactor; what it holds goes back."""
        self.sleeping = 10**9
        self.rival.close()


@pytest.mark.parametrize("chunk", range(scaled(SEEDS) // CHUNK))
def test_two_reactors_on_one_log_end_every_job_and_apply_every_report_once(chunk: int) -> None:
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        random = Random(seed)
        params = tree(random, 2)
        world = TwoReactors(seed, Faults(duplicate=random.choice([0.0, 0.2]), delay=0.1))
        definition = msgspec.convert(TREE, JobDefinition)
        world.submit(Source(definition, {"tree": definition}), params, key=f"seed-{seed}")
        for _ in range(CONTENDED_TURNS):
            if not world.turn():
                world.pass_time()
        world.leave()
        world.run(0)

        ended = outcome(world.log, world.roots[0])
        assert (ended.state, ended.result) == ("succeeded", total(params)), f"seed {seed}"
        check_promises(world.log, seed)
