"""Figures of the service as metrics of Prometheus: jobs, steps, attempts, requests, limits, lag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from warrener.domain.states import JOB_ENDED, JOB_STATES
from warrener.projections.total_views import BUCKETS
from warrener.services.control_shapes import LimitLine
from warrener.services.figures import Figures, Named, Sum
from warrener.services.histograms import buckets_of
from warrener.services.lag import Lag
from warrener.services.seldom_collector import SeldomCollector

_STEP: Final = ("job", "step")

Counts = Callable[[Sum], Mapping[str, int]]


class FiguresCollector(SeldomCollector[Figures]):
    """Gives figures as metrics. Threads may share it; it reads once a second at most."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; where nothing can be read, none."""
        found = self._found()
        if found is not None:
            yield from _of_jobs(found.jobs)
            yield from _of_steps(found.steps)
            yield from _of_actions(found)
            yield from _of_limits(found)
            yield from _of_lags(found.lags)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"warrener_{name}", text, value=value)


def _of_jobs(jobs: Named) -> Iterator[Metric]:
    yield _gauge("job_names_other", "Names of jobs that are counted as `other`.", jobs.left_out)
    now = GaugeMetricFamily("warrener_jobs", "Jobs that have not ended.", labels=["job", "state"])
    submitted = CounterMetricFamily("warrener_jobs_submitted", "Jobs, ever.", labels=["job"])
    ended = CounterMetricFamily(
        "warrener_jobs_ended", "How often jobs came to an end.", labels=["job", "state"]
    )
    for (job, _), total in jobs.by_name.items():
        for state in JOB_STATES:
            if state in JOB_ENDED:
                ended.add_metric([job, state], total.ended[state])
            elif total.now[state]:
                now.add_metric([job, state], total.now[state])
        submitted.add_metric([job], total.begun)
    yield from (now, submitted, ended)


def _of_steps(steps: Named) -> Iterator[Metric]:
    yield _gauge("step_names_other", "Steps that are counted as `other`.", steps.left_out)
    now = GaugeMetricFamily(
        "warrener_steps", "Steps that have begun to wait or run.", labels=[*_STEP, "state"]
    )
    _add(now, steps, lambda total: total.now)
    yield now
    for name, text, label, counts in _COUNTED:
        family = CounterMetricFamily(f"warrener_{name}", text, labels=[*_STEP, label])
        _add(family, steps, counts)
        yield family
    took = HistogramMetricFamily("warrener_attempt_seconds", "Time that answered attempts took.")
    took.add_metric([], buckets_of(BUCKETS, steps.whole.took), steps.whole.seconds)
    yield took
    codes = CounterMetricFamily(
        "warrener_failures", "Attempts that failed, of all steps.", labels=["code"]
    )
    for code, count in sorted(steps.whole.failures.items()):
        codes.add_metric([code], count)
    yield codes


_COUNTED: Final[Sequence[tuple[str, str, str, Counts]]] = (
    ("steps_ended", "How often steps came to an end.", "state", lambda total: total.ended),
    ("attempts", "Attempts that ended, by how.", "outcome", lambda total: total.attempts),
    ("attempt_failures", "Attempts that failed.", "code", lambda total: total.failures),
)


def _add(family: GaugeMetricFamily | CounterMetricFamily, named: Named, counts: Counts) -> None:
    for name, total in named.by_name.items():
        for word, count in sorted(counts(total).items()):
            family.add_metric([*name, word], count)


def _of_actions(found: Figures) -> Iterator[Metric]:
    text = "Requests for people that are open; 1000 stands for as many or more."
    yield _gauge("user_actions", text, found.actions)
    yield _gauge("user_action_oldest_seconds", "How long one is open.", found.oldest_action_seconds)


def _of_limits(found: Figures) -> Iterator[Metric]:
    yield _gauge("limits_left_out", "Limits that are not told.", found.limits_left_out)
    told: Sequence[tuple[str, str, Callable[[LimitLine], int | None]]] = (
        ("limit_waiting", "Steps that a limit holds back.", lambda limit: limit.waiting),
        ("limit_slots", "Slots of a limit that people have set.", lambda limit: limit.slots),
    )
    for name, text, value_of in told:
        family = GaugeMetricFamily(f"warrener_{name}", text, labels=["limit"])
        for limit in found.limits:
            value = value_of(limit)
            if value is not None:
                family.add_metric([limit.name], value)
        yield family


def _of_lags(lags: Sequence[Lag]) -> Iterator[Metric]:
    """Yield how far the read models are behind: the sum of events, and the longest time."""
    events: Counter[str] = Counter()
    stopped: Counter[str] = Counter()
    seconds: dict[str, float] = {}
    for each in lags:
        events[each.model] += each.events
        stopped[each.model] += each.stopped is not None
        seconds[each.model] = max(seconds.get(each.model, 0.0), each.seconds)
    told: Sequence[tuple[str, str, Mapping[str, float]]] = (
        ("lag_events", "Events that are not folded.", events),
        ("lag_seconds", "Age of the first one that is not.", seconds),
        ("stopped", "Partitions in which an event stops a read model.", stopped),
    )
    for name, text, values in told:
        family = GaugeMetricFamily(f"warrener_projector_{name}", text, labels=["model"])
        for model, value in values.items():
            family.add_metric([model], value)
        yield family
