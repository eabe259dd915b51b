"""Metrics of the flow: what is told, how much of it, over HTTP, and alerts that name them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs
from support.driving import START
from support.fleet import Fleet
from support.histories import History
from support.history_flow import queue, stage
from support.log_checks import eventually
from support.metrics_page import full_page, labels_in, labels_of, metrics_in
from support.situations import CALL, Estate

from warrener import endpoint
from warrener.adapters.clock import VirtualClock
from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.control_events import MeasureTaken, StarvationDetected
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import StoreUnavailable, UsageError
from warrener.domain.flow.incidents import Measure, Victim
from warrener.services.endpoints import Registry
from warrener.services.flow_shapes import FlowNow
from warrener.services.live_flow import LiveFlow
from warrener.services.logs import LogSet
from warrener.services.metrics import STAGES_MAX, FlowCollector, page, registry_of
from warrener.services.metrics_server import serving
from warrener.services.queries import Queries

RULES = Path(__file__).parents[2] / "ops" / "prometheus" / "rules.yaml"
HOSTILE = 'a"b\\c\nd{e="f"}'
LOCAL = "127.0.0.1"
REGISTRY = Registry()
Samples = dict[tuple[str, tuple[str, ...]], float]


@endpoint("t.twice", registry=REGISTRY)
def twice(n: int) -> int:
    return 2 * n


def flow_of(history: History) -> FlowNow:
    return Queries(LogSet([history.store]), MemoryViewStore()).flow()


def overloaded() -> FlowNow:
    history = History()
    history.set_flow(policy="fair", mode="advise", bound_seconds=30.0)
    history.change_fleet({"default": 8})
    for number in (0, 1):
        history.now += timedelta(seconds=9)
        history.sample(
            queue(
                stage(
                    HOSTILE,
                    ready=7,
                    held={"slots api/": 2, "paused": 1},
                    out=4,
                    running=3,
                    oldest_wait=61.5,
                    wait_p50=1.0,
                    wait_p95=2.0,
                    wait_p99=3.0,
                    service_seconds=0.25,
                    arrived=40 * number,
                    released=30 * number,
                    ended=20 * number,
                    failed=number,
                    busy_seconds=5.0 * number,
                ),
                stage("never", ready=1),
                slots=8,
                busy=5,
                workers=2,
                window=16,
                out=4,
                served={5: 30 * number},
                unknown=("a.b",),
            )
        )
    incident = history.starve()
    history.take_measure(incident)
    return flow_of(history)


def samples_of(text: str) -> Samples:
    """Return the values of metrics by name and labels, these in the order of their names."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def told(read: Callable[[], FlowNow | None]) -> Samples:
    return samples_of(page(registry_of(read))[0].decode())


