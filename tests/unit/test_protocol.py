"""The protocol as it is written down is the one that the program speaks."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scale import scaled
from support.wire import TYPES, examples, mutated

from warrener.domain import topology
from warrener.domain.messages import Error, StepReport, decoder

FOLDER = Path(__file__).parents[2] / "ops" / "protocol"
DOCUMENT = yaml.safe_load((FOLDER / "asyncapi.yaml").read_text("utf-8"))
WORKER_MESSAGES = {
    "RunStep",
    "StepReport",
    "Beat",
    "WorkerHello",
    "WorkerBeat",
    "WorkerBye",
    "CancelStep",
    "CallWorkers",
    "AdviseWorker",
}
FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def is_time(value: Any) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@cache
def validator(name: str) -> jsonschema.Draft7Validator:
    schema = json.loads((FOLDER / "schemas" / f"{name}.json").read_text("utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema, format_checker=FORMATS)


@cache
def decode(name: str) -> Any:
    return decoder(TYPES[name])


def references(value: Any) -> list[str]:
    """Return all references in a document."""
    if isinstance(value, list):
        return [found for inner in value for found in references(inner)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return own + [found for inner in value.values() for found in references(inner)]


def target(reference: str) -> Any:
    """Return what a reference points to, in this document or in a file beside it."""
    if not reference.startswith("#/"):
        return json.loads((FOLDER / reference).read_text("utf-8"))
    found = DOCUMENT
    for part in reference[2:].split("/"):
        found = found[part]
    return found


# --- the files ------------------------------------------------------------------------------------


def test_what_is_committed_is_what_the_types_give():
    command = [sys.executable, str(FOLDER / "make_schemas.py"), "--check"]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_type_of_message_has_a_schema_and_a_place_in_the_document():
    assert {path.stem for path in (FOLDER / "schemas").iterdir()} == set(TYPES)
    assert set(DOCUMENT["components"]["messages"]) == {*TYPES, "Quarantined"}


def test_every_field_is_described():
    for name in TYPES:
        schema = validator(name).schema
        for part in (schema, *schema.get("definitions", {}).values()):
            fields = part["properties"].values() if "properties" in part else part["items"]
            assert all(field["description"] for field in fields)


# --- schemas and decoders agree -------------------------------------------------------------------


@settings(max_examples=scaled(300))
@given(st.sampled_from(list(TYPES.values())).flatmap(examples))
def test_what_the_types_allow_fits_the_schema(fields):
    validator(fields["type"]).validate(fields)

    assert type(decode(fields["type"])(json.dumps(fields).encode())) is TYPES[fields["type"]]


@settings(max_examples=scaled(1_000))
@given(mutated())
def test_what_does_not_fit_the_schema_is_refused_by_the_decoder(body):
    fields = json.loads(body)
    name = fields.get("type")
    if not isinstance(name, str) or name not in TYPES or validator(name).is_valid(fields):
        return

    with pytest.raises(msgspec.MsgspecError):
        decode(name)(body)


@pytest.mark.parametrize("name", TYPES)
def test_the_example_in_the_document_is_a_message(name):
    (example,) = DOCUMENT["components"]["messages"][name]["examples"]

    validator(name).validate(example["payload"])

    assert decode(name)(json.dumps(example["payload"]).encode()) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "success"},
        {"attempt": 0},
        {"v": 2},
        {"ended_at": "2024-01-01T00:00:00"},
        {"worker": ""},
        {"error": {"code": "error"}},
    ],
)
def test_a_wrong_report_fits_neither_schema_nor_decoder(change):
    (example,) = DOCUMENT["components"]["messages"]["StepReport"]["examples"]
    fields = {**example["payload"], **change}

    assert not validator("StepReport").is_valid(fields)
    with pytest.raises(msgspec.MsgspecError):
        decode("StepReport")(json.dumps(fields).encode())


def test_what_the_program_sends_fits_the_schema():
    (example,) = DOCUMENT["components"]["messages"]["StepReport"]["examples"]
    sent = decoder(StepReport)(json.dumps(example["payload"]).encode())
    error = Error(code="c", message="m", path="a/b")

    for report in (sent, msgspec.structs.replace(sent, error=error, retry_after=0.5)):
        validator("StepReport").validate(msgspec.json.decode(msgspec.json.encode(report)))


# --- the document ---------------------------------------------------------------------------------


def test_every_reference_of_the_document_leads_somewhere():
    found = references(DOCUMENT)

    assert len(found) > 60
    assert all(target(reference) is not None for reference in found)


def test_the_document_has_what_asyncapi_3_asks_for():
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    assert all({"host", "protocol"} <= server.keys() for server in DOCUMENT["servers"].values())
    assert all({"address", "messages"} <= found.keys() for found in DOCUMENT["channels"].values())
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in {"send", "receive"}
        channel = operation["channel"]["$ref"]
        assert all(
            found.startswith(f"{channel}/messages/") for found in references(operation["messages"])
        )


def test_a_worker_finds_every_message_that_it_needs():
    mine = [o for o in DOCUMENT["operations"].values() if o["tags"] == [{"name": "worker"}]]
    names = {ref.rsplit("/", 1)[1] for o in mine for ref in references(o["messages"])}

    schemas = [
        ref for name in names for ref in references(DOCUMENT["components"]["messages"][name])
    ]

    assert names == WORKER_MESSAGES
    assert {f"schemas/{name}.json" for name in WORKER_MESSAGES} <= set(schemas)


def test_every_exchange_and_durable_queue_of_the_topology_is_there():
    bindings = [found["bindings"]["amqp"] for found in DOCUMENT["channels"].values()]
    exchanges = {b["exchange"]["name"]: b["exchange"]["type"] for b in bindings if "exchange" in b}
    queues = {
        found["x-queue"]["name"] for found in DOCUMENT["channels"].values() if "x-queue" in found
    }
    queues = {name.format(partition=0, queue="default", worker="w") for name in queues}

    assert queues == {q.name for q in topology.topology()} | {topology.worker_queue("w")}
    assert exchanges == {e.name: e.kind for e in topology.EXCHANGES if e.kind != "fanout"}


def test_reports_are_confirmed_messages_and_orders_are_acknowledged():
    operations = {name: o["bindings"]["amqp"] for name, o in DOCUMENT["operations"].items()}

    assert operations["takeOrder"]["ack"] is True
    assert operations["sendReport"]["mandatory"] is True
    assert operations["sendReport"]["deliveryMode"] == 2
