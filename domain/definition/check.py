"""Checking a definition: every problem, with its place and what to do about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from warrener.domain.definition.check_graph import GraphCheck
from warrener.domain.definition.check_params import check_schema, validate_params
from warrener.domain.definition.check_steps import check_step
from warrener.domain.definition.check_words import check_seconds
from warrener.domain.definition.findings import Findings, is_whole, matches, shown
from warrener.domain.definition.model import JobDefinition
from warrener.domain.definition.names import JOB_NAME, NAME_LENGTH_MAX
from warrener.domain.errors import Problem

__all__ = ["check", "validate_params"]

STEPS_MAX = 10_000
BYTES_MAX = 4 * 1024 * 1024
DEPTH_MAX = 1000
TREE_STEPS_MAX = 100_000_000


def check(
    definition: JobDefinition,
    places: Mapping[str, int] | None = None,
    file: str = "",
    endpoints: Collection[str] | None = None,
    jobs: Collection[str] | None = None,
) -> list[Problem]:
    """Return every problem of a definition, in the order of the lines; empty if it is valid.

    `places` maps paths such as `steps.merge.with` to lines. Names of endpoints and sub-jobs are
    looked up in `endpoints` and `jobs` where these are given.
    """
    findings = Findings(places, file)
    _check_head(findings, definition)
    if len(definition.steps) > STEPS_MAX:
        text = f"{len(definition.steps)} steps are over the limit of {STEPS_MAX}"
        findings.add("steps", text, "use for_each, or sub-jobs")
        return findings.all()
    check_schema(findings, definition.params)
    for name, step in definition.steps.items():
        check_step(findings, name, step, endpoints, jobs)
    GraphCheck(findings, definition).run()
    if not findings.problems:
        _check_size(findings, definition)
    return findings.all()


def _check_head(findings: Findings, definition: JobDefinition) -> None:
    if not matches(JOB_NAME, definition.name, NAME_LENGTH_MAX):
        findings.add(
            "job",
            f"{shown(definition.name)!r} is not a name of a job",
            f"use small letters, digits and -, beginning with a letter, at most {NAME_LENGTH_MAX}",
        )
    if not is_whole(definition.version, 1, 2**31):
        findings.add("version", "the version must be a whole number from 1")
    if not is_whole(definition.budget.depth, 0, DEPTH_MAX):
        findings.add("budget.depth", f"depth must be a whole number from 0 to {DEPTH_MAX}")
    if not is_whole(definition.budget.steps, 1, TREE_STEPS_MAX):
        findings.add("budget.steps", f"steps must be a whole number from 1 to {TREE_STEPS_MAX}")
    check_seconds(findings, "deadline", definition.deadline)
    if not definition.steps:
        findings.add("steps", "the job has no steps")


def _check_size(findings: Findings, definition: JobDefinition) -> None:
    try:
        size = len(definition.to_json())
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        findings.add("", f"the definition is not JSON: {error}")
        return
    if size > BYTES_MAX:
        findings.add("", f"{size} bytes are over the limit of {BYTES_MAX} bytes for a definition")
