"""`warrener doctor` and `warrener broker`, on a RabbitMQ and without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli

from warrener.adapters.rabbitmq_admin import version_findings


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def broker_checks(cli: Cli, url: str) -> list[Any]:
    checks = cli("doctor", "--json", WARRENER_BROKER_URL=url).json["checks"]
    return [check for check in checks if check["check"] == "broker"]


def test_doctor_says_what_is_missing_and_nothing_once_it_is_declared(
    cli: Cli, broker_url: str
) -> None:
    before = broker_checks(cli, broker_url)
    declared = cli("broker", "declare", "--queues", "default,fetch", "--broker", broker_url)
    after = broker_checks(cli, broker_url)

    assert declared.code == 0
    assert any("missing" in check["detail"] for check in before)
    assert not any("missing" in check["detail"] for check in after)
    assert "all queues are there" in [check["detail"] for check in after]


def test_info_lists_the_queues_of_orders(cli: Cli, broker_url: str) -> None:
    cli("broker", "declare", "--queues", "default,fetch", "--broker", broker_url)

    done = cli("broker", "info", "--queues", "default,fetch", "--json", "--broker", broker_url)

    assert done.code == 0
    names = [queue["queue"] for queue in done.lines if queue["exists"]]
    assert {"warrener.orders.default", "warrener.orders.fetch"} <= set(names)


def test_each_partition_has_an_inbox_and_a_queue_of_results(cli: Cli, broker_url: str) -> None:
    done = cli("broker", "declare", "--partitions", "3", "--json", "--broker", broker_url)

    assert done.code == 0
    names = {queue["queue"] for queue in done.lines if queue["exists"]}
    wanted = {f"warrener.{kind}.{number}" for kind in ("inbox", "results") for number in range(3)}
    assert wanted <= names


def test_doctor_fails_and_advises_where_the_broker_is_unreachable(cli: Cli) -> None:
    (check,) = broker_checks(cli, "amqp://guest:hidden@127.0.0.1:1")

    assert check["state"] == "failed"
    assert check["advice"] == "check the URL, the user and the network"
    assert "hidden" not in check["detail"]


@pytest.mark.parametrize(
    ("version", "setting"),
    [((3, 10), "consumer_timeout"), ((3, 12), None), ((4, 0), "max_message_size")],
)
def test_what_a_version_limits_is_told(version: tuple[int, int], setting: str | None) -> None:
    advice = [each.advice for each in version_findings("it", version) if not each.ok]

    assert [setting in text for text in advice if setting] == ([True] if setting else [])
    assert bool(advice) == bool(setting)