def test_queues_and_stages_are_told_with_their_figures_whatever_their_names() -> None:
    found = told(overloaded)

    place = ("report", "default", HOSTILE)
    expected: Samples = {
        ("warrener_flow_known", ()): 1.0,
        ("warrener_flow_bound_seconds", ()): 30.0,
        ("warrener_queue_slots", ("default",)): 8.0,
        ("warrener_queue_busy_slots", ("default",)): 5.0,
        ("warrener_queue_workers", ("default",)): 2.0,
        ("warrener_queue_unknown_endpoints", ("default",)): 1.0,
        ("warrener_queue_released_total", ("5", "default")): 30.0,
        ("warrener_stage_ready", place): 7.0,
        ("warrener_stage_held", place): 3.0,
        ("warrener_stage_out", place): 4.0,
        ("warrener_stage_running", place): 3.0,
        ("warrener_stage_oldest_wait_seconds", place): 61.5,
        ("warrener_stage_wait_seconds", ("report", "95", "default", HOSTILE)): 2.0,
        ("warrener_stage_service_seconds", place): 0.25,
        ("warrener_stage_share", place): 1.0,
        ("warrener_stage_arrived_total", place): 40.0,
        ("warrener_stage_ended_total", place): 20.0,
        ("warrener_stage_failed_total", place): 1.0,
        ("warrener_stage_busy_seconds_total", place): 5.0,
        ("warrener_starvation_incidents", ("upstream-flood",)): 1.0,
        ("warrener_starvation_incidents", ("no-worker",)): 0.0,
        ("warrener_starvation_measures", ("throttle-producer",)): 1.0,
        ("warrener_stages_left_out", ()): 0.0,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert ("warrener_stage_service_seconds", ("report", "default", "never")) not in found
    info = next(key for key in found if key[0] == "warrener_flow_info")
    assert set(info[1]) == {"fair", "advise", "accept"}


def test_stages_beyond_a_number_are_left_out_those_with_least_to_do_first() -> None:
    history = History()
    stages = [stage(f"s{number}", ready=number) for number in range(STAGES_MAX)]
    history.sample(queue(*stages))
    one = flow_of(history)
    other = msgspec.structs.replace(one.queues[0], queue="other")
    both = msgspec.structs.replace(one, queues=(*one.queues, other))

    found = told(lambda: both)

    ready = [value for (name, _), value in found.items() if name == "warrener_stage_ready"]
    assert len(ready) == STAGES_MAX
    assert min(ready) == STAGES_MAX // 2
    assert found["warrener_stages_left_out", ()] == STAGES_MAX


def test_where_the_flow_cannot_be_read_only_that_is_told() -> None:
    def away() -> FlowNow:
        raise StoreUnavailable("it is away")

    for read in (away, lambda: None):
        found = told(read)
        ours = {name for name, _ in found if name.startswith("warrener_")}
        assert (ours, found["warrener_flow_known", ()]) == ({"warrener_flow_known"}, 0.0)


def test_however_many_ask_the_flow_is_read_once_a_second() -> None:
    reads: list[None] = []
    times = iter((0.0, 0.0, 0.5, 0.9, 1.0, 1.0, 1.5))  # twice where it is read
    collector = FlowCollector(lambda: reads.append(None), now=times.__next__)

    counts = []
    for _ in range(5):
        list(collector.collect())
        counts.append(len(reads))

    assert counts == [1, 1, 1, 2, 2]


def test_metrics_are_served_over_http_until_the_end() -> None:
    with serving(overloaded, 0, LOCAL) as port:
        found = httpx.get(f"http://{LOCAL}:{port}/metrics")
        with (
            pytest.raises(UsageError, match=f"cannot be served at {LOCAL}, port {port}"),
            serving(overloaded, port, LOCAL),
        ):
            pass

    assert found.headers["content-type"].startswith("text/plain")
    assert samples_of(found.text)["warrener_queue_window", ("default",)] == 16.0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{LOCAL}:{port}/metrics")


# --- a reactor's own -----------------------------------------------------------------------------


class Played:
    """As much of a reactor as is looked at."""

    def __init__(self, driver: Estate) -> None:
        self.controller = driver.controller


def test_a_live_flow_is_looked_at_once_a_second_and_tells_rates_and_workers() -> None:
    driver = Estate(fleet=True)
    driver.hire(slots=2)
    driver.begin({"items": {"for_each": list(range(9)), "call": "work"}})
    clock = VirtualClock(START)
    live, reactors = LiveFlow(clock), {3: Played(driver)}

    assert live.read() is None
    live.look(reactors)  # type: ignore[arg-type]
    first = live.read()
    driver.succeed(driver.newest("items[0]", driver.orders[0].job))
    clock.advance(0.5)
    live.look(reactors)  # type: ignore[arg-type]
    assert live.read() is first
    clock.advance(0.5)
    live.look(reactors)  # type: ignore[arg-type]
    then = live.read()

    assert first is not None
    assert then is not None
    (items,) = then.queues[0].stages
    assert (then.queues[0].workers, then.queues[0].slots) == (1, 2)
    assert (items.out, items.ready) == (4, 4)
    assert (first.queues[0].stages[0].completion_rate, items.completion_rate) == (0.0, 1.0)
    clock.advance(1.0)
    live.look({})
    assert live.read() is None


def test_a_live_flow_tells_open_incidents_and_what_is_done_about_them() -> None:
    driver = Estate(fleet=True)
    incident, at = UUID(int=7), {"at": START, "cause": "flow"}
    drain = Measure(kind="drain-downstream", queue="default")
    victim = Victim(job="job", step="items", waiting=3, oldest_wait=70.0)
    for event in (
        StarvationDetected(
            **at, queue="default", diagnosis="upstream-flood", victims=(victim,), since=START
        ),
        MeasureTaken(**at, measure=drain, until=START + timedelta(minutes=5), victims_wait=70.0),
    ):
        driver.controller.control.incidents.evolve(incident, event)
    live = LiveFlow(VirtualClock(START))

    live.look({0: Played(driver)})  # type: ignore[dict-item]

    found = live.read()
    assert found is not None
    assert (found.incidents, found.measures) == ({"upstream-flood": 1}, {"drain-downstream": 1})


def test_what_is_ready_no_more_is_not_told() -> None:
    driver = Estate(fleet=True)
    driver.hire(slots=1)
    job = driver.begin({"items": {"for_each": [1, 2, 3], "call": "work"}, "other": CALL})
    from warrener.domain.messages import CancelJob

    driver.command(CancelJob(job=job))
    live = LiveFlow(VirtualClock(START))

    live.look({0: Played(driver)})  # type: ignore[dict-item]

    found = live.read()
    assert found is not None
    assert all(each.oldest_wait == 0 for each in found.queues[0].stages)


def test_figures_go_on_when_the_clock_was_set_back() -> None:
    clock = VirtualClock(START)
    live, driver = LiveFlow(clock), Estate(fleet=True)
    live.look({0: Played(driver)})  # type: ignore[dict-item]
    early = VirtualClock(START - timedelta(hours=1))
    live._clock = early

    driver.begin({"a": CALL})
    live.look({0: Played(driver)})  # type: ignore[dict-item]

    found = live.read()
    assert found is not None
    assert found.queues


def test_a_fault_in_the_figures_does_not_stop_the_reactor() -> None:
    clock = VirtualClock(START)
    live = LiveFlow(clock)
    driver = Estate(fleet=True)
    live.look({0: Played(driver)})  # type: ignore[dict-item]
    assert live.read() is not None

    clock.advance(1.0)
    driver.controller.flow.sample = None  # type: ignore[assignment, method-assign]
    with capture_logs() as logs:
        live.look({0: Played(driver)})  # type: ignore[dict-item]

    assert [line["event"] for line in logs] == ["metrics.failed"]
    assert live.read() is None


def test_a_reactor_daemon_serves_what_it_knows_of_its_flow() -> None:
    twice_it = {"job": "twice", "steps": {"a": {"call": "t.twice", "with": {"n": 2}}}}
    with Fleet(REGISTRY) as fleet:
        live = LiveFlow(fleet.clock)
        fleet.reactor(on_round=live.look)
        fleet.worker()
        client = fleet.client()
        for number in range(3):
            client.submit(msgspec.convert(twice_it, JobDefinition), key=f"k{number}")

        with serving(live.read, 0, LOCAL) as port:

            def ended() -> Any:
                text = httpx.get(f"http://{LOCAL}:{port}/metrics").text
                return samples_of(text).get(
                    ("warrener_stage_ended_total", ("twice", "default", "a"))
                )

            eventually(lambda: ended() == 3.0)


# --- alerts --------------------------------------------------------------------------------------


def test_alerts_name_metrics_and_labels_that_there_are() -> None:
    labels = labels_of(full_page())
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]

    assert len({rule["alert"] for rule in rules}) == len(rules) >= 5
    for rule in rules:
        named = metrics_in(rule["expr"])
        assert named, rule["alert"]
        assert named <= set(labels), rule["alert"]
        known = set().union(*(labels[name] for name in named))
        used = labels_in(rule["expr"])
        told_of = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert used <= known, rule["alert"]
        assert told_of <= used, rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert re.fullmatch(r"\d+[mh]", rule["for"])
