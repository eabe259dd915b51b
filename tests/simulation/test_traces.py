"""Whatever happens to jobs, their traces are whole."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.everything import run
from support.scale import scaled
from support.spans import ListSink, check_traces, spans_of

from warrener.adapters.memory_positions import MemoryPositions
from warrener.services import tracer
from warrener.services.tracer import SpanFollower

SEEDS = 60
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_every_attempt_and_every_job_of_every_world_has_its_span() -> None:
    outcomes: set[object] = set()
    for seed in range(scaled(SEEDS)):
        world = run(seed)
        spans = spans_of(world.log)

        check_traces(world.log, spans, jumps=world.jumps)
        assert spans == spans_of(world.log, forgets=True), f"seed {seed}"
        outcomes |= {span.attributes["warrener.outcome"] for span in spans}

    ends = {"succeeded", "failed", "retrying", "waiting_user", "cancelled"}
    assert ends <= outcomes


@pytest.mark.parametrize("seed", [3, 7])
def test_a_follower_that_is_started_again_and_again_loses_no_span(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracer, "BATCH_EVENTS", 7)
    log, positions, sink = run(seed).log, MemoryPositions(), ListSink()
    positions.save("tracer", 0)

    turns = 0
    while positions.get("tracer") != log.head() and turns < log.head():
        follower = SpanFollower(log, positions, sink)  # as after a crash: with nothing in memory
        follower.start()
        for _ in range(1 + turns % 3):
            follower.turn(NOW)
        if turns % 2:
            follower.save()
        turns += 1
        if follower.position == log.head():
            break

    unique = {span.context.span: span for span in sink.spans}
    assert list(unique.values()) == spans_of(log)
