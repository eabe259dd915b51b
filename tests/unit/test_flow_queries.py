"""What users are told of the flow: figures over partitions, series, incidents, limits in use."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from support.histories import History, definition
from support.history_flow import queue, stage

from warrener.adapters.memory_events import MemoryEventStore
from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.definition.model import Rate
from warrener.domain.errors import UsageError
from warrener.domain.flow.incidents import Victim
from warrener.domain.payloads import Payload
from warrener.domain.step_events import Held, StepReleased
from warrener.services.control_shapes import LimitKey, LimitParts, RateLimit
from warrener.services.flow_shapes import QueueFlow, StageFlow
from warrener.services.limit_queries import limit_of
from warrener.services.logs import LogSet
from warrener.services.queries import Queries
from warrener.services.shapes import format_time


def asked(*histories: History) -> Queries:
    return Queries(LogSet([history.store for history in histories]), MemoryViewStore())


def asked_of_log(history: History) -> Queries:
    """Return the queries over a whole store, which knows what is open."""
    store = MemoryEventStore()
    for each in history.store.log:
        store.commit([each.recorded], history.store.blobs)
    return Queries(LogSet([store]), MemoryViewStore())


def only_queue(queries: Queries, **more: Any) -> QueueFlow:
    (found,) = queries.flow(**more).queues
    return found


def stages_of(queries: Queries, **more: Any) -> dict[str, StageFlow]:
    return {each.step: each for each in only_queue(queries, **more).stages}


def wait(history: History, seconds: float) -> None:
    """Let time pass: the next event is so many seconds after the last one."""
    history.now += timedelta(seconds=seconds - 1)


# --- settings ------------------------------------------------------------------------------------


def test_before_anybody_tells_anything_the_flow_is_as_by_default() -> None:
    found = asked(History()).flow()

    assert (found.policy, found.mode, found.intake) == ("finish-first", "act", "accept")
    assert (found.since, found.as_of, found.queues) == (None, None, ())
    assert asked(History()).starvation(open_only=False) == []


def test_the_settings_are_those_of_the_partition_that_heard_of_them_last() -> None:
    one, two = History(0), History(1)
    one.set_flow(policy="fifo")
    one.set_flow(policy="fair", by="bob", reason="quarter", weights={"a": 2.0}, bound_seconds=9.0)
    two.set_flow(policy="fifo")

    found = asked(one, two).flow()

    assert (found.policy, found.weights, found.bound_seconds) == ("fair", {"a": 2.0}, 9.0)
    assert (found.by, found.reason, found.since) == ("bob", "quarter", format_time(one.now))


# --- figures -------------------------------------------------------------------------------------


def test_rates_and_shares_are_those_between_the_two_latest_samples() -> None:
    history = History()
    for number in (0, 1, 3):  # the first one is past
        wait(history, 10)
        history.sample(
            queue(
                stage("load", arrived=50 * number, ended=20 * number, busy_seconds=30.0 * number),
                stage("merge", ended=10 * number, failed=number, busy_seconds=10.0 * number),
                slots=8,
            )
        )

    found = stages_of(asked(history))

    assert found["load"].arrival_rate == pytest.approx(10.0)
    assert found["load"].completion_rate == pytest.approx(4.0)
    assert found["merge"].failure_rate == pytest.approx(0.2)
    assert (found["load"].share, found["merge"].share) == (pytest.approx(0.75), pytest.approx(0.25))
    assert only_queue(asked(history)).utilisation == pytest.approx(1.0)


def test_figures_of_partitions_are_put_together() -> None:
    one, two = History(0), History(1)
    for history, ended in ((one, 10), (two, 30)):
        history.change_fleet({"default": 8})
        history.sample(queue(stage("load"), slots=8))
        wait(history, 10)
        history.sample(
            queue(
                stage(
                    "load",
                    ready=ended,
                    held={"slots api/": 2},
                    out=3,
                    running=2,
                    oldest_wait=float(ended),
                    oldest_priority=ended,
                    wait_p95=ended / 2,
                    service_seconds=ended / 10,
                    ended=ended,
                    busy_seconds=float(ended),
                ),
                slots=8,
                workers=2,
                busy=7,
                window=16,
                out=3,
                served={0: ended},
                unknown=(f"a.{ended}",),
            )
        )

    found = only_queue(asked(one, two))

    (load,) = found.stages
    assert (found.workers, found.slots, found.busy) == (2, 8, 7)
    assert (found.window, found.out, found.ready, found.held) == (32, 6, 40, 4)
    assert (found.served, found.unknown) == ({"0": 40}, ("a.10", "a.30"))
    assert found.completion_rate == pytest.approx(4.0)
    assert found.utilisation == pytest.approx(40 / 10 / 8)
    assert (load.ready, load.held, load.out, load.running) == (40, {"slots api/": 4}, 6, 4)
    assert (load.oldest_wait, load.oldest_priority, load.wait_p95) == (30.0, 30, 15.0)
    assert load.service_seconds == pytest.approx((10 * 1.0 + 30 * 3.0) / 40)
    assert load.share == pytest.approx(1.0)


def test_a_partition_that_told_nothing_for_long_or_only_once_has_no_rates() -> None:
    old, once, new = History(0), History(1), History(2)
    for history in (old, new):
        if history is new:
            history.now += timedelta(seconds=100)
        for ended in (0, 10):
            wait(history, 10)
            history.sample(queue(stage("load", ready=1, ended=ended)))
    once.now = new.now - timedelta(seconds=1)
    once.sample(queue(stage("load", ready=1, ended=500)))

    (load,) = only_queue(asked(old, once, new)).stages

    assert load.ready == 3
    assert load.completion_rate == pytest.approx(1.0)


def test_a_queue_that_only_the_newest_sample_has_began_between_the_two() -> None:
    history = History()
    history.sample()
    wait(history, 10)
    history.sample(queue(stage("load", arrived=20)))

    assert only_queue(asked(history)).arrival_rate == pytest.approx(2.0)


def test_a_stage_names_the_open_incidents_that_it_starves_in() -> None:
    history = History()
    history.sample(queue(stage("load"), stage("merge")))
    incident = history.starve(Victim(job="report", step="merge", waiting=3, oldest_wait=70.0))
    history.take_measure(incident)
    over = history.starve(Victim(job="report", step="load", waiting=3, oldest_wait=70.0))
    history.end_starving(over)

    queries = asked(history)

    found = stages_of(queries)
    assert (found["load"].incidents, found["merge"].incidents) == ((), (incident,))
    assert queries.flow().incidents == {"upstream-flood": 1}
    assert queries.flow().measures == {"throttle-producer": 1}


# --- series --------------------------------------------------------------------------------------


def test_a_series_has_the_latest_points_in_order() -> None:
    history = History()
    for number in range(130):
        history.sample(queue(stage("load", ready=number, held={"paused": 1}, out=2)))

    load = stages_of(asked(history), points=5)["load"]

    assert load.series is not None
    assert load.series.ready == (126, 127, 128, 129, 130)
    assert load.series.out == (2,) * 5
    assert load.series.at == tuple(sorted(load.series.at))
    assert stages_of(asked(history))["load"].series is None


def test_a_series_of_partitions_is_at_each_time_what_all_had_told_by_then() -> None:
    one, two = History(0), History(1)
    two.now += timedelta(seconds=0.5)
    for number in (1, 2, 3):
        one.sample(queue(stage("load", ready=number, oldest_wait=1.0)))
        two.sample(queue(stage("load", ready=10 * number, oldest_wait=float(number))))

    load = stages_of(asked(one, two), points=6)["load"]

    assert load.series is not None
    assert load.series.ready == (1, 11, 12, 22, 23, 33)
    assert load.series.oldest_wait == (1.0, 1.0, 1.0, 2.0, 2.0, 3.0)


# --- starvation ----------------------------------------------------------------------------------


def test_incidents_of_one_cause_in_several_partitions_at_once_are_one_line() -> None:
    one, two = History(0), History(1)
    first = one.starve(
        Victim(job="report", step="merge", waiting=4, oldest_wait=70.0), evidence={"slots": 4.0}
    )
    second = two.starve(
        Victim(job="report", step="merge", waiting=6, oldest_wait=99.0),
        Victim(job="report", step="send", waiting=1, oldest_wait=61.0),
        evidence={"slots": 8.0},
    )
    two.take_measure(second)
    other = one.starve(diagnosis="no-worker")
    one.end_starving(first)

    found = asked(one, two).starvation(open_only=False)

    together = next(line for line in found if line.cause == "upstream-flood")
    assert together.incidents == (first, second)
    assert (together.partitions, together.state, together.closed_at) == ((0, 1), "open", None)
    assert [(v.step, v.waiting, v.oldest_wait) for v in together.victims] == [
        ("merge", 10, 99.0),
        ("send", 1, 61.0),
    ]
    assert together.evidence == {"slots": 8.0}
    assert [(each.kind, each.partition, each.state) for each in together.actions] == [
        ("throttle-producer", 1, "taken")
    ]
    assert [line.incident for line in found if line is not together] == [other]


def test_incidents_that_follow_each_other_are_lines_of_their_own() -> None:
    history = History()
    first = history.starve()
    history.end_starving(first, why="nobody starves")
    ended = history.now
    second = history.starve()

    queries = asked(history)

    assert [line.incident for line in queries.starvation()] == [second]
    everything = queries.starvation(open_only=False)
    assert [line.incident for line in everything] == [second, first]
    assert (everything[1].state, everything[1].why) == ("closed", "nobody starves")
    assert everything[1].closed_at == format_time(ended)
    assert [line.incident for line in queries.starvation(open_only=False, limit=1)] == [second]
    assert [line.incident for line in queries.starvation(since=history.now)] == [second]


def test_an_incident_is_found_by_its_id_or_the_start_of_it() -> None:
    history = History()
    incident = history.starve()
    queries = asked(history)

    assert queries.find_incident(str(incident)).incident == incident
    assert queries.find_incident(incident.hex[:6]).incident == incident
    for text in ("ffffffff", "", "x"):
        with pytest.raises(UsageError, match=f"newest are {incident}"):
            queries.find_incident(text)
    with pytest.raises(UsageError, match="there is none"):
        asked(History()).find_incident("abcd")


# --- limits --------------------------------------------------------------------------------------

LIMITED = definition(
    "report",
    load={"call": "a.b", "limits": [{"name": "api", "key": "x", "slots": 4, "rate": [20, 60]}]},
)


def release(history: History, job: UUID, path: str, *held: Held) -> None:
    known = {"attempt": 1, "token": "t", "endpoint": "a.b", "queue": "default"}
    history.step(job, path, StepReleased, args=Payload("{}"), limits=held, **known)


def test_limits_in_use_are_told_with_who_waits_who_holds_and_what_definitions_say() -> None:
    history = History()
    job = history.submit(LIMITED)
    history.start(job)
    release(history, job, "load", Held("api", "eu"), Held("quiet", ""))
    history.sample(queue(stage("load", held={"slots api/eu": 3, "rate api/us": 2, "paused": 7})))
    queries = asked_of_log(history)

    quick = queries.limits()
    counted = {line.name: line for line in queries.limits(holders_at=history.now)}

    assert [(line.name, line.waiting, line.holders) for line in quick] == [("api", 5, None)]
    api = counted["api"]
    assert (api.waiting, api.holders, api.slots, api.since) == (5, 1, None, None)
    rate = RateLimit(count=20.0, seconds=60.0)
    assert api.defined == LimitParts(slots=4, rate=rate, burst=None)
    assert api.keys == (
        LimitKey(key="eu", waiting=3, holders=1, lacking="slots"),
        LimitKey(key="us", waiting=2, holders=0, lacking="rate"),
    )
    assert (counted["quiet"].holders, counted["quiet"].defined) == (1, None)
    assert queries.limits("api", holders_at=history.now) == [api]
    assert queries.limits("other", holders_at=history.now) == []


def test_a_slot_that_was_given_back_is_held_no_more_and_a_change_is_told() -> None:
    history = History()
    job = history.submit(LIMITED)
    history.start(job)
    release(history, job, "load", Held("api", "eu"))
    history.succeed(job, "load")
    history.change_limit("api", rate=Rate(5, 1), by="ada")

    (found,) = asked_of_log(history).limits(holders_at=history.now)

    assert (found.holders, found.by, found.slots) == (0, "ada", None)
    assert found.rate == RateLimit(count=5.0, seconds=1.0)


def test_limits_with_reserved_names_are_held_by_all_that_they_bound() -> None:
    history = History()
    report, other = history.submit(LIMITED), history.submit(definition("other"), key="o")
    history.submit(LIMITED, key="w")
    for job in (report, other):
        history.start(job)
    release(history, report, "load", Held("api", "eu"), Held("@root", str(report)))
    release(history, other, "only")
    names = ("@root", "@jobs", "@jobs:report", "@job:other", "@step:report/load", "@queue:default")
    for name in (*names, "@job:gone"):
        history.change_limit(name, slots=9)

    found = {line.name: line for line in asked_of_log(history).limits(holders_at=history.now)}

    assert {name: found[name].holders for name in (*names, "@job:gone", "api")} == {
        "@root": 2,
        "@jobs": 2,
        "@jobs:report": 1,
        "@job:other": 1,
        "@step:report/load": 1,
        "@queue:default": 2,
        "@job:gone": 0,
        "api": 1,
    }
    assert {key.key for key in found["@root"].keys} == {str(report), str(other)}
    waits = {name: line.waiting for name, line in found.items() if line.waiting}
    assert waits == {"@jobs": 1, "@jobs:report": 1}


@pytest.mark.parametrize(
    ("reason", "found"),
    [
        ("slots api/eu", ("slots", Held("api", "eu"))),
        ("rate api/", ("rate", Held("api", ""))),
        ("slots per-account/a/b c", ("slots", Held("per-account", "a/b c"))),
        ("slots @step:report/load/null", ("slots", Held("@step:report/load", "null"))),
        ("slots @root/7", ("slots", Held("@root", "7"))),
        ("slots @job:report/", ("slots", Held("@job:report", ""))),
        ("slots @jobs", ("slots", Held("@jobs", ""))),
        ("paused", None),
        ("others", None),
        ("slots", None),
    ],
)
def test_the_reason_why_a_step_is_held_back_names_the_limit(reason: str, found: Any) -> None:
    assert limit_of(reason) == found
