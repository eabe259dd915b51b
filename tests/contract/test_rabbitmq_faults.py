"""What a channel does when RabbitMQ, or the way to it, is not as it should be."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

import pika
import pytest
from support.log_checks import eventually
from support.rabbit import PrivateRabbit, free_port

from warrener.adapters.rabbitmq import RabbitBroker, RabbitChannel
from warrener.adapters.rabbitmq_admin import RabbitAdmin
from warrener.adapters.rabbitmq_url import target_of
from warrener.domain.errors import BrokerUnavailable, UsageError
from warrener.domain.ports import Delivery, Outgoing, Poll
from warrener.domain.topology import ORDERS, QUARANTINE, REASON_HEADER, SOURCE_HEADER, orders_queue

WORK = orders_queue("work")
OTHER = orders_queue("other")
WAIT_SECONDS = 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateRabbit]:
    with PrivateRabbit(tls=True) as rabbit:
        yield rabbit


@pytest.fixture
def vhost(server: PrivateRabbit) -> Iterator[str]:
    name = f"test-{secrets.token_hex(6)}"
    server.add_vhost(name)
    yield name
    server.delete_vhost(name)


@pytest.fixture
def url(server: PrivateRabbit, vhost: str) -> str:
    return server.url(vhost)


@pytest.fixture
def channel(url: str) -> Iterator[RabbitChannel]:
    made = RabbitBroker(url).channel()
    made.consume(WORK, 100)
    eventually(lambda: made.poll(0, 0.05).lost, "the new queue")
    yield made
    made.close()


def send(channel: RabbitChannel, *names: str) -> None:
    channel.publish([Outgoing(WORK, name.encode(), name) for name in names], 1)
    eventually(lambda: list(channel.poll(0, 0.05).confirmed) == [1], "confirmed", WAIT_SECONDS)


def receive(channel: RabbitChannel) -> Delivery:
    found: list[Any] = []
    eventually(lambda: found.extend(channel.poll(1, 0.05).deliveries) or found, "", WAIT_SECONDS)
    return found[0]


def kill_connections(server: PrivateRabbit, vhost: str) -> None:
    server.ctl("close_all_connections", "--vhost", vhost, "a test")


def test_after_its_connections_are_killed_a_channel_goes_on_and_old_tags_do_nothing(
    server: PrivateRabbit, vhost: str, channel: RabbitChannel
) -> None:
    send(channel, "m")
    old = receive(channel)

    kill_connections(server, vhost)
    again = receive(channel)
    channel.ack([old.tag])
    channel.reject(old.tag, requeue=False)
    kill_connections(server, vhost)
    third = receive(channel)

    assert (again.message_id, again.redelivered) == ("m", True)
    assert (third.message_id, third.redelivered) == ("m", True)


def test_a_lost_connection_is_told_once_and_only_then(
    server: PrivateRabbit, vhost: str, channel: RabbitChannel
) -> None:
    send(channel, "m")
    assert not channel.poll(10, 0.05).broken

    kill_connections(server, vhost)

    eventually(lambda: channel.poll(0, 0.05).broken, "the break", WAIT_SECONDS)
    polls: list[Poll] = []
    eventually(lambda: polls.append(channel.poll(1, 0.05)) or polls[-1].deliveries, "m again")
    assert not any(poll.broken for poll in polls)


def test_what_is_published_while_the_virtual_host_is_away_arrives_and_the_loss_is_told(
    server: PrivateRabbit, vhost: str, channel: RabbitChannel
) -> None:
    server.delete_vhost(vhost)
    channel.publish([Outgoing(WORK, b"x", "m")], 1)
    server.add_vhost(vhost)
    polls = []

    def confirmed() -> bool:
        polls.append(channel.poll(10, 0.05))
        return any(poll.confirmed for poll in polls) and any(poll.deliveries for poll in polls)

    eventually(confirmed, "confirmed and delivered", WAIT_SECONDS)
    assert any(poll.lost for poll in polls)


def test_a_queue_deleted_under_its_consumer_and_publisher_is_made_again(
    url: str, channel: RabbitChannel
) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_delete(WORK)

    eventually(lambda: channel.poll(0, 0.05).lost, "the loss is told", WAIT_SECONDS)
    send(channel, "m")
    assert receive(channel).message_id == "m"


def test_who_has_left_a_queue_leaves_it_to_others_to_make_it_anew_and_miss_it(
    server: PrivateRabbit, vhost: str, url: str, channel: RabbitChannel
) -> None:
    channel.leave(WORK)
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_delete(WORK)
    kill_connections(server, vhost)
    channel.consume(OTHER, 1)
    channel.publish([Outgoing(OTHER, b"", "m")], 1)
    receive(channel)  # it is connected again, and has made all that it declares
    other = RabbitBroker(url).channel()

    other.consume(WORK, 10)

    eventually(lambda: other.poll(0, 0.05).lost, "the loss is told", WAIT_SECONDS)
    other.close()


def test_a_rejected_message_lies_in_the_quarantine_with_reason_and_queue(
    url: str, channel: RabbitChannel
) -> None:
    reader = RabbitBroker(url).channel()
    reader.declare(QUARANTINE)
    reader.close()
    send(channel, "odd")

    channel.reject(receive(channel).tag, requeue=False, reason="it is odd")

    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        inner = connection.channel()
        got: list[Any] = []
        eventually(lambda: got.append(inner.basic_get(QUARANTINE)) or got[-1][0], "quarantined")
    assert got[-1][1].headers.items() >= {REASON_HEADER: "it is odd", SOURCE_HEADER: WORK}.items()
    assert got[-1][2] == b"odd"


def test_what_is_rejected_for_good_just_before_closing_lies_in_the_quarantine_only(
    url: str, channel: RabbitChannel
) -> None:
    reader = RabbitBroker(url).channel()
    reader.consume(QUARANTINE, 1)
    send(channel, "odd")

    channel.reject(receive(channel).tag, requeue=False)
    channel.close()

    assert receive(reader).message_id == "odd"
    reader.consume(WORK, 1)
    assert not reader.poll(1, 0.2).deliveries
    reader.close()


def test_acknowledging_a_delivery_twice_is_told_and_harms_no_other(channel: RabbitChannel) -> None:
    send(channel, "a", "b")
    first, second = receive(channel), receive(channel)

    channel.ack([second.tag, second.tag])

    with pytest.raises(BrokerUnavailable, match="is not held"):
        eventually(lambda: channel.poll(0, 0.05).lost, "the error")
    channel.ack([first.tag])
    assert not channel.poll(1, 0.2).deliveries


def test_what_the_broker_refuses_to_keep_is_sent_until_it_keeps_it(url: str) -> None:
    full = {"x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish"}
    RabbitAdmin(target_of(url)).declare([])
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        inner = connection.channel()
        inner.queue_declare(WORK, durable=True, arguments=full)
        inner.queue_bind(WORK, ORDERS, WORK)
    sender, reader = RabbitBroker(url).channel(), RabbitBroker(url).channel()
    names = {f"m{number}" for number in range(20)}
    found: set[str] = set()
    confirmed: list[int] = []

    def all_came() -> bool:
        deliveries = reader.poll(100, 0.05).deliveries
        found.update(delivery.message_id for delivery in deliveries)
        reader.ack(delivery.tag for delivery in deliveries)
        confirmed.extend(sender.poll(0).confirmed)
        return found == names and confirmed == [1]

    sender.publish([Outgoing(WORK, name.encode(), name) for name in names], 1)
    assert not sender.poll(0, 0.5).confirmed
    reader.consume(WORK, 100)

    eventually(all_came, "all, and their confirmation", WAIT_SECONDS)
    sender.close()
    reader.close()


def test_an_owner_that_does_not_poll_keeps_its_connection(url: str) -> None:
    slow = RabbitBroker(f"{url}?heartbeat=1").channel()
    slow.consume(WORK, 1)
    send(slow, "m")
    held = receive(slow)
    other = RabbitBroker(url).channel()
    other.consume(WORK, 1)

    assert not other.poll(1, 5.0).deliveries  # meanwhile nobody polls the slow one

    slow.ack([held.tag])
    slow.close()
    assert not other.poll(1, 0.2).deliveries
    other.close()


def test_a_message_of_ten_megabytes_arrives_whole(channel: RabbitChannel) -> None:
    body = secrets.token_bytes(10_000_000)

    channel.publish([Outgoing(WORK, body, "big")], 1)

    assert receive(channel).body == body


def test_a_client_certificate_opens_tls_and_none_is_refused(
    server: PrivateRabbit, vhost: str
) -> None:
    files = server.certificates
    assert files is not None
    plain = f"{server.tls_url(vhost)}?cacertfile={files.authority}"

    made = RabbitBroker(
        f"{plain}&certfile={files.client_certificate}&keyfile={files.client_key}"
    ).channel()
    made.consume(WORK, 1)
    send(made, "m")
    assert receive(made).message_id == "m"
    made.close()
    with pytest.raises(BrokerUnavailable, match="cannot be reached"):
        RabbitBroker(plain).channel()


@pytest.mark.parametrize("case", ["password", "vhost", "port"])
def test_what_keeps_a_channel_from_connecting_is_said_without_the_password(
    server: PrivateRabbit, case: str
) -> None:
    refused = f"amqp://guest:hidden@127.0.0.1:{free_port()}"
    cases = {
        "password": (server.url(password="hidden"), "user or password"),
        "vhost": (server.url("nowhere"), "virtual host does not exist"),
        "port": (refused, "connection refused"),
    }
    address, reason = cases[case]

    with pytest.raises(BrokerUnavailable, match=reason) as caught:
        RabbitBroker(address).channel()

    assert "hidden" not in str(caught.value)


def test_a_url_that_cannot_be_read_is_refused_without_its_password() -> None:
    with pytest.raises(UsageError, match="%2F") as caught:
        RabbitBroker("amqp://user:hid/den@localhost")

    assert "hid" not in str(caught.value)


def test_an_unknown_option_is_refused_with_the_nearest_known() -> None:
    with pytest.raises(UsageError, match="did you mean heartbeat"):
        RabbitBroker("amqp://localhost?hartbeat=3")


def test_while_memory_is_short_messages_wait_and_then_they_are_confirmed(
    server: PrivateRabbit, channel: RabbitChannel
) -> None:
    server.alarm(True)
    try:
        channel.publish([Outgoing(WORK, b"x", "m")], 1)
        assert not channel.poll(0, 0.5).confirmed
    finally:
        server.alarm(False)

    assert receive(channel).message_id == "m"


def test_a_restarted_server_has_what_was_confirmed(
    server: PrivateRabbit, channel: RabbitChannel
) -> None:
    send(channel, "m")

    server.restart()

    assert receive(channel).message_id == "m"


def test_publishing_is_refused_while_too_much_waits_for_the_broker(
    server: PrivateRabbit, url: str
) -> None:
    sender = RabbitBroker(url, messages_max=2).channel()
    sender.declare(WORK)
    server.alarm(True)
    try:
        sender.publish([Outgoing(WORK, b"x", "a"), Outgoing(WORK, b"x", "b")], 1)
        with pytest.raises(BrokerUnavailable, match=r"2 messages .* wait for the broker"):
            sender.publish([Outgoing(WORK, b"x", "c")], 2)
    finally:
        server.alarm(False)

    eventually(lambda: list(sender.poll(0, 0.05).confirmed) == [1], "confirmed", WAIT_SECONDS)
    sender.publish([Outgoing(WORK, b"x", "c")], 2)
    eventually(lambda: list(sender.poll(0, 0.05).confirmed) == [2], "confirmed", WAIT_SECONDS)
    sender.close()


def test_closing_without_a_server_does_not_hang(
    server: PrivateRabbit, channel: RabbitChannel
) -> None:
    server.shut_down()
    try:
        channel.publish([Outgoing(WORK, b"x", "late")], 2)
        begun = time.monotonic()
        channel.close()
        assert time.monotonic() - begun < 15.0
    finally:
        server.start()
