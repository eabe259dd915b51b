"""With the committed definitions, each role can do its work on a real server, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker
from support.daemons import Daemons
from support.log_checks import eventually
from support.rabbit import PrivateRabbit

from warrener.services.client import Client
from warrener.services.fleet_watch import FleetWatch
from warrener.services.wiring import open_broker, open_clock

ROOT = Path(__file__).parents[2]
ROLES = ("controller", "worker", "submitter", "web", "observer")
PASSWORD = "a password of tests"


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateRabbit]:
    with PrivateRabbit() as rabbit:
        rabbit.import_definitions(ROOT / "ops" / "rabbitmq" / "definitions.json")
        for role in ROLES:
            rabbit.ctl("change_password", role, PASSWORD)
        yield rabbit


def url(server: PrivateRabbit, role: str) -> str:
    return server.url("/", role, PASSWORD)


def refused(server: PrivateRabbit, role: str, exchange: str, key: str) -> bool:
    """Say whether the broker refuses a message of this role."""
    with pika.BlockingConnection(pika.URLParameters(url(server, role))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        try:
            channel.basic_publish(exchange, key, b"{}")
        except ChannelClosedByBroker as error:
            return error.reply_code == 403
        return False


def unreadable(server: PrivateRabbit, role: str, queue: str) -> bool:
    """Say whether the broker keeps a queue from this role."""
    with pika.BlockingConnection(pika.URLParameters(url(server, role))) as connection:
        try:
            connection.channel().basic_get(queue)
        except ChannelClosedByBroker as error:
            return error.reply_code == 403
        return False


def test_a_job_runs_with_each_party_in_its_role(server: PrivateRabbit, tmp_path: Path) -> None:
    hello = ROOT / "ops" / "examples" / "hello.py"
    with Daemons(tmp_path, {"WARRENER_STORE_URL": f"sqlite:///{tmp_path}/jobs.db"}) as daemons:
        daemons.reactor("--broker", url(server, "controller"))
        daemons.worker("--endpoints", hello, "--threads", "--broker", url(server, "worker"))
        with Client(url(server, "submitter")) as client:
            job = client.submit(str(hello.with_suffix(".yaml")), {"names": ["you"]})
            outcome = client.wait(job, timeout_seconds=30)

    assert outcome.result == ["Hello, you!"]


def test_the_web_in_its_role_hears_which_workers_there_are(
    server: PrivateRabbit, tmp_path: Path
) -> None:
    hello = ROOT / "ops" / "examples" / "hello.py"
    watch = FleetWatch(open_broker(url(server, "web")), open_clock())
    with Daemons(tmp_path, {}) as daemons:
        worker = daemons.worker(
            "--endpoints", hello, "--threads", "--slots", "3", "--broker", url(server, "worker")
        )
        watch.start()
        try:
            eventually(lambda: [each.slots for each in watch.workers()] == [3], "the worker")
            worker.stop()
            eventually(lambda: watch.workers() == (), "its leave")
        finally:
            watch.close()


@pytest.mark.parametrize(
    ("role", "exchange", "key"),
    [
        ("worker", "warrener.orders", "warrener.orders.default"),
        ("worker", "warrener.inbox", "warrener.inbox.0"),
        ("worker", "warrener.control", "step.cancel"),
        ("worker", "", "warrener.orders.default"),
        ("submitter", "warrener.orders", "warrener.orders.default"),
        ("submitter", "warrener.results", "warrener.results.0"),
        ("submitter", "", "warrener.results.0"),
        ("web", "warrener.orders", "warrener.orders.default"),
        ("web", "warrener.results", "warrener.results.0"),
        ("observer", "warrener.events", "job.succeeded"),
        ("observer", "warrener.inbox", "warrener.inbox.0"),
    ],
)
def test_what_is_not_a_roles_to_send_is_refused(
    server: PrivateRabbit, role: str, exchange: str, key: str
) -> None:
    assert refused(server, role, exchange, key)


@pytest.mark.parametrize(
    ("role", "queue"),
    [
        ("worker", "warrener.results.0"),
        ("worker", "warrener.inbox.0"),
        ("submitter", "warrener.orders.default"),
        ("submitter", "warrener.inbox.0"),
        ("observer", "warrener.orders.default"),
    ],
)
def test_what_is_not_a_roles_to_read_is_kept_from_it(
    server: PrivateRabbit, role: str, queue: str
) -> None:
    assert unreadable(server, role, queue)
