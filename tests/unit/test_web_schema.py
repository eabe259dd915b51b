"""The OpenAPI document against the service: no fault, and nothing that it does not tell of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.scale import scaled
from support.web import API, Fleet, Served, driven, fill, served, settings_of

CASES = scaled(300)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ENDLESS = f"{API}/stream"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("web")
    with driven(settings_of(folder)) as driver:
        jobs = fill(driver)
    with served(settings_of(folder), fleet=Fleet()) as found:
        known = {
            "job": [str(job) for job in jobs.values()],
            "path": ["load", "groups", "groups[1]", "merge"],
            "step": ["groups", "load"],
            "action": [found.get("/actions")["items"][0]["request"]],
            "content_hash": [each["hash"] for each in found.get("/definitions")["items"]],
        }
        yield found, known


def test_no_request_makes_a_fault_or_gets_an_answer_that_is_not_described(
    web: tuple[Served, dict[str, Any]],
) -> None:
    service, known = web
    schema = schemathesis.openapi.from_url(f"{service.url}/schema")
    headers = service.bearer("tester", "operator")
    operations = [each.ok() for each in schema.get_all_operations() if each.ok().path != ENDLESS]
    assert len(operations) > 30
    seen: dict[int, int] = {}

    @settings(
        max_examples=CASES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        database=None,
    )
    @given(strategies.data())
    def check(data: strategies.DataObject) -> None:
        operation = data.draw(strategies.sampled_from(operations))
        case = data.draw(operation.as_strategy())
        for name, values in known.items():
            if name in case.path_parameters and data.draw(strategies.integers(0, 3)):
                case.path_parameters[name] = data.draw(strategies.sampled_from(values))
        answer = case.call(headers=headers)
        seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
        case.validate_response(answer, checks=CHECKS)

    check()

    print(f"{CASES} cases: {dict(sorted(seen.items()))}")
    assert seen[200] > CASES / 10
