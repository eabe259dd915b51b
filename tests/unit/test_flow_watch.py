"""The controller looks after its flow: what it records, asks people, sends out, and finds again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.driving import START, Driver
from support.flow_hand import ToldDetector, finding, kinds, measures, seconds_later

from warrener.adapters.memory_events import MemoryEventStore
from warrener.adapters.memory_views import MemoryViewStore
from warrener.adapters.notify_mail_text import mail_of
from warrener.domain import ids
from warrener.domain.control_events import (
    FlowSampled,
    MeasureTaken,
    StarvationDetected,
    UserActionAnswered,
    UserActionRequested,
    UserActionWithdrawn,
)
from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import Event
from warrener.domain.flow.incidents import Measure
from warrener.domain.flow.settings import FlowSettings, Measures
from warrener.domain.messages import (
    AdviseWorker,
    AnswerUserAction,
    ChangeFlow,
    StarvationNotice,
    WorkerHello,
)
from warrener.domain.notices import KINDS
from warrener.domain.ports import EventStore, Notice
from warrener.domain.topology import CONTROL, EVENTS
from warrener.services.logs import LogSet
from warrener.services.notices import Notices
from warrener.services.pace import Pace
from warrener.services.places import Place
from warrener.services.queries import Queries
from warrener.services.routing import shared_cause

QUEUE = "default"
CAUSE = "starvation:default:drain-downstream"
DEFINITION = msgspec.convert(
    {
        "job": "job",
        "steps": {
            "map": {"call": "work", "for_each": list(range(20))},
            "merge": {"call": "work", "for_each": list(range(5))},
            "end": {"call": "work", "after": ["map"]},
        },
    },
    JobDefinition,
)


class Watched(Driver):
    """A driver whose controller looks at its flow, by a detector that is told what it finds."""

    def __init__(
        self, mode: str = "act", store: EventStore | None = None, slots: int = 2, **options: Any
    ) -> None:
        given = FlowSettings(mode=mode, policy=options.pop("policy", "finish-first"))
        super().__init__(store, given, slots=lambda _: slots, **{"watches": True, **options})
        self.detector = ToldDetector()
        self.tell()

    def tell(self) -> None:
        """Have the controller ask the detector by hand, as after each load."""
        self.controller.control._detector = self.detector  # type: ignore[assignment]

    def reload(self, *roots: UUID) -> None:
        """Load everything from the log, as after a conflict."""
        self.controller.forget()
        assert self.controller.recover(roots, self.now) == {}
        self.tell()

    def find(self, *findings: Any) -> list[Event]:
        """Look a second later; return what was recorded."""
        self.detector.findings = findings
        return self.look()

    def look(self, seconds: float = 1.0) -> list[Event]:
        return [each.event for each in self.wait(seconds).events]

    def incident(self) -> UUID:
        (found,) = self.controller.control.incidents.known
        return found

    def events(self, kind: type[Event]) -> list[Any]:
        log = self.store.read(0, self.store.head())
        return [each.recorded.event for each in log if type(each.recorded.event) is kind]

    def notices(self, exchange: str) -> list[Notice]:
        return [e for e in self.sent if isinstance(e, Notice) and e.exchange == exchange]

    def answer(self, request: UUID, **data: Any) -> str | None:
        raw = msgspec.Raw(msgspec.json.encode(data))
        return self.command(AnswerUserAction(request=request, data=raw, by="ada"))


def flooded(mode: str = "act", **options: Any) -> tuple[Watched, UUID]:
    """Return a driver with more ready steps than slots, and the job."""
    driver = Watched(mode, **options)
    return driver, driver.submit(DEFINITION, {})


def dense(store: EventStore, streams: set[UUID]) -> None:
    for stream in streams:
        versions = [each.originator_version for each in store.stream(stream)]
        assert versions == list(range(1, len(versions) + 1)), stream


# --- looking -------------------------------------------------------------------------------------


def test_a_controller_looks_every_second_while_steps_wait() -> None:
    driver, _ = flooded()

    assert driver.controller.next_due(driver.now) == seconds_later(START, 1.0)
    driver.look(0.5)
    assert driver.detector.looks == 0
    driver.look(0.5)
    assert driver.detector.looks == 1


def test_a_controller_that_does_not_watch_never_looks() -> None:
    driver, _ = flooded(watches=False)

    assert driver.controller.next_due(driver.now) is None
    driver.look(10.0)
    assert driver.detector.looks == 0
    assert driver.events(FlowSampled) == []


def test_a_sample_has_the_workers_and_what_none_of_them_knows() -> None:
    driver, _ = flooded()
    hello = WorkerHello(
        worker="w1", host="h", pid=1, endpoints=("other",), queues=(QUEUE,), slots=3, busy=2
    )

    driver.handle("hello", hello)
    driver.look()

    (queue,) = driver.events(FlowSampled)[-1].sample.queues
    assert (queue.workers, queue.busy, queue.unknown) == (1, 2, ("work",))


def test_in_one_process_the_slots_are_a_worker() -> None:
    driver, _ = flooded()
    driver.look()

    (queue,) = driver.events(FlowSampled)[-1].sample.queues
    assert (queue.workers, queue.slots, queue.busy, queue.unknown) == (1, 2, 2, ())


def test_a_sample_says_how_slow_store_and_broker_were_since_the_last() -> None:
    driver, _ = flooded()
    driver.controller.pace.committed(START, seconds_later(START, 2.0))
    driver.controller.pace.confirmed(START, seconds_later(START, 3.0))
    driver.controller.pace.wait_since(seconds_later(START, -4.0))
    driver.look()

    sample = driver.events(FlowSampled)[-1].sample
    assert (sample.commit_seconds, sample.confirm_seconds, sample.unconfirmed) == (2.0, 3.0, 5.0)
    assert driver.controller.pace.take(driver.now)[:2] == (0.0, 0.0)


def test_pace_knows_no_negative_times() -> None:
    pace = Pace()
    pace.committed(START, seconds_later(START, -10.0))
    pace.wait_since(seconds_later(START, 10.0))

    assert pace.take(START) == (0.0, 0.0, 0.0)


def test_when_all_has_ended_one_last_sample_tells_so_and_no_timer_is_left() -> None:
    driver, job = flooded()
    driver.look()
    driver.find(finding())
    while driver.orders:
        driver.succeed(driver.orders.pop(0))

    assert driver.job(job).state == "succeeded"
    last = [each.event for each in driver.batches[-1].events]
    assert isinstance(last[-1], FlowSampled)
    assert last[-1].incidents == ()
    assert all(not stage.out for stage in last[-1].sample.queues[0].stages)
    assert driver.controller.next_due(driver.now) is None


def test_without_an_incident_too_one_last_sample_tells_that_all_is_at_rest() -> None:
    driver, _ = flooded()
    driver.look()
    driver.look(0.1)
    while driver.orders:
        driver.succeed(driver.orders.pop(0))

    first, last = driver.events(FlowSampled)
    assert [stage.out for stage in first.sample.queues[0].stages] != [0, 0, 0]
    assert [stage.out for stage in last.sample.queues[0].stages] == [0, 0, 0]


def test_a_short_job_on_an_idle_service_leaves_no_samples() -> None:
    driver = Watched(slots=100)
    driver.submit(DEFINITION, {})
    while driver.orders:
        driver.succeed(driver.orders.pop(0))

    assert driver.events(FlowSampled) == []


def test_without_samples_incidents_are_recorded_and_end_with_the_job() -> None:
    driver, _ = flooded(samples=False)
    driver.find(finding())
    while driver.orders:
        driver.succeed(driver.orders.pop(0))

    flow = [
        name
        for batch in driver.batches
        for name in kinds([each.event for each in batch.events])
        if name.startswith(("Starvation", "Measure", "Flow"))
    ]
    assert flow == ["StarvationDetected", "MeasureTaken", "StarvationEnded", "MeasureEnded"]


def test_without_samples_a_reload_keeps_what_is_open() -> None:
    driver, job = flooded(samples=False)
    driver.find(finding())
    incident = driver.incident()

    driver.reload(job)

    assert driver.incident() == incident
    assert driver.controller.flow.measures == Measures(drained={QUEUE})
    assert driver.find(finding()) == []


def test_without_samples_nobody_is_asked() -> None:
    driver, _ = flooded("advise", samples=False)

    assert measures(driver.find(finding())) == [("proposed", "drain-downstream")]
    assert driver.requests() == []


def test_measures_change_what_goes_out_at_once() -> None:
    driver = Watched(policy="fifo")
    driver.submit(DEFINITION, {})
    assert {order.path for order in driver.orders} == {f"map[{index}]" for index in range(4)}

    driver.find(finding())
    driver.succeed(driver.orders[0])

    assert driver.orders[-1].path == "merge[0]"


def test_steps_that_a_measure_held_back_go_out_in_the_commit_that_ends_it() -> None:
    driver, _ = flooded()
    driver.find(finding("slots-full"))
    throttle = Measure(kind="throttle-producer", queue=QUEUE, job="job", step="map", amount=1)
    until = seconds_later(driver.now, 5.0)
    taken = MeasureTaken(at=driver.now, cause="flow", measure=throttle, until=until)
    driver.controller.control.evolve(driver.incident(), taken)
    for order in [order for order in driver.orders if order.path.startswith("map")]:
        driver.succeed(order)
    for order in [order for order in driver.orders if order.path.startswith("merge")]:
        driver.succeed(order)
    assert sum(driver.controller.flow.waiting().values()) > 0

    events = driver.look(6.0)

    assert measures(events) == [("expired", "throttle-producer")]
    assert "StepReleased" in kinds(events)


# --- restarts ------------------------------------------------------------------------------------


def test_incidents_and_measures_are_found_again_and_nothing_is_doubled() -> None:
    driver, job = flooded()
    driver.find(finding())
    incident = driver.incident()
    driver.reload(job)

    assert driver.incident() == incident
    assert driver.controller.flow.measures == Measures(drained={QUEUE})
    assert driver.look() == []
    driver.look(5.0)
    dense(driver.store, {incident, ids.FLOW_SAMPLES_ID})
    assert len(driver.events(StarvationDetected)) == len(driver.events(MeasureTaken)) == 1


def test_a_controller_elsewhere_takes_them_over() -> None:
    driver, job = flooded()
    driver.find(finding())
    other = Watched(store=driver.store)
    other.now = driver.now
    other.reload(job)

    assert other.incident() == driver.incident()
    other.detector.findings = ()
    assert "StarvationEnded" in kinds(other.look() + other.look() + other.look(20.0))
    dense(driver.store, {driver.incident(), ids.FLOW_SAMPLES_ID})


def test_what_a_conflict_took_away_is_decided_anew() -> None:
    driver, job = flooded()
    driver.detector.findings = (finding(),)
    driver.now = seconds_later(driver.now, 1.0)
    lost = driver.controller.handle([], driver.now)  # never committed
    assert "StarvationDetected" in kinds([each.event for each in lost.events])
    driver.reload(job)

    events = driver.look() + driver.look()

    assert kinds(events).count("StarvationDetected") == 1
    dense(driver.store, {driver.incident(), ids.FLOW_SAMPLES_ID})


# --- asking people -------------------------------------------------------------------------------


def advised() -> tuple[Watched, UUID, UUID]:
    driver, job = flooded("advise")
    driver.find(finding())
    (request,) = driver.requests()
    return driver, job, request


def test_a_person_is_asked_with_a_form_of_yes_or_no() -> None:
    driver, _, request = advised()

    (asked,) = driver.events(UserActionRequested)
    assert (asked.action, asked.subject) == ("take-measure", CAUSE)
    assert (asked.job, asked.path) == (None, "")
    assert driver.answer(request, do="perhaps") is not None
    assert driver.answer(request) is not None
    assert driver.controller.flow.measures == Measures()


def test_when_agreed_the_measure_is_taken_by_whom() -> None:
    driver, _, request = advised()

    assert driver.answer(request, do=True) is None

    (taken,) = driver.events(MeasureTaken)
    assert taken.by == "ada"
    assert driver.controller.flow.measures == Measures(drained={QUEUE})
    assert driver.requests() == []
    dense(driver.store, {driver.incident(), request})


def test_when_declined_it_is_not() -> None:
    driver, _, request = advised()

    assert driver.answer(request, do=False) is None

    assert driver.events(MeasureTaken) == []
    assert driver.controller.flow.measures == Measures()
    assert driver.requests() == []


def test_a_request_is_withdrawn_when_the_incident_ends() -> None:
    driver, _, request = advised()

    driver.find()

    assert driver.requests() == []
    (withdrawn,) = driver.events(UserActionWithdrawn)
    assert withdrawn.why == "nothing needs to be done about it any more"
    refused = driver.answer(request, do=True)
    assert refused is not None
    assert "is open no longer" in refused


def test_an_open_request_is_found_again_and_can_be_answered() -> None:
    driver, job, request = advised()
    driver.reload(job)

    assert driver.requests() == [request]
    assert driver.answer(request, do=True) is None
    assert driver.controller.flow.measures == Measures(drained={QUEUE})
    dense(driver.store, {driver.incident(), request})


def test_an_answer_while_nobody_watches_is_obeyed_by_who_watches_next() -> None:
    driver, job, request = advised()
    beside = Driver(driver.store)
    beside.now = driver.now
    raw = msgspec.Raw(b'{"do":true}')
    assert beside.command(AnswerUserAction(request=request, data=raw, by="bob")) is None

    driver.reload(job)

    assert driver.controller.flow.measures == Measures(drained={QUEUE})
    assert driver.requests() == []


def test_steps_that_name_the_cause_wait_on_when_the_incident_ends() -> None:
    driver, _, request = advised()
    driver.ask(driver.orders[0], cause=CAUSE)

    driver.find()

    assert driver.requests() == [request]
    assert driver.answer(request, do=False) is None
    assert len(driver.events(UserActionAnswered)) == 1


def test_one_answer_goes_to_the_same_question_of_every_partition() -> None:
    partitions = [advised() for _ in range(2)]
    (first, _, request), (second, _, other) = partitions

    class Logs:
        count = 2

        def log(self, number: int) -> EventStore:
            return partitions[number][0].store

    cause = shared_cause(Logs(), 0, request)  # type: ignore[arg-type]
    assert cause == CAUSE
    raw = msgspec.Raw(b'{"do":true}')
    assert first.command(AnswerUserAction(request=request, data=raw)) is None
    assert second.command(AnswerUserAction(request=request, cause=cause, data=raw)) is None

    assert first.controller.flow.measures == second.controller.flow.measures
    assert first.controller.flow.measures == Measures(drained={QUEUE})
    assert other not in second.requests()


def test_observing_asks_nobody() -> None:
    driver, _ = flooded("observe")

    events = driver.find(finding())

    assert measures(events) == [("proposed", "drain-downstream")]
    assert driver.requests() == []


def test_the_mode_can_be_changed_while_measures_are_in_force() -> None:
    driver, _ = flooded()
    driver.find(finding())
    driver.command(ChangeFlow(mode="off"))

    events = driver.look()

    assert measures(events) == [("withdrawn", "drain-downstream")]
    assert driver.controller.flow.measures == Measures()


# --- what goes out -------------------------------------------------------------------------------


def test_others_hear_of_an_incident_and_of_its_end() -> None:
    driver, _ = flooded()
    driver.find(finding())
    incident = driver.incident()
    driver.find()

    notices = [n for n in driver.notices(EVENTS) if n.routing_key.startswith("starvation.")]
    found = [msgspec.json.decode(each.body, type=StarvationNotice) for each in notices]
    assert [(each.event, each.incident, each.why) for each in found] == [
        ("starvation.detected", incident, ""),
        ("starvation.ended", incident, "nobody waits too long any more"),
    ]
    assert {(each.queue, each.diagnosis) for each in found} == {(QUEUE, "upstream-flood")}
    assert found[0].victims == finding().victims


def test_what_the_service_asks_is_no_notice_about_a_job() -> None:
    driver, _, _ = advised()

    assert [
        n.routing_key for n in driver.notices(EVENTS) if n.routing_key.startswith("user_action")
    ] == []


def advice(driver: Watched) -> list[AdviseWorker]:
    notices = driver.notices(CONTROL)
    return [
        msgspec.json.decode(n.body, type=AdviseWorker)
        for n in notices
        if n.routing_key.endswith("advise")
    ]


def moved() -> tuple[Watched, UUID]:
    """Return a driver that has moved the worker `w1` to its queue."""
    driver, job = flooded()
    hello = WorkerHello(
        worker="w1", host="h", pid=1, endpoints=("work",), queues=("idle",), able=(QUEUE,), slots=2
    )
    driver.handle("hello", msgspec.structs.replace(hello, beat_seconds=86_400.0))
    driver.find(finding("no-worker"))
    return driver, job


def test_workers_are_told_to_serve_the_queue_until_the_measure_ends() -> None:
    driver, _ = moved()

    (taken,) = driver.events(MeasureTaken)
    assert advice(driver) == [AdviseWorker(worker="w1", queues=(QUEUE,), until=taken.until)]
    driver.find()
    driver.look(60.0)
    assert advice(driver)[1:] == [AdviseWorker(worker="w1", queues=(), until=driver.now)]


def test_advice_that_may_not_have_been_sent_is_sent_again() -> None:
    driver, _ = moved()

    again = driver.controller.outbox.catch_up(0)

    notices = [
        each for each in again if isinstance(each, Notice) and each.routing_key == "worker.advise"
    ]
    assert [each.body for each in notices] == [
        each.body
        for each in driver.sent
        if isinstance(each, Notice) and each.routing_key == "worker.advise"
    ]


@pytest.mark.parametrize("mode", ["off", "observe", "advise", "act"])
def test_what_is_recorded_can_be_read_again(mode: str) -> None:
    driver, job = flooded(mode)
    driver.find(finding())
    driver.find()
    while driver.orders:
        driver.succeed(driver.orders.pop(0))

    assert driver.job(job).state == "succeeded"
    fresh = MemoryEventStore()
    log = [each.recorded for each in driver.store.read(0, driver.store.head())]
    assert fresh.commit(log, {}) == driver.store.head()


# --- what people see -----------------------------------------------------------------------------


def test_the_same_question_of_two_partitions_is_one_line_that_names_no_job() -> None:
    stores = [advised()[0].store for _ in range(2)]

    queries = Queries(LogSet(stores), MemoryViewStore())

    (line,) = queries.actions()
    assert (line.cause, line.steps, line.waiting) == (CAUSE, 0, ())
    assert line.form["required"] == ["do"]
    assert queries.find_action(CAUSE).request in {line.request, advised()[2]}


def test_people_are_notified_of_what_the_service_asks() -> None:
    driver, _, request = advised()
    recorded = next(each for each in driver.store.stream(request))

    told = Notices(driver.store, KINDS).of(recorded)

    assert told is not None
    assert (told.job, told.root, told.name, told.path) == (None, None, "", None)
    assert told.answer == f"warrener answer {request} --data '{{\"do\": ...}}'"
    mail = mail_of(told, "w@example.org", "ada@example.org", "example.org")
    assert mail["Subject"] == "[warrener] the service waits for you: take-measure"
    assert "The service itself waits for you." in mail.get_content()
    assert "None" not in mail.get_content()


def test_a_step_that_joined_the_question_says_what_it_waits_for() -> None:
    driver, job, _ = advised()
    driver.ask(driver.orders[0], cause=CAUSE)

    waiting = Queries(LogSet([driver.store]), MemoryViewStore()).step(
        Place(job, driver.orders[0].path)
    )

    assert waiting.waiting is not None
    assert CAUSE in waiting.waiting.sentence


def test_what_was_asked_declined_and_done_is_told_with_the_incident() -> None:
    driver, _, request = advised()
    driver.answer(request, do=False)
    driver.command(ChangeFlow(mode="act"))
    driver.look(120.0)
    driver.find()

    (line,) = Queries(LogSet([driver.store]), MemoryViewStore()).starvation(open_only=False)

    assert (line.cause, line.queue, line.state) == ("upstream-flood", QUEUE, "closed")
    assert line.why == "nobody waits too long any more"
    done = [(each.kind, each.state, each.why) for each in line.actions]
    assert done[0] == ("drain-downstream", "ended", "declined")
    assert ("drain-downstream", "taken", None) in done[1:]
