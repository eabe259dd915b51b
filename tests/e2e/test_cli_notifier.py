"""`warrener notifier` as a process of its own, on a store of hand-made events."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import Cli
from support.daemons import Daemon, Daemons
from support.http_server import HttpServer, answer, silent
from support.log_checks import eventually
from support.mail_server import MailServer
from support.notices import Requests

from warrener.services.wiring import open_store

SECRET = "a secret of sixteen characters"
ROOT = Path(__file__).parents[2]
STORE = "sqlite:///jobs.db"


class Site:
    """A folder with a store, and requests for help that are written into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests = Requests()
        self.job = self.requests.job(labels={"team": "red"})
        self._written = 0

    def write(self) -> None:
        """Bring the store up to what was asked for so far."""
        history = self.requests.history.store
        store = open_store(f"sqlite:///{self.folder}/jobs.db")
        fresh = history.log[self._written :]
        store.commit([each.recorded for each in fresh], history.blobs)
        store.close()
        self._written = len(history.log)

    def variables(self, server: HttpServer, **more: str) -> dict[str, str]:
        return {
            "PYTHONPATH": str(ROOT),
            "WARRENER_STORE_URL": STORE,
            "WARRENER_WEBHOOK_URL": f"http://127.0.0.1:{server.port}/in-the-path",
            "WARRENER_WEBHOOK_SECRET": SECRET,
            "WARRENER_WEBHOOK_PLAIN": "yes",
            "WARRENER_WEBHOOK_PRIVATE": "yes",
            **more,
        }


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def start(daemons: Daemons) -> Daemon:
    daemon = daemons.start("notifier", "--log", "json,info")
    daemon.logged("notifier.begins")
    return daemon


def bodies(server: HttpServer) -> list[dict[str, object]]:
    return [json.loads(request.body) for request in server.requests]


def requested(server: HttpServer) -> list[object]:
    return [body["request"] for body in bodies(server)]


def test_requests_are_told_as_they_come_and_not_again_by_the_next_process(site: Site) -> None:
    first = site.requests.ask(site.job)
    site.write()
    with HttpServer() as server, Daemons(site.folder, site.variables(server)) as daemons:
        daemon = start(daemons)
        eventually(lambda: len(server.requests) == 1)
        second = site.requests.ask(site.job)
        site.write()
        eventually(lambda: len(server.requests) == 2)
        daemon.logged("notification.told")
        code = daemon.stop()
        third = site.requests.ask(site.job)
        site.write()
        start(daemons)
        eventually(lambda: len(server.requests) == 3)
        log = daemon.log

    assert code == 0
    assert requested(server) == [str(first), str(second), str(third)]
    assert bodies(server)[0]["labels"] == {"team": "red"}
    assert SECRET not in log
    assert "in-the-path" not in log


def test_a_process_that_is_killed_while_it_tells_tells_again_with_the_same_id(site: Site) -> None:
    site.requests.ask(site.job)
    site.write()
    with (
        HttpServer(silent, answer(200)) as server,
        Daemons(site.folder, site.variables(server)) as daemons,
    ):
        first = start(daemons)
        eventually(lambda: len(server.requests) == 1)
        first.kill()
        second = start(daemons)
        second.logged("notification.told")
        code = second.stop()

    one, other = bodies(server)
    assert code == 0
    assert one == other
    assert one["id"] == server.requests[1].headers["warrener-id"]


def test_a_late_start_does_not_tell_what_is_answered(site: Site) -> None:
    answered, waiting = site.requests.ask(site.job), site.requests.ask(site.job)
    site.requests.answer(answered)
    site.write()
    with HttpServer() as server:
        done = Cli(site.folder, site.variables(server))("notifier", "--once")

    assert done.code == 0
    assert requested(server) == [str(waiting)]


def test_once_with_from_now_tells_nothing_of_before_and_remembers_it(site: Site) -> None:
    site.requests.ask(site.job)
    site.write()
    with HttpServer() as server:
        cli = Cli(site.folder, site.variables(server))
        codes = [cli("notifier", "--once", "--from-now").code]
        later = site.requests.ask(site.job)
        site.write()
        codes.append(cli("notifier", "--once").code)

    assert codes == [0, 0]
    assert requested(server) == [str(later)]


def test_once_says_with_its_exit_code_that_something_was_not_told(site: Site) -> None:
    site.requests.ask(site.job)
    site.write()
    with HttpServer(answer(403)) as server:
        done = Cli(site.folder, site.variables(server))("notifier", "--once")

    assert done.code == 4
    assert "answered 403" in done.err


