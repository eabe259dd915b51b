"""Several partitions: who decides what, who hears of what, and reactors that share them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest
from structlog.testing import capture_logs
from support.fleet import Fleet
from support.log_checks import eventually

from warrener import UserActionRequired, current_step, endpoint
from warrener.adapters.memory_events import MemoryEventStore
from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain import ids
from warrener.domain.control_events import LimitChanged, UserActionAnswered, UserActionRequested
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import StoredDataError, UsageError
from warrener.domain.events import JobSubmitted
from warrener.domain.partitions import partition_of
from warrener.domain.step_events import StepParked, StepReleased
from warrener.services import reactor_daemon
from warrener.services.endpoints import Registry
from warrener.services.logs import LogSet, each_log, log_of_job
from warrener.services.queries import Queries
from warrener.services.steering import StoreSteering
from warrener.services.submission import Source, submission
from warrener.services.turn import Chance

PARTITIONS = 4
REGISTRY = Registry()
DOUBLE: dict[str, Any] = {
    "job": "double",
    "steps": {"a": {"call": "p.twice", "with": {"n": "${{ params.n }}"}}},
    "result": "${{ steps.a.result }}",
}
ASKING: dict[str, Any] = {
    "job": "asking",
    "steps": {"a": {"call": "p.ask"}},
    "result": "${{ steps.a.result }}",
}
PARENT: dict[str, Any] = {"job": "parent", "steps": {"sub": {"job": "held"}}}
HELD: dict[str, Any] = {"job": "held", "steps": {"a": {"call": "p.twice", "queue": "nobody"}}}


@endpoint("p.twice", registry=REGISTRY)
def twice(n: int) -> int:
    return 2 * n


@endpoint("p.ask", registry=REGISTRY)
def ask() -> Any:
    answer = current_step().answer
    if answer is None:
        raise UserActionRequired("reconnect", cause="account:1")
    return answer


def job(document: dict[str, Any]) -> JobDefinition:
    return msgspec.convert(document, JobDefinition)


def keys_of_every_partition(each: int) -> list[str]:
    """Return keys of submissions so that every partition gets so many jobs."""
    found: dict[int, list[str]] = {partition: [] for partition in range(PARTITIONS)}
    number = 0
    while any(len(keys) < each for keys in found.values()):
        keys = found[partition_of(ids.job_id(f"k{number}"), PARTITIONS)]
        if len(keys) < each:
            keys.append(f"k{number}")
        number += 1
    return sorted(key for keys in found.values() for key in keys)


def events(fleet: Fleet, partition: int) -> list[Any]:
    return [p.recorded.event for p in fleet.logs.log(partition).read(0, 10_000)]


def all_events(fleet: Fleet, kind: type[Any]) -> list[Any]:
    return [
        event
        for partition in range(PARTITIONS)
        for event in events(fleet, partition)
        if isinstance(event, kind)
    ]


def test_jobs_submitted_to_one_inbox_are_decided_each_in_its_own_partition():
    with Fleet(REGISTRY, partitions=PARTITIONS) as fleet:
        fleet.reactor()
        fleet.worker()
        client = fleet.client()
        keys = keys_of_every_partition(5)
        messages = [submission(Source(job(DOUBLE)), {"n": 3}, key=key) for key in keys]

        outcomes = client.wait_all(client.send_all(messages), timeout_seconds=20)

    assert [outcome.result for outcome in outcomes.values()] == [6] * len(keys)
    for partition in range(PARTITIONS):
        roots = [e.root for e in events(fleet, partition) if isinstance(e, JobSubmitted)]
        assert len(roots) == 5
        assert {partition_of(root, PARTITIONS) for root in roots} == {partition}


def test_a_command_about_a_job_that_another_job_started_finds_its_partition():
    with Fleet(REGISTRY, partitions=PARTITIONS) as fleet:
        fleet.reactor()
        client = fleet.client()
        source = Source(job(PARENT), {"held": job(HELD)})
        for key in keys_of_every_partition(1):
            root = client.send(submission(source, {}, key=key))
            child = ids.child_job_id(ids.step_id(root, "sub"), 1)
            eventually(lambda child=child: fleet.logs.find(child) is not None, "the child begins")

            assert client.pause(child)
            assert client.cancel(root)
            assert client.wait(root, timeout_seconds=10).state == "cancelled"


def test_a_job_that_is_nowhere_is_refused():
    with Fleet(REGISTRY, partitions=PARTITIONS) as fleet:
        fleet.reactor()
        client = fleet.client()

        for number in range(8):
            with pytest.raises(UsageError, match="no job"):
                client.cancel(UUID(int=number))


def test_a_changed_limit_is_known_in_every_partition():
    with Fleet(REGISTRY, partitions=PARTITIONS) as fleet:
        fleet.reactor()

        assert fleet.client().change_limit("api", slots=2, by="ada")
        eventually(lambda: len(all_events(fleet, LimitChanged)) == PARTITIONS)

    assert {change.slots for change in all_events(fleet, LimitChanged)} == {2}


def test_one_answer_lets_the_steps_of_all_partitions_go_on_that_wait_for_the_same():
    with Fleet(REGISTRY, partitions=PARTITIONS) as fleet:
        fleet.reactor()
        fleet.worker()
        client = fleet.client()
        jobs = [
            client.send(submission(Source(job(ASKING)), {}, key=key))
            for key in keys_of_every_partition(2)
        ]
        eventually(lambda: len(all_events(fleet, StepParked)) == len(jobs))
        assert len(all_events(fleet, UserActionRequested)) == PARTITIONS
        (request,) = (
            each.recorded.originator_id
            for each in fleet.logs.log(2).read(0, 1_000)
            if isinstance(each.recorded.event, UserActionRequested)
        )

        assert client.answer(request, "done", by="ada")

        outcomes = client.wait_all(jobs, timeout_seconds=20)
    assert {outcome.result for outcome in outcomes.values()} == {"done"}
    assert len(all_events(fleet, UserActionAnswered)) == PARTITIONS


def test_an_answer_that_is_refused_answers_nothing_in_other_partitions():
    with Fleet(REGISTRY, partitions=PARTITIONS) as fleet:
        fleet.reactor()
        fleet.worker()
        client = fleet.client()
        keys = {
            partition_of(ids.job_id(key), PARTITIONS): key for key in keys_of_every_partition(1)
        }
        first = client.send(submission(Source(job(ASKING)), {}, key=keys[1]))
        eventually(lambda: len(all_events(fleet, UserActionRequested)) == 1)
        client.answer(request_in(fleet, 1), "first", by="ada")
        client.wait_all([first], timeout_seconds=20)
        later = client.send(submission(Source(job(ASKING)), {}, key=keys[2]))
        eventually(lambda: len(all_events(fleet, UserActionRequested)) == 2)

        with pytest.raises(UsageError, match="answered already"):
            client.answer(request_in(fleet, 1), "too late", by="bob")

        client.answer(request_in(fleet, 2), "second", by="ada")
        outcomes = client.wait_all([later], timeout_seconds=20)
    assert [outcome.result for outcome in outcomes.values()] == ["second"]


def request_in(fleet: Fleet, partition: int) -> UUID:
    """Return the one request for a person that a partition has."""
    (request,) = (
        each.recorded.originator_id
        for each in fleet.logs.log(partition).read(0, 1_000)
        if isinstance(each.recorded.event, UserActionRequested)
    )
    return request


def test_a_store_without_a_fleet_is_steered_in_all_its_partitions():
    with Fleet(REGISTRY, partitions=PARTITIONS) as fleet:
        reactor = fleet.reactor()
        client = fleet.client()
        keys = keys_of_every_partition(1)
        roots = [client.send(submission(Source(job(HELD)), {}, key=key)) for key in keys]
        reactor.stop()
        eventually(lambda: not fleet.leases.all(), "the reactor stops")
    steering = StoreSteering(fleet.logs, fleet.clock, Chance(lambda: "0" * 32, lambda: 0.5))

    assert all(steering.cancel(root) for root in roots)
    assert steering.change_limit("api", slots=1)

    for root in roots:
        assert log_of_job(fleet.logs, root).last(root) is not None
    assert [len(list(log.stream(ids.limit_id("api")))) for log in each_log(fleet.logs)] == [1] * 4


def test_two_reactors_share_the_partitions_and_the_one_that_is_left_takes_all():
    with Fleet(REGISTRY, partitions=PARTITIONS) as fleet:
        first = fleet.reactor("r1")
        eventually(lambda: holders(fleet) == ["r1"] * PARTITIONS, "r1 takes all")
        fleet.reactor("r2")
        eventually(lambda: sorted(holders(fleet)) == ["r1", "r1", "r2", "r2"], "they share")
        fleet.worker()
        client = fleet.client()
        keys = keys_of_every_partition(3)
        messages = [submission(Source(job(DOUBLE)), {"n": 3}, key=key) for key in keys]
        jobs = client.send_all(messages)

        first.stop()
        eventually(lambda: holders(fleet) == ["r2"] * PARTITIONS, "r2 takes all")

        outcomes = client.wait_all(jobs, timeout_seconds=20)
    assert [outcome.result for outcome in outcomes.values()] == [6] * len(keys)
    assert {event.attempt for event in all_events(fleet, StepReleased)} == {1}
    assert len(all_events(fleet, StepReleased)) == len(keys)


def holders(fleet: Fleet) -> list[str]:
    return [lease.holder for lease in fleet.leases.all().values()]


def test_open_requests_of_several_partitions_about_one_cause_are_one_line():
    with Fleet(REGISTRY, partitions=PARTITIONS) as fleet:
        fleet.reactor()
        fleet.worker()
        client = fleet.client()
        for key in keys_of_every_partition(2):
            client.send(submission(Source(job(ASKING)), {}, key=key))
        eventually(lambda: len(all_events(fleet, StepParked)) == 2 * PARTITIONS)
        queries = Queries(fleet.logs, MemoryViewStore())

        (line,) = queries.actions()

        assert (line.cause, line.steps, line.jobs) == ("account:1", 8, 8)
        assert queries.find_action("account:1").request == line.request
        assert client.answer(line.request, 1)
        eventually(lambda: queries.actions() == [])


class Unreadable(MemoryEventStore):
    """A log that cannot be read for a while."""

    broken = True

    def open_roots(self) -> list[UUID]:
        if self.broken:
            raise StoredDataError("an event cannot be read")
        return list(super().open_roots())


def test_what_is_wrong_with_one_partition_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reactor_daemon, "FAULT_SECONDS", 0.1)
    with capture_logs() as logs, Fleet(REGISTRY, partitions=PARTITIONS) as fleet:
        broken = fleet.stores[2] = Unreadable(partition=2)
        fleet.logs = LogSet(fleet.stores)
        fleet.reactor()
        fleet.worker()
        client = fleet.client()
        keys = keys_of_every_partition(1)
        messages = {
            partition_of(ids.job_id(key), PARTITIONS): submission(
                Source(job(DOUBLE)), {"n": 3}, key=key
            )
            for key in keys
        }

        others = client.send_all([message for each, message in messages.items() if each != 2])
        assert {each.result for each in client.wait_all(others, 20).values()} == {6}

        broken.broken = False
        (last,) = client.send_all([messages[2]])
        assert client.wait(last, 20).result == 6
    assert {line["partition"] for line in logs if line["event"] == "partition.failed"} == {2}
