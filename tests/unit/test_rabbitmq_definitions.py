"""The definitions for RabbitMQ that are committed are those that the program needs."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "ops" / "rabbitmq"
_SPEC = importlib.util.spec_from_file_location("make_definitions", FOLDER / "make_definitions.py")
assert _SPEC is not None
assert _SPEC.loader is not None
make_definitions = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(make_definitions)


def may(role: str, what: str, name: str) -> bool:
    patterns = dict(zip(("configure", "write", "read"), make_definitions.ROLES[role], strict=True))
    return re.search(patterns[what], name) is not None


def test_the_committed_file_is_current() -> None:
    assert (FOLDER / "definitions.json").read_text() == make_definitions.text()


def test_no_user_has_a_password_to_begin_with() -> None:
    users = json.loads(make_definitions.text())["users"]

    assert {user["name"] for user in users} == set(make_definitions.ROLES)
    assert {user["password_hash"] for user in users} == {""}


def test_a_worker_can_neither_send_orders_nor_commands() -> None:
    assert may("worker", "write", "warrener.results")
    assert may("worker", "read", "warrener.orders.fetch")
    for exchange in ("warrener.orders", "warrener.inbox", "warrener.control", "amq.default"):
        assert not may("worker", "write", exchange)
    for queue in ("warrener.results.0", "warrener.inbox.0", "warrener.quarantine"):
        assert not may("worker", "read", queue)
    assert not may("worker", "configure", "warrener.orders.fetch")


def test_a_submitter_can_send_commands_and_read_answers_only() -> None:
    assert may("submitter", "write", "warrener.inbox")
    assert may("submitter", "read", "warrener.reply.me")
    for exchange in ("warrener.orders", "warrener.results", "warrener.events", "amq.default"):
        assert not may("submitter", "write", exchange)
    for queue in ("warrener.orders.default", "warrener.inbox.0", "warrener.results.0"):
        assert not may("submitter", "read", queue)


def test_the_web_can_send_commands_and_hear_the_fleet_but_no_orders_or_reports() -> None:
    assert may("web", "write", "warrener.inbox")
    assert may("web", "read", "warrener.fleet")
    for exchange in ("warrener.orders", "warrener.results", "warrener.events", "amq.default"):
        assert not may("web", "write", exchange)
    for queue in ("warrener.orders.default", "warrener.inbox.0", "warrener.results.0"):
        assert not may("web", "read", queue)


def test_an_observer_can_write_nothing_but_its_own_bindings() -> None:
    assert may("observer", "read", "warrener.events")
    for exchange in ("warrener.orders", "warrener.results", "warrener.inbox", "warrener.events"):
        assert not may("observer", "write", exchange)