def test_failed_jobs_are_told_if_that_is_wanted(site: Site) -> None:
    site.requests.ask(site.job)
    site.requests.history.fail_job(site.job)
    site.write()
    with HttpServer() as server:
        variables = site.variables(server, WARRENER_NOTIFY_ON="job.failed")
        Cli(site.folder, variables)("notifier", "--once")

    (body,) = bodies(server)
    assert (body["event"], body["job"]) == ("job.failed", str(site.job))
    assert body["error"] == {"code": "error", "message": "it failed"}


def test_webhook_and_mail_are_told_side_by_side(site: Site) -> None:
    request = site.requests.ask(site.job)
    site.write()
    with HttpServer() as server, MailServer() as mails:
        variables = site.variables(
            server,
            WARRENER_SMTP_URL=f"smtp://127.0.0.1:{mails.port}",
            WARRENER_MAIL_FROM="warrener@example.com",
            WARRENER_MAIL_TO="ada@example.com, bob@example.com",
        )
        done = Cli(site.folder, variables)("notifier", "--once")

    assert done.code == 0
    assert len(server.requests) == 1
    assert mails.mails[0].recipients == ["ada@example.com", "bob@example.com"]
    assert f"warrener answer {request} --data" in mails.mails[0].text


def test_a_second_notifier_on_a_store_is_refused(site: Site) -> None:
    site.write()
    with HttpServer() as server, Daemons(site.folder, site.variables(server)) as daemons:
        start(daemons)
        done = Cli(site.folder, site.variables(server))("notifier", "--once")

    assert done.code == 2
    assert "another notifier works on this store" in done.err


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "systemd"))
        link.settimeout(30)
        yield link


def test_systemd_hears_when_it_is_ready_and_when_it_stops(
    site: Site, systemd: socket.socket
) -> None:
    with HttpServer() as server:
        variables = site.variables(server, NOTIFY_SOCKET=systemd.getsockname())
        with Daemons(site.folder, variables) as daemons:
            daemon = daemons.start("notifier")
            ready = systemd.recv(100)
            code = daemon.stop()

    assert (ready, systemd.recv(100), code) == (b"READY=1", b"STOPPING=1", 0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"WARRENER_WEBHOOK_URL": ""}, "nobody is to be told"),
        ({"WARRENER_WEBHOOK_SECRET": ""}, "WARRENER_WEBHOOK_SECRET needs 16 characters"),
        ({"WARRENER_WEBHOOK_SECRET": "hunter2"}, "WARRENER_WEBHOOK_SECRET needs 16 characters"),
        ({"WARRENER_WEBHOOK_PLAIN": ""}, "WARRENER_WEBHOOK_PLAIN=yes"),
        ({"WARRENER_WEBHOOK_PLAIN": "maybe"}, "yes or no"),
        ({"WARRENER_WEBHOOK_PRIVATE": "maybe"}, "yes or no"),
        ({"WARRENER_WEBHOOK_URL": "https://u:hunter2@h/hunter2"}, "user or password"),
        ({"WARRENER_WEBHOOK_URL": "ftp://h/hunter2"}, "no https:// URL"),
        ({"WARRENER_WEBHOOK_ALLOW": "*.example.com"}, "not in WARRENER_WEBHOOK_ALLOW"),
        ({"WARRENER_SMTP_URL": "http://u:hunter2@h"}, "the mail server's URL is none"),
        ({"WARRENER_SMTP_URL": "smtp://h"}, "WARRENER_MAIL_FROM has no address"),
        (
            {"WARRENER_SMTP_URL": "smtp://h", "WARRENER_MAIL_FROM": "a@b.example"},
            "WARRENER_MAIL_TO has no address",
        ),
        ({"WARRENER_NOTIFY_ON": "job.faild"}, "did you mean job.failed"),
        ({"WARRENER_STORE_URL": "sqlite:///:memory:"}, "a store that others write to"),
        ({"WARRENER_WEBHOOK_URI": "https://h/hunter2"}, "did you mean WARRENER_WEBHOOK_URL"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_without_their_secrets(
    site: Site, changed: dict[str, str], said: str
) -> None:
    with HttpServer() as server:
        done = Cli(site.folder, site.variables(server, **changed))("notifier", "--once")

    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1
    assert "hunter2" not in done.err
    assert server.connections == 0
