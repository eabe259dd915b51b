"""When samples of the flow are recorded."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.ready import START

from warrener.domain.flow.figures import FlowSample, QueueSample, StageSample
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.rhythm import Rhythm


def sample(second: float, stages: int) -> FlowSample:
    """Return a sample in which every stage has gone on."""
    found = [
        StageSample(job="job", step=f"s{number}", ready=1, arrived=int(second * 10))
        for number in range(stages)
    ]
    at = START + timedelta(seconds=second)
    return FlowSample(at=at, queues=(QueueSample(queue="q", stages=tuple(found)),))


@pytest.mark.parametrize(("stages", "seconds"), [(3, 5), (40, 10), (1_000, 30)])
def test_large_samples_are_recorded_less_often(stages: int, seconds: int) -> None:
    rhythm = Rhythm(Flow(lambda _: 1), samples=True)
    recorded = []
    for second in range(121):
        now = sample(second, stages)
        event = rhythm.looked(now, now.at, ())
        if event is not None:
            rhythm.recorded(event)
            recorded.append(second)

    assert recorded == list(range(0, 121, seconds)) or recorded == list(range(1, 121, seconds))
