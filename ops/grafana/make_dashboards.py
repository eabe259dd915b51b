"""Makes the dashboards for Grafana: `python ops/grafana/make_dashboards.py`.

Import the files beside this one (Dashboards, New, Import), or provision their folder; a variable
chooses the Prometheus that scrapes `warrener web` or `warrener projector --metrics-port N`. Where
several are scraped, they tell the same: so panels take the maximum, and rates before the maximum.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
WIDTH = 24
HEIGHT = 8
SOURCE = {"type": "prometheus", "uid": "${source}"}
SECONDS, COUNT, RATE, SHARE = "s", "short", "ops", "percentunit"

Query = tuple[str, str]  # expression, legend


def graph(title: str, unit: str, *queries: Query, about: str = "", stacked: bool = False) -> dict:
    """A time series, twelve columns wide."""
    custom = {"fillOpacity": 20 if stacked else 0, "showPoints": "never"}
    custom["stacking"] = {"mode": "normal" if stacked else "none"}
    return {
        **_panel("timeseries", title, unit, queries, about, width=12, custom=custom),
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def number(title: str, unit: str, expression: str, warn: float | None = None) -> dict:
    """One figure, four columns wide; from `warn` on it is red."""
    found = _panel("stat", title, unit, [(expression, "")], "", width=4, custom={})
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if warn is not None:
        steps.append({"color": "red", "value": warn})
    found["fieldConfig"]["defaults"]["thresholds"] = {"mode": "absolute", "steps": steps}
    found["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"}
    return found


def _panel(
    kind: str, title: str, unit: str, queries: Any, about: str, *, width: int, custom: Any
) -> dict:
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": SOURCE,
        "gridPos": {"w": width, "h": HEIGHT if width > 4 else 4, "x": 0, "y": 0},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": custom}, "overrides": []},
        "targets": [
            {"refId": chr(65 + at), "expr": expr, "legendFormat": legend, "datasource": SOURCE}
            for at, (expr, legend) in enumerate(queries)
        ],
    }


def dashboard(name: str, title: str, *panels: dict, by: tuple[str, str] | None = None) -> dict:
    """A dashboard; `by` is a label to choose by, and the metric that has it."""
    x = y = row = 0
    for at, panel in enumerate(panels):
        place = panel["gridPos"]
        if x + place["w"] > WIDTH:
            x, y, row = 0, y + row, 0
        panel["id"], place["x"], place["y"] = at + 1, x, y
        x, row = x + place["w"], max(row, place["h"])
    variables: list[dict[str, Any]] = [
        {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    ]
    if by is not None:
        label, metric = by
        query = f"label_values({metric}, {label})"
        more = {"datasource": SOURCE, "includeAll": True, "multi": True, "allValue": ".*"}
        refreshed = {"refresh": 2, "sort": 1, "current": {"text": "All", "value": "$__all"}}
        variables.append({"name": label, "type": "query", "query": query, **more, **refreshed})
    links = {"type": "dashboards", "tags": ["warrener"], "title": "Warrener", "asDropdown": True}
    return {
        "uid": f"warrener-{name}",
        "title": f"Warrener: {title}",
        "tags": ["warrener"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [links],
        "templating": {"list": variables},
        "panels": list(panels),
    }


def rate(metric: str, by: str, where: str = "") -> str:
    """The rate of a counter, once however many tell it."""
    return f"max by ({by}) (rate({metric}{where}[$__rate_interval]))"


def _p95(metric: str, by: str = "le") -> str:
    return f"histogram_quantile(0.95, sum by ({by}) (rate({metric}_bucket[$__rate_interval])))"


def overview() -> dict:
    """Jobs, attempts, failures, people, and how the service itself is."""
    return dashboard("overview", "overview", *_figures(), *_of_jobs(), *_of_daemons())


def _figures() -> list[dict]:
    return [
        number("Running jobs", COUNT, 'sum(max by (job) (warrener_jobs{state="running"}))'),
        number("Waiting steps", COUNT, "sum(max by (queue, job, step) (warrener_stage_ready))"),
        number("Starvation", COUNT, "sum(max by (cause) (warrener_starvation_incidents))", 1),
        number("Requests for people", COUNT, "max(warrener_user_actions)", 1),
        number("Oldest of them", SECONDS, "max(warrener_user_action_oldest_seconds)", 14_400),
        number("Read models behind", SECONDS, "max(warrener_projector_lag_seconds)", 60),
    ]


def _of_jobs() -> list[dict]:
    return [
        graph(
            "Jobs that have not ended",
            COUNT,
            ("sum by (state) (max by (job, state) (warrener_jobs))", "{{state}}"),
            stacked=True,
        ),
        graph(
            "Jobs that end",
            RATE,
            (f"sum by (state) ({rate('warrener_jobs_ended_total', 'job, state')})", "{{state}}"),
            (f"sum({rate('warrener_jobs_submitted_total', 'job')})", "submitted"),
        ),
        graph(
            "Attempts by outcome",
            RATE,
            (
                f"sum by (outcome) ({rate('warrener_attempts_total', 'job, step, outcome')})",
                "{{outcome}}",
            ),
            stacked=True,
        ),
        graph(
            "Failures by code",
            RATE,
            (f"topk(10, {rate('warrener_failures_total', 'code')})", "{{code}}"),
        ),
        graph(
            "Time of attempts",
            SECONDS,
            *(
                (
                    f"histogram_quantile({quantile},"
                    f" {rate('warrener_attempt_seconds_bucket', 'le')})",
                    f"p{quantile * 100:g}",
                )
                for quantile in (0.5, 0.95, 0.99)
            ),
            about="Between the buckets of the histogram it is a guess.",
        ),
        graph(
            "Jobs that fail",
            RATE,
            (
                "topk(10, " + rate("warrener_jobs_ended_total", "job", '{state="failed"}') + ")",
                "{{job}}",
            ),
        ),
    ]


def _of_daemons() -> list[dict]:
    return [
        graph(
            "Store and broker",
            SECONDS,
            ("max(warrener_commit_seconds)", "worst commit"),
            ("max(warrener_confirm_seconds)", "worst confirmation"),
            ("max(warrener_unconfirmed_seconds)", "broker silent for"),
        ),
        graph(
            "Store and broker, p95",
            SECONDS,
            (_p95("warrener_reactor_commit_seconds"), "commit"),
            (_p95("warrener_reactor_confirm_seconds"), "confirmation"),
            about="Of reactors with --metrics-port.",
        ),
        graph(
            "Events of a commit",
            COUNT,
            (
                "sum(rate(warrener_reactor_commit_events_sum[$__rate_interval]))"
                " / sum(rate(warrener_reactor_commit_events_count[$__rate_interval]))",
                "mean",
            ),
            about="Of reactors with --metrics-port.",
        ),
        graph(
            "Read models behind the log",
            SECONDS,
            ("max by (model) (warrener_projector_lag_seconds)", "{{model}}"),
        ),
        graph(
            "Events folded",
            RATE,
            (
                "sum by (model) (rate(warrener_projector_batch_events_sum[$__rate_interval]))",
                "{{model}}",
            ),
            about="Of projectors with --metrics-port.",
        ),
        graph(
            "Time to fold a batch",
            SECONDS,
            (_p95("warrener_projector_fold_seconds", "model, le"), "{{model}} p95"),
        ),
    ]


def stages() -> dict:
    """Queues and their stages: what waits, for how long, and what is done."""
    chosen = '{queue=~"$queue"}'

    def top(metric: str) -> str:
        return f"topk(10, max by (job, step) ({metric}{chosen}))"

    return dashboard(
        "stages",
        "queues and stages",
        graph("Ready", COUNT, (top("warrener_stage_ready"), "{{job}}/{{step}}"), stacked=True),
        graph("Held back", COUNT, (top("warrener_stage_held"), "{{job}}/{{step}}"), stacked=True),
        graph(
            "Longest wait", SECONDS, (top("warrener_stage_oldest_wait_seconds"), "{{job}}/{{step}}")
        ),
        graph(
            "Wait for release, p95",
            SECONDS,
            (
                "topk(10, max by (job, step)"
                ' (warrener_stage_wait_seconds{queue=~"$queue",percentile="95"}))',
                "{{job}}/{{step}}",
            ),
        ),
        graph(
            "Released",
            RATE,
            (
                f"topk(10, {rate('warrener_stage_released_total', 'job, step', chosen)})",
                "{{job}}/{{step}}",
            ),
        ),
        graph(
            "Failed",
            RATE,
            (
                f"topk(10, {rate('warrener_stage_failed_total', 'job, step', chosen)})",
                "{{job}}/{{step}}",
            ),
        ),
        graph(
            "Time of an attempt",
            SECONDS,
            (top("warrener_stage_service_seconds"), "{{job}}/{{step}}"),
        ),
        graph("Share of the workers", SHARE, (top("warrener_stage_share"), "{{job}}/{{step}}")),
        graph(
            "Limits that hold steps back",
            COUNT,
            ("topk(10, max by (limit) (warrener_limit_waiting))", "{{limit}}"),
        ),
        graph(
            "Slots of limits",
            COUNT,
            ("max by (limit) (warrener_limit_slots)", "{{limit}}"),
            about="Those that people have set; who holds them `warrener limits` tells.",
        ),
        by=("queue", "warrener_queue_slots"),
    )


def fleet() -> dict:
    """Workers and their slots."""
    queues = "max by (queue) "
    return dashboard(
        "fleet",
        "fleet",
        number("Workers", COUNT, "sum(max by (queue) (warrener_queue_workers))"),
        number("Slots", COUNT, "sum(max by (queue) (warrener_queue_slots))"),
        number("At work", COUNT, "sum(max by (queue) (warrener_queue_busy_slots))"),
        number("Orders out", COUNT, "sum(max by (queue) (warrener_queue_out))"),
        number(
            "Unknown endpoints", COUNT, "sum(max by (queue) (warrener_queue_unknown_endpoints))", 1
        ),
        number("Worst load", SHARE, "max(warrener_queue_load)", 1),
        graph("Slots", COUNT, (f"{queues}(warrener_queue_slots)", "{{queue}}"), stacked=True),
        graph(
            "Slots at work",
            COUNT,
            (f"{queues}(warrener_queue_busy_slots)", "{{queue}}"),
            stacked=True,
        ),
        graph("Load", SHARE, (f"{queues}(warrener_queue_load)", "{{queue}}")),
        graph(
            "Time until the backlog is done",
            SECONDS,
            (f"{queues}(warrener_queue_drain_seconds) < +Inf", "{{queue}}"),
            about="Nothing is drawn while a backlog grows.",
        ),
        graph(
            "Orders out and the window",
            COUNT,
            (f"{queues}(warrener_queue_out)", "{{queue}} out"),
            (f"{queues}(warrener_queue_window)", "{{queue}} window"),
        ),
        graph(
            "Released by priority",
            RATE,
            (
                f"sum by (priority) ({rate('warrener_queue_released_total', 'queue, priority')})",
                "{{priority}}",
            ),
            stacked=True,
        ),
        graph(
            "Processors of the process",
            COUNT,
            ("rate(process_cpu_seconds_total[$__rate_interval])", "{{instance}}"),
        ),
        graph("Memory", "bytes", ("process_resident_memory_bytes", "{{instance}}")),
    )


def starvation() -> dict:
    """Who starves, why, and what is done about it."""
    return dashboard(
        "starvation",
        "starvation",
        graph(
            "Open incidents",
            COUNT,
            ("max by (cause) (warrener_starvation_incidents)", "{{cause}}"),
            stacked=True,
        ),
        graph(
            "Measures in force",
            COUNT,
            ("max by (kind) (warrener_starvation_measures)", "{{kind}}"),
            stacked=True,
        ),
        graph(
            "Longest waits and the bound",
            SECONDS,
            (
                "topk(10, max by (job, step) (warrener_stage_oldest_wait_seconds))",
                "{{job}}/{{step}}",
            ),
            ("max(warrener_flow_bound_seconds)", "bound"),
        ),
        graph(
            "Longest waits of what is held back",
            SECONDS,
            (
                "topk(10, max by (job, step) (warrener_stage_held_wait_seconds))",
                "{{job}}/{{step}}",
            ),
        ),
        graph(
            "What the stages before will bring",
            COUNT,
            ("topk(10, max by (job, step) (warrener_stage_coming))", "{{job}}/{{step}}"),
        ),
        graph("Load", SHARE, ("max by (queue) (warrener_queue_load)", "{{queue}}")),
    )


def made() -> dict[Path, str]:
    """Return the files and what is in them."""
    found = {
        "overview": overview(),
        "stages": stages(),
        "fleet": fleet(),
        "starvation": starvation(),
    }
    return {
        FOLDER / f"{name}.json": json.dumps(each, indent=1) + "\n" for name, each in found.items()
    }


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")
        print(path.name)
