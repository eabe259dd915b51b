"""Nothing that is a secret by the rules leaves the store in a history file; all else does."""

from __future__ import annotations

import io
import json
import time
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from support.driving import Driver
from support.everything import run
from support.history_files import MADE_AT, MADE_BY, exported, imported, queries_of
from support.scale import scaled
from support.wire import JSON_VALUES

from warrener.adapters.codec import TOPICS, EventMapper
from warrener.domain.control_events import FlowSampled, StarvationEvent
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import UsageError
from warrener.domain.events import DefinitionStored, Error, JobSubmitted
from warrener.domain.payloads import Payload, to_payload
from warrener.domain.ports import Positioned
from warrener.services.histories.export import Exporter, Source
from warrener.services.histories.file_format import Header
from warrener.services.histories.redact import HANDLERS
from warrener.services.histories.rules import MARK, Rules
from warrener.services.histories.values import Seen, Values

# Names, ids, states, numbers and times: nothing of them is ever taken out.
KEPT = (
    "archive at attempt begun below budget burst caught child children cleaned cleaning"
    " closing count deadline definition depth digest due edges ended_at endpoint endpoints fan_outs"
    " generation hash job library name number parent params_digest path priority progress queue"
    " rate readied request retry root rule selection settled shared signal slots started_at step"
    " steps tolerated topic traceparent until version window worker"
)
BY_THEMSELVES = {"json", "token"}  # of definitions and attempts
KEYS = ("password", "API_KEY", "client-secret", "accessToken", "db_passwd", "Authorization", "iban")
SHAPED = (
    "Bearer {}",
    "Basic {}",
    "postgres://ada:{}@db.example/jobs",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow{}\n-----END RSA PRIVATE KEY-----",
    "password={}",
    'curl: token: "{}"',
    '{{"db": {{"password": "{}"}}}}',
    '"{{\\\\"secret\\\\": \\\\"{}\\\\"}}"',
    "https://example.com/?access_token={}&page=1",
    "X-Api-Key: {}",
    "Set-Cookie: id={}; Path=/\n",
)
CODEC = EventMapper()


def cleaned(value: Any, *patterns: str) -> Any:
    return Values(Rules(patterns), Seen()).json(value)


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["pwd", "userPassword", "SecretString", "API-KEY", "x_api_key", "clientSecret"]
)
@pytest.mark.parametrize("value", ["hunter2", 1234, ["a", {"b": "c"}], {"deep": [1.5]}])
def test_what_stands_under_the_key_of_a_secret_is_taken_out_and_keeps_its_shape(
    key: str, value: Any
) -> None:
    found = cleaned({key: value, "left": value})

    assert found["left"] == value
    assert leaves(found[key]) == [MARK] * len(leaves(value))
    assert shape(found[key]) == shape(value)


@pytest.mark.parametrize("value", [None, True, False, "", [], {}])
def test_what_says_nothing_stays_under_the_key_of_a_secret(value: Any) -> None:
    assert cleaned({"password": value}) == {"password": value}


@pytest.mark.parametrize(
    "key", ["tokens", "max_tokens", "token_count", "keyboard", "author", "passenger", "sessions"]
)
def test_keys_that_only_look_like_those_of_secrets_are_left_alone(key: str) -> None:
    assert cleaned({key: "plain text"}) == {key: "plain text"}


@pytest.mark.parametrize("text", SHAPED)
def test_text_that_looks_like_a_secret_is_taken_out_of_any_text(text: str) -> None:
    secret = text.format("s3cr3t-Value.9")

    found = cleaned({"note": [f"before {secret} after"]})["note"][0]

    assert found.startswith("before ")
    assert found.endswith(" after")
    assert MARK in found
    assert "s3cr3t" not in found
    assert not any(word in found for word in ("AKIA", "ghp_", "eyJ", "MIIE"))


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com:8080/a@b",
        "bear market, basic research",
        "the token was refused",
        "mail ada@example.com",
        "eyJ is how they begin",
        "AKIA and ghp_ alone",
    ],
)
def test_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert cleaned([text]) == [text]


def test_patterns_are_names_or_the_ends_of_paths() -> None:
    value = {"customer": {"email": "a@b", "iban": "DE1"}, "email": "c@d", "zip_code": "1"}

    assert cleaned(value, "IBAN")["customer"] == {"email": "a@b", "iban": MARK}
    assert cleaned(value, "*code")["zip_code"] == MARK
    by_path = cleaned([value], "customer.e*")[0]
    assert by_path["customer"]["email"] == MARK
    assert by_path["email"] == "c@d"


@pytest.mark.parametrize("pattern", ["", "  ", "-", "a..b", "x" * 201, "."])
def test_a_pattern_that_says_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError):
        Rules([pattern])


def test_more_patterns_than_anybody_needs_are_refused() -> None:
    with pytest.raises(UsageError, match="over the limit"):
        Rules([f"k{number}" for number in range(201)])


