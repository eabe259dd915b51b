"""Retry rules on their own, as they stand in a definition under `retry:`."""

from __future__ import annotations

from typing import Any

import msgspec

from warrener.domain.definition.check import check
from warrener.domain.definition.findings import Findings
from warrener.domain.definition.model import RetryRule
from warrener.domain.definition.reader import read_job
from warrener.domain.errors import DefinitionError

_AROUND = "steps.step."


def retry_rules(value: Any) -> tuple[RetryRule, ...]:
    """Return the rules that a plain value describes; raises `DefinitionError`."""
    findings = Findings()
    around = {"job": "job", "steps": {"step": {"call": "any", "retry": value}}}
    definition = read_job(findings, around)
    problems = findings.all() if definition is None else check(definition)
    if problems or definition is None:
        raise DefinitionError(
            [
                msgspec.structs.replace(problem, path=problem.path.removeprefix(_AROUND))
                for problem in problems
            ]
        )
    return definition.steps["step"].retry or ()
