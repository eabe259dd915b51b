"""A page of metrics with every metric that there is on it."""

from __future__ import annotations

import re
from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families
from support.histories import REPORT, half_done_report
from support.history_flow import queue, stage

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.definition.model import Rate
from warrener.services.figures import figures
from warrener.services.figures_metrics import FiguresCollector
from warrener.services.histograms import FoldHistograms, PaceHistograms
from warrener.services.logs import LogSet
from warrener.services.metrics import page, registry_of
from warrener.services.projector import catch_up
from warrener.services.queries import Queries


def full_page() -> str:
    """Return the text of it: something of everything has happened."""
    history, job, _ = half_done_report()
    failed = history.submit(REPORT, key="failed")
    history.start(failed)
    history.fail_job(failed)
    history.park(job, "parts[2]", history.ask(job, "parts[2]"))
    history.change_limit("api", slots=2, rate=Rate(20, 60))
    history.set_flow(policy="fair", mode="advise", bound_seconds=30.0)
    history.change_fleet({"default": 8})
    for number in (0, 1):
        history.now += timedelta(seconds=9)
        busy = stage(
            "parts", ready=7, held={"slots api/": 2}, out=4, service_seconds=0.25, ended=20 * number
        )
        history.sample(queue(busy, slots=8, busy=5, workers=2, served={5: 30 * number}))
    history.take_measure(history.starve())
    views, logs, histograms = MemoryViewStore(), LogSet([history.store]), FoldHistograms()
    catch_up(history.store, views)
    histograms.folded("jobs", 12, 0.003)
    pace = PaceHistograms()
    pace.committed(3, 0.02)
    pace.confirmed(0.004)
    told = FiguresCollector(lambda: figures(logs, views, history.now))
    registry = registry_of(lambda: Queries(logs, views).flow(), told, histograms, pace)
    return page(registry)[0].decode()


def labels_of(text: str) -> dict[str, set[str]]:
    """Return the labels of each metric on a page, by the name that a query has it by."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def metrics_in(expression: str) -> set[str]:
    """Return the names of metrics in a PromQL expression."""
    return set(re.findall(r"\b(?:warrener|process)_\w+", expression))


def labels_in(expression: str) -> set[str]:
    """Return the labels that an expression groups or chooses by."""
    grouped = re.findall(r"by \(([\w, ]*)\)", expression)
    chosen = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
    return {label for group in grouped for label in re.split(r",\s*", group)} | set(chosen)
