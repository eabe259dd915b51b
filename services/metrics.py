"""The flow as metrics of Prometheus: a collector over what queries answer, or what a reactor knows.

Names of jobs and steps are labels, so that their number is bounded: those with least to do are left
out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from warrener.domain.flow.incidents import Diagnosis, MeasureKind
from warrener.services.flow_shapes import FlowNow, QueueFlow, StageFlow
from warrener.services.seldom_collector import SeldomCollector
from warrener.services.shapes import seconds_of

STAGES_MAX: Final = 500
_STAGE: Final = ("queue", "job", "step")

Read = Callable[[], FlowNow | None]  # None: nothing is known yet

_OF_QUEUES: Final[Sequence[tuple[str, str, Callable[[QueueFlow], float | None]]]] = (
    ("workers", "Workers that serve the queue.", lambda each: each.workers),
    ("slots", "Steps that workers of the queue run at once.", lambda each: each.slots),
    ("busy_slots", "Slots at work, as workers said last.", lambda each: each.busy),
    ("window", "Orders that may be out.", lambda each: each.window),
    ("out", "Orders that are out.", lambda each: each.out),
    ("load", "Part of the slots' time that arrivals ask for.", lambda each: each.load),
    ("work_seconds", "Workers' time that the backlog asks for.", lambda each: each.work_seconds),
    (
        "drain_seconds",
        "Time until the backlog is done if all goes on so; infinite if it grows.",
        lambda each: float("inf") if each.drain_seconds is None else each.drain_seconds,
    ),
    ("unknown_endpoints", "Endpoints that no worker knows.", lambda each: len(each.unknown)),
)
_OF_STAGES: Final[Sequence[tuple[str, str, Callable[[StageFlow], float | None]]]] = (
    ("ready", "Steps that wait for their release.", lambda each: each.ready),
    ("held", "Steps that limits or pauses hold back.", lambda each: sum(each.held.values())),
    ("out", "Orders that are out.", lambda each: each.out),
    ("running", "Orders that run, an estimate.", lambda each: each.running),
    ("oldest_wait_seconds", "Longest wait for release.", lambda each: each.oldest_wait),
    ("held_wait_seconds", "Longest wait of what is held back.", lambda each: each.held_wait),
    ("service_seconds", "Time that an attempt takes.", lambda each: each.service_seconds),
    ("share", "Part of the workers' time of the queue.", lambda each: each.share),
    ("coming", "Steps that the stages before it will bring.", lambda each: each.coming),
)
_COUNTED: Final[Sequence[tuple[str, str, Callable[[StageFlow], float]]]] = (
    ("arrived", "Steps that became ready.", lambda each: each.arrived),
    ("released", "Orders that went out.", lambda each: each.released),
    ("ended", "Orders that were answered, or will never be.", lambda each: each.ended),
    ("failed", "Of these, those that did not succeed.", lambda each: each.failed),
    ("busy_seconds", "Time of workers.", lambda each: each.busy_seconds),
)


class FlowCollector(SeldomCollector[FlowNow]):
    """Gives the flow as metrics. Threads may share it; it reads once a second at most."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; where the flow cannot be read, only that."""
        found = self._found()
        yield _gauge("flow_known", "Whether the flow is known.", float(found is not None))
        if found is not None:
            yield from _of_all(found)
            yield from _of_queues(found.queues)
            yield from _of_stages(found.queues)


def registry_of(read: Read, *more: Collector) -> CollectorRegistry:
    """Return a registry with the flow, with more, and with what this process uses."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FlowCollector(read))
    for each in more:
        registry.register(each)
    ProcessCollector(registry=registry)
    return registry


def page(registry: CollectorRegistry) -> tuple[bytes, str]:
    """Return the metrics as text, and the type of that, for whoever serves them over HTTP."""
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _gauge(name: str, text: str, value: float | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"warrener_{name}", text, value=value)


def _of_all(found: FlowNow) -> Iterator[Metric]:
    words = {"policy": found.policy, "mode": found.mode, "intake": found.intake}
    yield InfoMetricFamily("warrener_flow", "What people have set.", value=words)
    yield _gauge("flow_bound_seconds", "Who waits longer starves.", found.bound_seconds)
    if found.as_of is not None:
        at = seconds_of(found.as_of)
        yield _gauge("flow_sampled_timestamp_seconds", "When this was so.", at)
    yield _gauge("commit_seconds", "Worst of the latest commits.", found.commit_seconds)
    yield _gauge("confirm_seconds", "Worst of the latest confirmations.", found.confirm_seconds)
    yield _gauge("unconfirmed_seconds", "How long the broker is waited for.", found.unconfirmed)
    incidents = GaugeMetricFamily(
        "warrener_starvation_incidents", "Open incidents of starvation.", labels=["cause"]
    )
    for cause in get_args(Diagnosis):
        incidents.add_metric([cause], found.incidents.get(cause, 0))
    yield incidents
    measures = GaugeMetricFamily(
        "warrener_starvation_measures", "Measures against starvation in force.", labels=["kind"]
    )
    for kind in get_args(MeasureKind):
        measures.add_metric([kind], found.measures.get(kind, 0))
    yield measures


def _of_queues(queues: Sequence[QueueFlow]) -> Iterator[Metric]:
    for name, text, value_of in _OF_QUEUES:
        family = GaugeMetricFamily(f"warrener_queue_{name}", text, labels=["queue"])
        for queue in queues:
            value = value_of(queue)
            if value is not None:
                family.add_metric([queue.queue], value)
        yield family
    released = CounterMetricFamily(
        "warrener_queue_released", "Orders that went out.", labels=["queue", "priority"]
    )
    for queue in queues:
        for priority, count in queue.served.items():
            released.add_metric([queue.queue, priority], count)
    yield released


def _of_stages(queues: Sequence[QueueFlow]) -> Iterator[Metric]:
    found = [
        ((queue.queue, each.job, each.step), each) for queue in queues for each in queue.stages
    ]
    kept = sorted(found, key=lambda each: _to_do(each[1]), reverse=True)[:STAGES_MAX]
    left_out = len(found) - len(kept)
    yield _gauge("stages_left_out", "Stages without metrics of their own.", left_out)
    for name, text, value_of in _OF_STAGES:
        family = GaugeMetricFamily(f"warrener_stage_{name}", text, labels=_STAGE)
        for labels, stage in kept:
            value = value_of(stage)
            if value is not None:
                family.add_metric(labels, value)
        yield family
    waits = GaugeMetricFamily(
        "warrener_stage_wait_seconds", "Latest waits for release.", labels=[*_STAGE, "percentile"]
    )
    for labels, stage in kept:
        for percentile, wait in (
            ("50", stage.wait_p50),
            ("95", stage.wait_p95),
            ("99", stage.wait_p99),
        ):
            waits.add_metric([*labels, percentile], wait)
    yield waits
    for name, text, value_of in _COUNTED:
        counter = CounterMetricFamily(f"warrener_stage_{name}", text, labels=_STAGE)
        for labels, stage in kept:
            counter.add_metric(labels, value_of(stage))
        yield counter


def _to_do(stage: StageFlow) -> float:
    return stage.ready + stage.out + sum(stage.held.values())
