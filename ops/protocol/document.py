"""The AsyncAPI document, from the topology, the types of messages and words.yaml."""

from __future__ import annotations

import re
from typing import Any, get_args

import msgspec
import yaml

from warrener.domain import ids, topology
from warrener.domain.messages import PROTOCOL_VERSION, Message, SteeringMessage
from warrener.domain.payloads import MESSAGE_BYTES_MAX
from warrener.services.outbox import KEYS

Words = dict[str, Any]
AMQP = "0.3.0"  # version of the AMQP bindings
SCHEMA_FORMAT = "application/schema+json;version=draft-07"
_PARAMETER = re.compile(r"\{(\w+)\}")
_EXCHANGES = {exchange.name: exchange for exchange in topology.EXCHANGES}
_MESSAGE_IDS = {"RunStep": "run", "StepReport": "report", "CancelStep": "cancel"}
_STEERING = tuple(kind.__name__ for kind in get_args(SteeringMessage))
_COMMANDS = ("SubmitJob", *_STEERING, "WaitJob")
_NOTICES = ("EventNotice", "StarvationNotice")
_SIGNS = ("hello", "beat", "bye")


class Channel(msgspec.Struct, frozen=True):
    """A channel: its address is the routing key. Without an exchange it is a queue alone."""

    address: str
    exchange: str
    messages: tuple[str, ...]
    choices: tuple[str, ...] = ()  # of its parameter


class Operation(msgspec.Struct, frozen=True):
    """What a program outside of the controller does."""

    who: str
    channel: str
    messages: tuple[str, ...]
    sends: bool = False


CHANNELS = {
    "orders": Channel(topology.orders_queue("{queue}"), topology.ORDERS, ("RunStep",)),
    "results": Channel(
        f"{topology.RESULTS}.{{partition}}", topology.RESULTS, ("StepReport", "Beat")
    ),
    "inbox": Channel(f"{topology.INBOX}.{{partition}}", topology.INBOX, _COMMANDS),
    "announcements": Channel(
        "worker.{sign}", topology.FLEET, ("WorkerHello", "WorkerBeat", "WorkerBye"), _SIGNS
    ),
    "cancellations": Channel("step.cancel", topology.CONTROL, ("CancelStep",)),
    "calls": Channel("worker.call", topology.CONTROL, ("CallWorkers",)),
    "advice": Channel("worker.advise", topology.CONTROL, ("AdviseWorker",)),
    "replies": Channel(topology.reply_queue("{client}"), "", ("CommandReply", "JobOutcome")),
    "events": Channel("{event}", topology.EVENTS, _NOTICES, tuple(KEYS.values())),
    "quarantine": Channel(topology.QUARANTINE, "", ("Quarantined",)),
    "poison": Channel(topology.POISON, "", ("RunStep",)),
}
OPERATIONS = {
    "takeOrder": Operation("worker", "orders", ("RunStep",)),
    "sendReport": Operation("worker", "results", ("StepReport",), sends=True),
    "sendBeat": Operation("worker", "results", ("Beat",), sends=True),
    "announce": Operation(
        "worker", "announcements", CHANNELS["announcements"].messages, sends=True
    ),
    "hearCancellation": Operation("worker", "cancellations", ("CancelStep",)),
    "hearCall": Operation("worker", "calls", ("CallWorkers",)),
    "hearAdvice": Operation("worker", "advice", ("AdviseWorker",)),
    "sendCommand": Operation("client", "inbox", _COMMANDS, sends=True),
    "hearReply": Operation("client", "replies", CHANNELS["replies"].messages),
    "hearEvent": Operation("subscriber", "events", _NOTICES),
    "inspect": Operation("operator", "quarantine", ("Quarantined",)),
}


def asyncapi(words: Words, types: list[type[Message]]) -> dict[str, Any]:
    """Return the whole document."""
    messages = {kind.__name__: _message(kind, words) for kind in types}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Warrener",
            "version": f"{PROTOCOL_VERSION}.0.0",
            "description": words["info"],
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(words["servers"]),
        "channels": {name: _channel(name, channel, words) for name, channel in CHANNELS.items()},
        "operations": {name: _operation(name, op, words) for name, op in OPERATIONS.items()},
        "components": {
            "messages": {**messages, "Quarantined": _quarantined(words["headers"])},
            "messageTraits": {"transported": {"description": words["properties"]}},
            "securitySchemes": {"login": {"type": "userPassword"}},
        },
        "x-message-bytes-max": MESSAGE_BYTES_MAX,
    }


def as_yaml(document: dict[str, Any]) -> str:
    """Return the document as text, in the order that it has."""
    head = "# Made by make_schemas.py; do not edit.\n"
    return head + yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )


