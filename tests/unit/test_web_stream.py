"""Server-sent events: what a page hears, in which order, and how it goes on after a break."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.driving import Driver
from support.log_checks import eventually
from support.web import API, Served, driven, fill, problem, report, served, settings_of

from warrener.domain.messages import ChangeFlow, ChangeLimit
from warrener.services import wiring_web
from warrener.services.web import changes, follower, hub
from warrener.services.web.routes import stream


class Listener:
    """A page that listens, in a thread of its own."""

    def __init__(self, web: Served, query: str = "", headers: dict[str, str] | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.comments = 0
        self.ended = False
        self._client = httpx.Client(base_url=web.url, timeout=30.0)
        self._socket: socket.socket | None = None
        self._opened = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(f"{API}/stream{query}", headers or {}), daemon=True
        )
        self._thread.start()
        assert self._opened.wait(10.0)

    def _run(self, path: str, headers: dict[str, str]) -> None:
        try:
            with self._client.stream("GET", path, headers=headers) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                self._socket = answer.extensions["network_stream"].get_extra_info("socket")
                event = "message"
                for line in answer.iter_lines():
                    self._opened.set()
                    name, _, value = line.partition(": ")
                    if name == "event":
                        event = value
                    elif name == "id":
                        self.ids.append(value)
                    elif name == "data":
                        self.events.append(
                            {"event": event, "id": self.ids[-1], **json.loads(value)}
                        )
                    elif not name and value:
                        self.comments += 1
        except (httpx.HTTPError, RuntimeError):
            pass
        finally:
            self.ended = True

    def close(self) -> None:
        """Go away as a page does: without a word."""
        if self._socket is not None and not self.ended:
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10.0)
        self._client.close()


@contextmanager
def listening(web: Served, *args: Any) -> Iterator[Listener]:
    found = Listener(web, *args)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Served, Driver]]:
    settings = settings_of(tmp_path)
    with driven(settings) as driver, served(settings) as web:
        yield web, driver


def position(event: dict[str, Any]) -> int:
    return int(event["id"].partition(":")[2])


def test_a_page_hears_what_changed_once_it_can_read_it(both: tuple[Served, Driver]) -> None:
    web, driver = both
    with listening(web) as page:
        jobs = fill(driver)
        eventually(lambda: any(each["actions"] for each in page.events))
        head = driver.store.head()
        eventually(lambda: page.events and position(page.events[-1]) == head)
        seen = {job["job"] for job in web.get("/jobs")["items"]}

    roots = {each["root"]: each for event in page.events for each in event["roots"]}
    assert set(roots) == {str(job) for job in jobs.values()} == seen
    ended = {tree["root"] for event in page.events for tree in event["roots"] if tree["ended"]}
    assert ended == {str(jobs["ran"]), str(jobs["failed"])}
    types = {name for event in page.events for tree in event["roots"] for name in tree["types"]}
    assert {"JobSubmitted", "StepReleased", "StepParked", "JobFailed"} <= types
    assert [position(each) for each in page.events] == sorted(map(position, page.events))
    assert {each["event"] for each in page.events} == {"change"}


def test_what_jobs_share_is_told_by_its_kind(both: tuple[Served, Driver]) -> None:
    web, driver = both
    with listening(web) as page:
        driver.command(ChangeLimit(name="api", slots=1))
        eventually(lambda: any(each["limits"] for each in page.events))
        driver.command(ChangeFlow(policy="fair"))
        eventually(lambda: any(each["flow"] for each in page.events))

    assert not any(each["actions"] or each["roots"] for each in page.events)


def test_a_page_about_a_tree_hears_of_no_other(both: tuple[Served, Driver]) -> None:
    web, driver = both
    one = driver.submit(report(), {}, key="one")
    web.caught_up()
    with listening(web, f"?job={one}") as page:
        driver.submit(report(), {}, key="two")
        driver.succeed(driver.order("load"))
        driver.succeed(next(each for each in driver.orders if each.job == one))
        eventually(lambda: page.events)

    assert {tree["root"] for event in page.events for tree in event["roots"]} == {str(one)}


def test_a_stream_that_comes_back_hears_what_it_missed(both: tuple[Served, Driver]) -> None:
    web, driver = both
    with listening(web) as page:
        driver.submit(report(), {}, key="one")
        eventually(lambda: page.events)
        last = page.ids[-1]
    two = driver.submit(report(), {}, key="two")
    web.caught_up()
    eventually(lambda: web.parts.hub.at != last)

    with listening(web, "", {"Last-Event-ID": last}) as again:
        eventually(lambda: again.events)

    assert [tree["root"] for event in again.events for tree in event["roots"]] == [str(two)]


@pytest.mark.parametrize("last_id", ["0:999999", "nonsense", "0:0,1:0", "7:1", "0:\u0663", "0:-1"])
def test_a_stream_that_cannot_be_gone_on_with_begins_anew(
    both: tuple[Served, Driver], last_id: str
) -> None:
    web, driver = both
    driver.submit(report(), {}, key="one")
    eventually(lambda: web.parts.hub.at == f"0:{driver.store.head()}")

    headers: Any = {b"Last-Event-ID": last_id.encode()}
    with listening(web, "", headers) as page:
        eventually(lambda: page.events)

    assert page.events[0]["event"] == "reset"
    assert page.ids[-1] == web.parts.hub.at


def test_a_page_that_knows_all_is_told_nothing(both: tuple[Served, Driver]) -> None:
    web, driver = both
    driver.submit(report(), {}, key="one")
    at = f"0:{driver.store.head()}"
    eventually(lambda: web.parts.hub.at == at)

    with listening(web, "", {"Last-Event-ID": at}) as page:
        eventually(lambda: page.ids)

    assert (page.events, page.ids) == ([], [at])


def test_more_at_once_than_can_be_told_is_a_reset(
    both: tuple[Served, Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    web, driver = both
    monkeypatch.setattr(changes, "EVENTS_MAX", 3)
    with listening(web) as page:
        driver.submit(report(), {}, key="one")
        eventually(lambda: page.events)

    assert page.events[0]["event"] == "reset"


def test_a_stream_that_does_not_take_its_notices_keeps_few_of_them() -> None:
    stream = hub.Stream("a", None)

    for number in range(10_000):
        stream.put(b"%d" % number, b"reset")

    assert stream._frames.qsize() <= hub.WAITING_MAX + 1
    assert stream._frames.get_nowait() == b"reset"


def test_a_silent_stream_gives_signs_of_life(
    both: tuple[Served, Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    web, _ = both
    monkeypatch.setattr(hub, "HEARTBEAT_SECONDS", 0.05)

    with listening(web) as page:
        eventually(lambda: page.comments >= 3)


def test_what_comes_within_the_pace_of_notices_is_one_notice(
    both: tuple[Served, Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    web, driver = both
    assert follower.TELL_SECONDS == 0.25
    monkeypatch.setattr(follower, "TELL_SECONDS", 3_600.0)
    with listening(web) as page:
        jobs = []
        for number in range(3):
            jobs.append(driver.submit(report(), {}, key=str(number)))
            web.caught_up()
        monkeypatch.setattr(follower, "TELL_SECONDS", 0.0)
        head = driver.store.head()
        eventually(lambda: page.events and position(page.events[-1]) == head)

    (notice,) = page.events
    assert {tree["root"] for tree in notice["roots"]} == {str(job) for job in jobs}


def test_streams_are_bounded_for_each_and_for_all(
    both: tuple[Served, Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    web, _ = both
    monkeypatch.setattr(hub, "STREAMS_OF_ONE_MAX", 2)
    with listening(web), listening(web):
        answer = web.client.get(f"{API}/stream")
        problem(answer, 429)
        assert answer.headers["retry-after"]
        monkeypatch.setattr(hub, "STREAMS_MAX", 2)
        problem(web.client.get(f"{API}/stream"), 503)
    eventually(lambda: web.parts.hub.count == 0)

    with listening(web):
        assert web.parts.hub.count == 1


def test_a_stream_about_a_job_that_is_not_there_is_refused(both: tuple[Served, Driver]) -> None:
    web, _ = both

    problem(web.client.get(f"{API}/stream?job=00000000-0000-0000-0000-000000000001"), 404)


def test_a_stream_ends_with_the_token_that_it_was_opened_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(stream, "CHECK_SECONDS", 0.0)
    with served(settings_of(tmp_path)) as web, listening(web) as nobody:
        kept, gone = web.bearer("kept", "viewer"), web.bearer("gone", "operator")
        with listening(web, "", kept) as stays, listening(web, "", gone) as goes:
            eventually(lambda: nobody.ended)  # for it would not be let in now
            assert not goes.ended

            web.parts.tokens.remove("gone")

            eventually(lambda: goes.ended)
            comments = stays.comments
            eventually(lambda: stays.comments > comments + 2)
            assert web.parts.hub.count == 1


def test_streams_end_when_the_service_does(tmp_path: Path) -> None:
    with served(settings_of(tmp_path)) as web:
        pages = [Listener(web) for _ in range(5)]
        eventually(lambda: web.parts.hub.count == 5)

    assert all(eventually(lambda page=page: page.ended) for page in pages)


def test_it_ends_at_once_while_much_is_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with driven(settings_of(tmp_path)) as driver:
        driver.submit(report(), {}, key="one")
    folding = threading.Event()

    def endless(_log: object, _views: object, on_progress: Any) -> None:
        while True:
            folding.set()
            on_progress(1, 2)

    monkeypatch.setattr(follower, "catch_up", endless)
    parts = wiring_web.open_web(settings_of(tmp_path))
    parts.follower.start()
    assert folding.wait(20.0)

    parts.close()


def test_a_store_that_goes_away_and_comes_back_is_read_again(tmp_path: Path) -> None:
    settings, away = settings_of(tmp_path), tmp_path / "away"
    away.mkdir()
    with driven(settings) as driver:
        driver.submit(report(), {}, key="one")
    with served(settings) as web:
        assert len(web.get("/jobs")["items"]) == 1
        for file in tmp_path.glob("jobs.db*"):
            file.rename(away / file.name)
        eventually(lambda: web.client.get("/readyz").status_code == 503)
        problem(web.client.get(f"{API}/jobs"), 503)

        with driven(settings_of(away)) as driver:
            driver.submit(report(), {}, key="two")
        for file in away.glob("jobs.db*"):
            file.rename(tmp_path / file.name)
        eventually(lambda: web.client.get("/readyz").status_code == 200)
        eventually(lambda: web.client.get(f"{API}/jobs").status_code == 200)

        assert len(web.get("/jobs")["items"]) == 2
