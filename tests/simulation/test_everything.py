"""Everything at once: all features, faults and commands; each promise checked by its name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.everything import Everything, run
from support.promises.folded import Broken
from support.scale import scaled
from support.simulate import try_seed

from warrener.adapters.codec import TOPICS
from warrener.domain.states import STEP_ENDED
from warrener.domain.stored import PRUNED_TOPIC

SEEDS = 400
CHUNK = 50
TWICE_EVERY = 10
# A store is pruned from outside, and one with one partition shares no limits.
NEVER = {PRUNED_TOPIC, "LogTaken:1"}
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("chunk", range(scaled(SEEDS) // CHUNK))
def test_every_promise_is_kept_whatever_happens_and_the_same_seed_writes_the_same_log(
    chunk: int,
) -> None:
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        first = try_seed(seed)

        assert first.broken == "", f"seed {seed}: run `bash ops/simulate --from {seed} --seeds 1`"
        if seed % TWICE_EVERY == 0:
            assert try_seed(seed).digest == first.digest, f"seed {seed}"


def test_the_worlds_see_every_event_and_every_end_of_a_step() -> None:
    events: set[str] = set()
    states: set[str] = set()
    ends = {f"main {state}" for state in STEP_ENDED}
    ends |= {"compensate succeeded", "compensate failed", "compensate not_needed"}
    ends |= {"always succeeded", "always failed"}
    for seed in range(120):
        if ends <= states and TOPICS.keys() - events == NEVER:
            break
        world = run(seed)
        for positioned in world.log.read(0, world.log.head()):
            events.add(f"{type(positioned.recorded.event).__name__}:1")
        for job in world.promises.folded.jobs.values():
            for name, state in job.steps.items():
                kind = world.promises.folded.plan(job).steps[name].phase
                states.add(f"{kind} {state}")

    assert TOPICS.keys() - events == NEVER
    assert ends <= states


def test_a_seed_writes_the_same_log_in_every_process() -> None:
    digests = [_digests(hash_seed) for hash_seed in ("1", "2")]

    assert digests[0] == digests[1]
    assert digests[0].count("log ") == 3


def _digests(hash_seed: str) -> str:
    command = [sys.executable, "-m", "support.simulate", "--seeds", "3", "--from", "7", "--digests"]
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def test_a_broken_promise_is_told_with_its_name_and_the_last_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def break_one(_: Everything, __: str) -> None:
        raise Broken("G6", "nothing moves")

    monkeypatch.setattr(Everything, "end_all", break_one)

    found = try_seed(1, trace=2)

    assert found.broken == "G6: nothing moves"
    assert len(found.trace) == 2
