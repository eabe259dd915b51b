"""What the HTTP API tells of the past: jobs as they were, where time went, what was pruned."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from support.pruning import work
from support.web import Served, driven, fill, problem, served, settings_of
from support.web_fixtures import fleet, jobs, store, web

from warrener.services import wiring
from warrener.services.upkeep.prune import Wish, prune

__all__ = ["fleet", "jobs", "store", "web"]


def test_a_job_is_shown_as_it_was_at_each_of_its_events(web: Served, jobs: dict[str, UUID]) -> None:
    job = f"/jobs/{jobs['ran']}"
    events = web.get(f"{job}/history?limit=1000")["items"]

    first, last = (web.get(f"{job}/replay?at={events[i]['position']}") for i in (0, -1))

    assert (first["state"], first["steps"]["load"]["state"]) == ("submitted", "pending")
    assert first["event"]["type"] == "JobSubmitted"
    now = web.get(job)
    assert {name: last[name] for name in now} == now
    assert (last["position"], last["at"]) == (events[-1]["position"], events[-1]["at"])


def test_the_points_of_a_job_are_listed_page_by_page(web: Served, jobs: dict[str, UUID]) -> None:
    job = f"/jobs/{jobs['ran']}"
    events = web.get(f"{job}/history?limit=1000")["items"]
    found: list[int] = []
    after: int | None = 0
    while after is not None:
        page = web.get(f"{job}/positions?limit=4&after={after}")
        assert 0 < len(page["items"]) <= 4
        found += page["items"]
        after = page["next"]

    assert found == [each["position"] for each in events]
    assert web.get(f"{job}/positions?after={found[-1]}") == {"items": [], "next": None}
    problem(web.send("GET", f"{job}/positions?limit=50001"), 400)


def test_a_tree_is_shown_as_it_was(web: Served, jobs: dict[str, UUID]) -> None:
    job = f"/jobs/{jobs['ran']}"
    first = web.get(f"{job}/positions?limit=1")["items"][0]

    then = web.get(f"{job}/replay/tree?at={first}")
    now = web.get(f"{job}/replay/tree")

    assert (then["state"], then["progress"]["done"]) == ("submitted", 0)
    assert now == web.get(f"{job}/tree")


def test_a_point_at_which_the_job_was_not_there_is_refused(
    web: Served, jobs: dict[str, UUID]
) -> None:
    began = web.get(f"/jobs/{jobs['runs']}/history")["items"][0]["position"]

    for at in (began - 1, 10**9, "never"):
        problem(web.send("GET", f"/jobs/{jobs['runs']}/replay?at={at}"), 400)


def test_what_a_step_was_given_is_told_of_its_newest_order(
    web: Served, jobs: dict[str, UUID]
) -> None:
    job = f"/jobs/{jobs['ran']}"

    assert web.get(f"{job}/steps/groups%5B1%5D/input") == {"attempt": 1, "input": {}}
    problem(web.send("GET", f"/jobs/{jobs['runs']}/steps/merge/input"), 404)


def test_the_report_adds_up_to_the_time_that_the_job_took(
    web: Served, jobs: dict[str, UUID]
) -> None:
    found = web.get(f"/jobs/{jobs['ran']}/report")

    assert found["state"] == "succeeded"
    critical = sum(each["seconds"] for each in found["critical_path"])
    assert critical == pytest.approx(found["elapsed_seconds"])


def test_the_graph_places_each_step_once_and_tells_how_far_it_is(
    web: Served, jobs: dict[str, UUID]
) -> None:
    graph = web.get(f"/jobs/{jobs['ran']}/graph")

    shown = web.get(f"/jobs/{jobs['ran']}")["steps"]
    assert {node["name"] for node in graph["nodes"]} == set(shown)
    assert {node["name"]: node["progress"] for node in graph["nodes"]}["groups"] == 1.0
    for node in graph["nodes"]:
        assert 0 <= node["x"] <= graph["width"] - node["w"] + 0.1
        assert 0 <= node["y"] <= graph["height"] - node["h"] + 0.1


def test_a_job_that_was_pruned_is_gone_and_its_archive_named(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with driven(settings) as driver:
        jobs, now = fill(driver), driver.now
    logs, views = wiring.open_logs(settings.store_url), wiring.open_views(settings.views_url)
    before = now + timedelta(seconds=1)
    prune(logs, views, Wish(before, tmp_path, "old", before, "test"), work)
    views.close()
    logs.close()

    with served(settings) as web:
        for rest in ("", "/graph", "/history", "/tree", "/timeline", "/steps/load", "/report"):
            gone = problem(web.send("GET", f"/jobs/{jobs['ran']}{rest}"), 410)
            assert "archive old" in gone["detail"]
        problem(web.send("GET", f"/jobs/{UUID(int=7)}"), 404)
        web.get(f"/jobs/{jobs['runs']}")