@settings(max_examples=scaled(300))
@given(JSON_VALUES)
def test_values_without_secrets_stay_and_what_is_clean_stays_clean(value: Any) -> None:
    once = cleaned(value)

    assert msgspec.json.encode(cleaned(once)) == msgspec.json.encode(once)
    assert shape(once) == shape(value)


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "eyJ",
        "://a:",
        "password",
        "Bearer ",
        "-----BEGIN PRIVATE KEY-----",
        "sk-",
        "a.",
        "-",
        "=",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (2_000_000 // len(piece))
    begun = time.monotonic()

    cleaned([text])

    assert time.monotonic() - begun < 10


# --- whole histories -----------------------------------------------------------------------------


def test_every_field_of_every_event_is_either_looked_at_or_known_to_have_no_secrets() -> None:
    outside = (FlowSampled, StarvationEvent)  # of no tree
    names = {
        name
        for kind in TOPICS.values()
        if not issubclass(kind, outside)
        for name in kind.__struct_fields__
    }

    assert names == set(HANDLERS) | set(KEPT.split()) | BY_THEMSELVES


@pytest.mark.parametrize("seed", range(scaled(8)))
def test_no_secret_in_whatever_event_of_whatever_history_gets_into_the_file(
    seed: int, tmp_path: Path
) -> None:
    source, chance = world(seed), Random(seed)
    blobs = dict(source.blobs)
    planted: list[str] = []
    events = [spoiled(each, chance, planted, blobs) for each in source.events]

    data = written(Source(source.root, events, blobs.__getitem__, CODEC), Rules(["iban"]))

    assert len(planted) > len(events) / 4
    text = data.decode()
    assert [secret for secret in planted if secret in text] == []
    history = imported(tmp_path / "file", data)
    assert history.header.redaction.values >= len(planted)
    assert queries_of(history.log).show(source.root).state == history.header.state


@pytest.mark.parametrize("seed", range(scaled(8)))
def test_a_history_without_secrets_is_written_as_it_is_but_for_tokens(seed: int) -> None:
    source = world(seed)

    whole = written(Source(source.root, source.events, source.blobs.__getitem__, CODEC), None)
    clean = written(Source(source.root, source.events, source.blobs.__getitem__, CODEC), Rules())

    assert body(clean) == body(whole)


def test_a_secret_is_found_wherever_its_value_went_before_and_after(tmp_path: Path) -> None:
    driver = Driver()
    definition = job(
        first={"call": "a.b", "with": {"login": "${{ params.db.password }}"}},
        second={"call": "a.b", "with": {"key": "${{ steps.first.result }}"}},
        third={"call": "a.b", "with": {"api_key": "${{ steps.first.result }}"}},
    )
    root = driver.submit(definition, {"db": {"password": "hunter2-is-mine"}})
    driver.succeed(driver.order("first"), "key-4711")
    driver.fail(driver.order("second"), "denied for hunter2-is-mine")

    data = exported(driver.store, root, Rules())

    assert b"hunter2" not in data
    assert b"key-4711" not in data
    shown = queries_of(imported(tmp_path / "file", data).log).show(root)
    assert shown.steps["second"].error is not None
    assert shown.steps["second"].error.message == f"denied for {MARK}"


def test_a_definition_loses_its_constants_and_keeps_its_expressions(tmp_path: Path) -> None:
    driver = Driver()
    definition = job(
        token={
            "call": "a.b",
            "with": {
                "password": "constant-1",
                "secret": "${{ params.password }}",
                "header": "Bearer ${{ params.password }}",
                "both": "password=constant-2 ${{ params.password }}",
                "plain": "text",
            },
        },
        params={
            "type": "object",
            "properties": {"password": {"type": "string", "default": "constant-3", "minLength": 3}},
        },
    )
    root = driver.submit(definition, {})

    data = exported(driver.store, root, Rules())

    assert b"constant-" not in data
    history = imported(tmp_path / "file", data)
    assert history.header.redaction.definitions == (definition.hash,)
    read = queries_of(history.log).definition(root)
    assert read.steps["token"].with_ == {
        "password": MARK,
        "secret": "${{ params.password }}",
        "header": "Bearer ${{ params.password }}",
        "both": f"password={MARK} ${{{{ params.password }}}}",
        "plain": "text",
    }
    assert read.params == {
        "type": "object",
        "properties": {"password": {"type": "string", "default": MARK, "minLength": 3}},
    }


def test_a_large_value_gets_another_blob_and_the_parameters_another_digest(tmp_path: Path) -> None:
    driver = Driver()
    big = {"password": "hunter2-is-mine", "rest": "x" * 70_000}
    root = driver.submit(job(first={"call": "a.b", "with": {"all": "${{ params }}"}}), big)
    driver.succeed(driver.order("first"), big)

    data = exported(driver.store, root, Rules())

    assert b"hunter2" not in data
    history = imported(tmp_path / "file", data)
    shown = queries_of(history.log).show(root)
    assert shown.params == {**big, "password": MARK}
    assert shown.steps["first"].result == shown.params
    before, after = (submission(log.read(0, 1_000)) for log in (driver.store, history.log))
    assert after.params != before.params
    assert after.params_digest != before.params_digest


def test_of_a_key_that_is_there_twice_the_first_value_does_not_stay_behind() -> None:
    driver = Driver()
    root = driver.submit(job(first={"call": "a.b"}), {})
    name, report = driver.report(
        driver.order("first"), "succeeded", b'{"password":"hunter2-is-mine","password":null}'
    )
    driver.handle(name, report)

    assert b"hunter2" in exported(driver.store, root)
    assert b"hunter2" not in exported(driver.store, root, Rules())


def test_tokens_of_attempts_are_replaced_by_others_that_are_always_the_same() -> None:
    driver = Driver()
    root = driver.submit(job(first={"call": "a.b"}, second={"call": "a.b"}), {})
    tokens = {order.token for order in driver.orders}

    text = exported(driver.store, root, Rules()).decode()

    assert not any(f'"{token}"' in text for token in tokens)
    lines = [json.loads(line) for line in text.splitlines()]
    found = {line["event"]["token"] for line in lines if "StepReleased" in line.get("topic", "")}
    assert len(found) == len(tokens) == 2
    assert exported(driver.store, root, Rules()).decode() == text


# --- what these tests are made of ----------------------------------------------------------------


class Tree(msgspec.Struct):
    root: UUID
    events: list[Positioned]
    blobs: dict[str, bytes]


@lru_cache(64)
def world(seed: int) -> Tree:
    """Return a tree of a world with much in it."""
    made = run(seed)
    queries = queries_of(made.log)
    trees = [list(queries.tree_events(root)) for root in made.roots]
    number = max(range(len(trees)), key=lambda each: len(trees[each]))
    return Tree(made.roots[number], trees[number], {})


def written(source: Source, rules: Rules | None) -> bytes:
    file = io.BytesIO()
    Exporter(source, rules).write(file, MADE_AT, MADE_BY, compressed=False)
    return file.getvalue()


def body(data: bytes) -> list[Any]:
    lines = [json.loads(line) for line in data.splitlines()[1:-1]]
    for line in lines:
        line.get("event", {}).pop("token", None)
    return lines


def header(data: bytes) -> Header:
    return msgspec.json.decode(data.splitlines()[0], type=Header)


def submission(events: Any) -> JobSubmitted:
    return next(
        each.recorded.event for each in events if isinstance(each.recorded.event, JobSubmitted)
    )


def job(params: dict[str, Any] | None = None, **steps: Any) -> JobDefinition:
    fields = {} if params is None else {"params": params}
    return msgspec.convert({"job": "report", "steps": steps, **fields}, JobDefinition)


def spoiled(
    each: Positioned, chance: Random, planted: list[str], blobs: dict[str, bytes]
) -> Positioned:
    """Return an event with secrets wherever it has room for one."""
    if isinstance(each.recorded.event, DefinitionStored):
        return each
    event = _spoiled(each.recorded.event, chance, planted, blobs)
    return msgspec.structs.replace(
        each, recorded=msgspec.structs.replace(each.recorded, event=event)
    )


def _spoiled(value: Any, chance: Random, planted: list[str], blobs: dict[str, bytes]) -> Any:
    if isinstance(value, Payload):
        kept = msgspec.json.decode(value.json or "null")
        made = hidden(kept, chance, planted)
        payload, more = to_payload(
            msgspec.json.encode(made), 100 if chance.random() < 0.3 else 100_000
        )
        blobs.update(more)
        return payload
    if isinstance(value, Error):
        text = f"it broke: {shaped(chance, planted)}"
        return msgspec.structs.replace(value, message=text, traceback=f"Traceback\n  {text}")
    if isinstance(value, msgspec.Struct):
        changes: dict[str, Any] = {
            name: _spoiled(getattr(value, name), chance, planted, blobs)
            for name in value.__struct_fields__
        }
        for name in ("reason", "note"):
            if name in changes:
                changes[name] = shaped(chance, planted)
        if "labels" in changes:
            changes["labels"] = {"api_key": secret(chance, planted), "team": "web"}
        return msgspec.structs.replace(value, **changes)
    if isinstance(value, dict):
        return {key: _spoiled(inner, chance, planted, blobs) for key, inner in value.items()}
    return value


def hidden(value: Any, chance: Random, planted: list[str]) -> Any:
    """Return a value with a secret somewhere in it; lists keep their length."""
    if isinstance(value, list) and value:
        return [hidden(inner, chance, planted) for inner in value]
    if chance.random() < 0.5:
        return {"value": value, "deep": [{chance.choice(KEYS): secret(chance, planted)}]}
    return {"value": value, "text": shaped(chance, planted)}


def secret(chance: Random, planted: list[str]) -> str:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    made = "".join(chance.choices(letters, k=chance.randint(12, 30)))
    planted.append(made)
    return made


def shaped(chance: Random, planted: list[str]) -> str:
    form = chance.choice([each for each in SHAPED if "{}" in each])
    return form.format(secret(chance, planted))


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner)]
    return [value]


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return [shape(inner) for inner in value.values()]
    return [shape(inner) for inner in value] if isinstance(value, list) else None
