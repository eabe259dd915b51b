"""What `doctor` makes of the lag of read models."""

from __future__ import annotations

from datetime import UTC, datetime

from warrener.projections.ports import StoppedModel
from warrener.services.cli.health_views import NAMED_MAX, findings
from warrener.services.lag import Lag

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def lag_of(model: str, partition: int = 0, events: int = 0, seconds: float = 0.0) -> Lag:
    return Lag(
        model=model,
        partition=partition,
        position=100 - events,
        head=100,
        events=events,
        seconds=seconds,
    )


def stopped(partition: int) -> Lag:
    stop = StoppedModel(
        model="jobs", partition=partition, position=7, event="JobStarted", reason="Fault", at=NOW
    )
    return Lag(
        model="jobs", partition=partition, position=6, head=9, events=3, seconds=9.0, stopped=stop
    )


def test_all_is_well_when_nothing_is_behind() -> None:
    (found,) = findings([lag_of("jobs"), lag_of("history")], 2)

    assert found == ("ok", "up to date; projectors: 2", "")


def test_without_a_projector_to_be_behind_is_as_it_must_be() -> None:
    (found,) = findings([lag_of("jobs", events=5, seconds=9_000)], 0)

    assert (found.state, found.detail) == ("ok", "5 events and 9000 s behind: jobs of partition 0")
    assert "next query" in found.advice


def test_with_one_a_minute_behind_is_a_warning_about_the_worst() -> None:
    some = [lag_of("jobs", 3, events=5, seconds=61), lag_of("history", 2, events=9, seconds=8)]

    (found,) = findings(some, 1)

    assert found.state == "warning"
    assert found.detail.startswith("5 events and 61 s behind: jobs of partition 3 and 1 more")
    assert findings(some[1:], 1)[0].state == "ok"


def test_what_stopped_is_named_with_place_and_reason_up_to_a_number() -> None:
    found = findings([stopped(each) for each in range(NAMED_MAX + 3)], 1)

    assert len(found) == NAMED_MAX + 1
    assert {each.state for each in found} == {"failed"}
    assert found[2].detail == (
        "jobs stopped at position 7 of partition 2 (JobStarted),"
        " first tried 2030-01-01T00:00:00.000000Z: Fault"
    )
    assert found[-1].detail == "3 more read models have stopped"
