"""The web service over read models in MongoDB, which a projector keeps up to the log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.driving import Driver
from support.log_checks import eventually
from support.mongo import fresh_mongo_url
from support.web import LOOPBACK, Served, report, served, settings_of

from warrener.domain.ids import job_id
from warrener.domain.partitions import Logs, partition_of
from warrener.projections.ports import ViewStore
from warrener.services import wiring, wiring_store
from warrener.services.projector import catch_up_all

PARTITIONS = 4


@pytest.fixture
def url() -> str:
    found = fresh_mongo_url()
    wiring_store.make_store(found, PARTITIONS)
    return found


@pytest.fixture
def logs(url: str) -> Iterator[Logs]:
    opened = wiring.open_logs(url)
    yield opened
    opened.close()


@pytest.fixture
def views(url: str) -> Iterator[ViewStore]:
    opened = wiring.open_views(url)
    yield opened
    opened.close()


@pytest.fixture
def web(url: str, tmp_path: Path) -> Iterator[Served]:
    with served(settings_of(tmp_path, store_url=url), open_to=LOOPBACK) as found:
        eventually(lambda: found.client.get("/readyz").status_code == 200)
        yield found


def test_a_page_hears_and_reads_what_the_projector_has_folded(
    web: Served, logs: Logs, views: ViewStore
) -> None:
    at = eventually(lambda: web.parts.hub.at)
    assert at == ",".join(f"{each}:0" for each in range(PARTITIONS))
    jobs = [job_id(f"key-{number}") for number in range(6)]
    for number, job in enumerate(jobs):
        driver = Driver(logs.log(partition_of(job, PARTITIONS)))
        driver.submit(report(), {}, key=f"key-{number}", labels={"team": "web"})
    heads = ",".join(f"{each}:{logs.log(each).head()}" for each in range(PARTITIONS))
    assert web.get("/jobs")["items"] == []
    assert web.parts.hub.at == at

    catch_up_all(logs, views)

    eventually(lambda: web.parts.hub.at == heads)
    found = {line["job"] for line in web.get("/jobs?label=team%3Dweb")["items"]}
    assert found == {str(job) for job in jobs}
    assert web.get("/jobs/counts") == {"running": 6}
    assert web.get(f"/jobs/{jobs[0]}/history")["items"][0]["type"] == "JobSubmitted"
    page = web.get("/jobs?limit=4")
    rest = web.get("/jobs", params={"limit": 4, "cursor": page["next"]})
    assert {line["job"] for line in (*page["items"], *rest["items"])} == found


def test_tokens_are_kept_beside_the_log(web: Served) -> None:
    headers = web.bearer("ada", "operator")

    assert web.client.get("/api/v1/jobs", headers=headers).status_code == 200
    assert web.client.get("/api/v1/jobs").status_code == 401
