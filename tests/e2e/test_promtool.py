"""What Prometheus itself says of metrics, alerts and the expressions of the dashboards."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml
from support.metrics_page import full_page
from support.web import driven, fill, served, settings_of

OPS = Path(__file__).parents[2] / "ops"


def promtool(*arguments: object, given: str = "") -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.fail("promtool is missing: apt install prometheus")
    done = subprocess.run(
        [program, *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_alerts_are_rules_that_prometheus_takes() -> None:
    promtool("check", "rules", OPS / "prometheus" / "rules.yaml")


def test_alerts_are_given_when_they_should_be_and_not_otherwise() -> None:
    promtool("test", "rules", OPS / "prometheus" / "rules_test.yaml")


def test_all_metrics_are_named_as_prometheus_wants_them() -> None:
    assert promtool("check", "metrics", given=full_page()) == ""


def test_the_page_of_the_web_service_is_one_that_prometheus_takes(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with driven(settings) as driver:
        fill(driver)
    with served(settings) as web:
        text = httpx.get(f"{web.url}/metrics").text

    assert promtool("check", "metrics", given=text) == ""
    assert 'warrener_jobs_ended_total{job="report",state="succeeded"} 1.0' in text
    assert 'warrener_jobs{job="running",state="running"} 1.0' in text
    assert "warrener_user_actions 1.0" in text
    assert 'warrener_projector_lag_events{model="jobs"} 0.0' in text


def test_expressions_of_the_dashboards_are_ones_that_prometheus_takes(tmp_path: Path) -> None:
    expressions = [
        target["expr"].replace("$__rate_interval", "5m")
        for file in sorted((OPS / "grafana").glob("*.json"))
        for panel in json.loads(file.read_text("utf-8"))["panels"]
        for target in panel["targets"]
    ]
    rules = [
        {"record": f"warrener:expression:{number}", "expr": expression}
        for number, expression in enumerate(expressions)
    ]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))

    told = promtool("check", "rules", path)

    assert f"{len(expressions)} rules found" in told