class _Dumper(yaml.SafeDumper):
    """Writes longer texts as blocks, and repeats what is there twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def text(self, data: str) -> yaml.ScalarNode:
        style = "|" if "\n" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)


_Dumper.add_representer(str, _Dumper.text)


def _servers(words: Words) -> dict[str, Any]:
    common = {"protocolVersion": "0-9-1", "security": [_reference("securitySchemes", "login")]}
    return {
        "plain": {
            "host": "{host}:5672",
            "protocol": "amqp",
            "description": words["plain"],
            "variables": {"host": {"default": "localhost"}},
            **common,
        },
        "tls": {
            "host": "{host}:5671",
            "protocol": "amqps",
            "description": words["tls"],
            "variables": {"host": {"default": "localhost"}},
            **common,
        },
    }


def _message(kind: type[Message], words: Words) -> dict[str, Any]:
    name = kind.__name__
    return {
        "name": name,
        "title": words["senders"][name],
        "description": _unindented(kind.__doc__ or ""),
        **(
            {"headers": _headers(traceparent=words["headers"]["traceparent"])}
            if name == "RunStep"
            else {}
        ),
        "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": {"$ref": f"schemas/{name}.json"}},
        "examples": [{"payload": words["examples"][name]}],
        "traits": [_reference("messageTraits", "transported")],
        "x-message-id": _message_id(name, words),
    }


def _quarantined(words: Words) -> dict[str, Any]:
    headers = {topology.REASON_HEADER: words["reason"], topology.SOURCE_HEADER: words["source"]}
    return {
        "title": "anything",
        "description": "What nobody understood, as it came.",
        "headers": _headers(**headers),
        "payload": {},
    }


def _headers(**words: str) -> dict[str, Any]:
    fields = {name: {"type": "string", "description": text} for name, text in words.items()}
    return {"type": "object", "properties": fields}


def _message_id(name: str, words: Words) -> str:
    if name not in _MESSAGE_IDS:
        return str(words["message_ids"][name])
    return ids.message_id("{step}", "{attempt}", _MESSAGE_IDS[name])  # type: ignore[arg-type]


def _channel(name: str, channel: Channel, words: Words) -> dict[str, Any]:
    found = {
        "address": channel.address,
        "description": words["channels"][name],
        "messages": {kind: _reference("messages", kind) for kind in channel.messages},
        "bindings": {"amqp": {**_binding(channel), "bindingVersion": AMQP}},
    }
    parameters = {
        parameter: _parameter(parameter, channel, words)
        for parameter in _PARAMETER.findall(channel.address)
    }
    if parameters:
        found["parameters"] = parameters
    if channel.exchange == topology.CONTROL:
        found["x-queue"] = _own_queue(topology.worker_queue("{worker}"))
    elif topology.exchange_of(channel.address):
        found["x-queue"] = _queue(channel.address)
    return found


def _parameter(name: str, channel: Channel, words: Words) -> dict[str, Any]:
    text = words["parameters"][name]
    if name == "queue":
        text += f" Matches {topology.QUEUE_NAME.pattern.removesuffix(chr(92) + 'Z')}"
    return {"description": text} | ({"enum": list(channel.choices)} if channel.choices else {})


def _binding(channel: Channel) -> dict[str, Any]:
    if channel.exchange:
        exchange = _EXCHANGES[channel.exchange]
        shape = {"name": exchange.name, "type": exchange.kind, "durable": True, "autoDelete": False}
        return {"is": "routingKey", "exchange": shape}
    if topology.is_temporary(channel.address):
        return {"is": "queue", "queue": _own_queue(channel.address)}
    shape = {"name": channel.address, "durable": True, "exclusive": False, "autoDelete": False}
    return {"is": "queue", "queue": shape}


def _own_queue(name: str) -> dict[str, Any]:
    """Return a temporary queue, which a worker or client makes for itself."""
    return {"name": name, "durable": False, "exclusive": True, "autoDelete": True}


def _queue(name: str) -> dict[str, Any]:
    """Return the durable queue behind a channel, which `warrener broker declare` makes."""
    queue = topology.durable_queue(name)
    found = {"name": queue.name, "exchange": queue.exchange, "routingKey": queue.name}
    return found | ({"deadLetterExchange": queue.dead_letter} if queue.dead_letter else {})


def _operation(name: str, operation: Operation, words: Words) -> dict[str, Any]:
    found = {
        "action": "send" if operation.sends else "receive",
        "channel": {"$ref": f"#/channels/{operation.channel}"},
        "description": words["operations"][name],
        "tags": [{"name": operation.who}],
        "messages": [_of_channel(operation.channel, kind) for kind in operation.messages],
        "bindings": {"amqp": {**_delivery(operation), "bindingVersion": AMQP}},
    }
    if name == "takeOrder":
        found["reply"] = _reply("results", "StepReport")
    if name == "sendCommand":
        found["reply"] = _reply("replies", *CHANNELS["replies"].messages)
    return found


def _delivery(operation: Operation) -> dict[str, Any]:
    channel = CHANNELS[operation.channel]
    if not operation.sends:
        return {"ack": channel.exchange == topology.ORDERS or operation.who == "operator"}
    return {"deliveryMode": 2, "mandatory": _EXCHANGES[channel.exchange].kind == "direct"}


def _reply(channel: str, *messages: str) -> dict[str, Any]:
    return {
        "address": {"location": "$message.payload#/reply_to"},
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [_of_channel(channel, kind) for kind in messages],
    }


def _of_channel(channel: str, message: str) -> dict[str, str]:
    return {"$ref": f"#/channels/{channel}/messages/{message}"}


def _reference(section: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{section}/{name}"}


def _unindented(text: str) -> str:
    return re.sub(r"\n[ \t]+", "\n", text).strip()
