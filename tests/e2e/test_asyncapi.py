"""The AsyncAPI document fits the schema that AsyncAPI itself publishes."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from support.node import install

ROOT = Path(__file__).parents[2]
DOCUMENT = yaml.safe_load((ROOT / "ops" / "protocol" / "asyncapi.yaml").read_text("utf-8"))


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> jsonschema.Draft7Validator:
    package = ROOT / "tests" / "support" / "asyncapi"
    folder = install(package, tmp_path_factory.mktemp("npm") / "asyncapi")
    schemas = folder / "node_modules" / "@asyncapi" / "specs" / "schemas"
    return jsonschema.Draft7Validator(json.loads((schemas / "3.0.0-without-$id.json").read_text()))


def test_the_document_is_valid_asyncapi(official):
    assert [error.message for error in official.iter_errors(DOCUMENT)] == []


def test_that_schema_would_find_a_wrong_operation(official):
    wrong = copy.deepcopy(DOCUMENT)
    wrong["operations"]["takeOrder"]["action"] = "take"

    assert not official.is_valid(wrong)


def test_that_schema_would_find_a_wrong_binding(official):
    wrong = copy.deepcopy(DOCUMENT)
    wrong["channels"]["orders"]["bindings"]["amqp"]["is"] = "exchange"

    assert not official.is_valid(wrong)
