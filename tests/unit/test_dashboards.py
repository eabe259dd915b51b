"""The dashboards for Grafana: as they are made, of metrics that there are, and well laid out."""

from __future__ import annotations

import importlib.util
import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from support.metrics_page import full_page, labels_in, labels_of, metrics_in

FOLDER = Path(__file__).parents[2] / "ops" / "grafana"
FILES = sorted(FOLDER.glob("*.json"))
ALWAYS = {"instance", "job"}  # Prometheus adds them


def loaded(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))


def test_the_files_are_those_that_the_script_makes() -> None:
    spec = importlib.util.spec_from_file_location("make", FOLDER / "make_dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    made = module.made()

    assert sorted(made) == FILES, "run: python ops/grafana/make_dashboards.py"
    for path, text in made.items():
        assert path.read_text("utf-8") == text, "run: python ops/grafana/make_dashboards.py"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_expression_names_metrics_and_labels_that_there_are(file: Path) -> None:
    known = labels_of(full_page())
    found = loaded(file)
    variables = {each["name"] for each in found["templating"]["list"]}

    for panel in found["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            named = metrics_in(expression)
            assert named, panel["title"]
            assert named <= set(known), (panel["title"], named - set(known))
            labels = set().union(*(known[name] for name in named))
            if any(name.endswith("_bucket") for name in named):
                labels.add("le")
            assert labels_in(expression) <= labels, (panel["title"], expression)
            legend = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert legend <= labels | ALWAYS, panel["title"]
            used = set(re.findall(r"\$(\w+)", expression)) - {"__rate_interval"}
            assert used <= variables, panel["title"]
    for variable in found["templating"]["list"]:
        asked = re.match(r"label_values\((\w+), (\w+)\)", variable["query"])
        assert asked is None or asked[2] in known[asked[1]], variable["name"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_panels_have_what_grafana_needs_and_lie_beside_each_other(file: Path) -> None:
    found = loaded(file)

    assert found["uid"] == f"warrener-{file.stem}"
    assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"]) >= 5
    for panel in found["panels"]:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24, panel["title"]
        assert panel["type"] in {"timeseries", "stat"}
        assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for one, other in combinations([panel["gridPos"] for panel in found["panels"]], 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
