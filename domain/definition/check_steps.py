"""Checks of the form of a step: names, bounds, and what does not go together."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any

import msgspec

from warrener.domain.definition.durations import SECONDS_MAX
from warrener.domain.definition.findings import Findings, is_whole, matches, shown, unknown_hint
from warrener.domain.definition.model import Join, RetryRule, StepDefinition

NAME_LENGTH_MAX = 100
ENDPOINT_NAME_LENGTH_MAX = 200
WINDOW_MAX = 100_000
RULES_MAX = 50
ATTEMPTS_MAX = 1_000_000
STEP_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
JOB_NAME = re.compile(r"[a-z][a-z0-9-]*", re.ASCII)
ENDPOINT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
QUEUE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*%", re.ASCII)
_KINDS = "call: an endpoint, job: a sub-job, or set: values"


def check_step(
    findings: Findings,
    name: str,
    step: StepDefinition,
    endpoints: Collection[str] | None,
    jobs: Collection[str] | None,
) -> None:
    """Note what is wrong with a step's form."""
    path = f"steps.{name}"
    if not matches(STEP_NAME, name, NAME_LENGTH_MAX):
        findings.add(
            path,
            f"{shown(name)!r} is not a name of a step",
            f"use small letters, digits and _, beginning with a letter, at most {NAME_LENGTH_MAX}",
        )
    _check_kind(findings, path, step)
    _check_targets(findings, path, step, endpoints, jobs)
    _check_fan_out(findings, path, step)
    _check_retry(findings, path, step)


def _check_kind(findings: Findings, path: str, step: StepDefinition) -> None:
    is_set = step.sets is not msgspec.UNSET
    kinds = [
        word
        for word, given in (
            ("call", step.call is not None),
            ("job", step.job is not None),
            ("set", is_set),
        )
        if given
    ]
    if not kinds:
        findings.add(path, "the step does nothing", f"say one of {_KINDS}")
    elif len(kinds) > 1:
        findings.add(path, f"the step has {' and '.join(kinds)}", f"say only one of {_KINDS}")
    if is_set and step.with_:
        findings.add(f"{path}.with", "with has no meaning on a set: step", "write it into set:")
    if step.queue is not None and step.call is None:
        findings.add(f"{path}.queue", "queue goes with call: only")
    if step.version is not None and step.job is None:
        findings.add(f"{path}.version", "version goes with job: only")
    elif step.version is not None and not is_whole(step.version, 1, 2**31):
        findings.add(f"{path}.version", "the version must be a whole number from 1")


def _check_targets(
    findings: Findings,
    path: str,
    step: StepDefinition,
    endpoints: Collection[str] | None,
    jobs: Collection[str] | None,
) -> None:
    call, job = step.call, step.job
    if call is not None and not matches(ENDPOINT_NAME, call, ENDPOINT_NAME_LENGTH_MAX):
        findings.add(
            f"{path}.call", f"{shown(call)!r} is not a name of an endpoint", "such as crm.load"
        )
    elif call is not None and endpoints is not None and call not in endpoints:
        hint = unknown_hint(call, endpoints) or "name the modules that define it with endpoints:"
        findings.add(f"{path}.call", f"unknown endpoint {call}", hint)
    if job is not None and not matches(JOB_NAME, job, NAME_LENGTH_MAX):
        findings.add(
            f"{path}.job",
            f"{shown(job)!r} is not a name of a job",
            "use small letters, digits and -, beginning with a letter",
        )
    elif job is not None and jobs is not None and job not in jobs:
        findings.add(f"{path}.job", f"unknown job {job}", unknown_hint(job, jobs))
    if step.queue is not None and not matches(QUEUE_NAME, step.queue, NAME_LENGTH_MAX):
        findings.add(f"{path}.queue", f"{shown(step.queue)!r} is not a name of a queue")


def _check_fan_out(findings: Findings, path: str, step: StepDefinition) -> None:
    if step.for_each is not None and step.sets is not msgspec.UNSET:
        findings.add(
            f"{path}.for_each",
            "for_each cannot stand on a set: step",
            "use it on call: or job:, or compute the list with .map(x, ...)",
        )
    for field in ("window", "tolerate"):
        if getattr(step, field) is not None and step.for_each is None:
            findings.add(f"{path}.{field}", f"{field} goes with for_each only")
    if step.window is not None and not is_whole(step.window, 1, WINDOW_MAX):
        findings.add(f"{path}.window", f"the window must be a whole number from 1 to {WINDOW_MAX}")
    if step.tolerate is not None and not _is_tolerance(step.tolerate):
        findings.add(
            f"{path}.tolerate",
            f"{shown(step.tolerate)!r} does not say how many items may fail",
            "write a count such as 3, or a share from 0% to 100%",
        )


def _is_tolerance(value: Any) -> bool:
    if isinstance(value, str):
        found = _SHARE.fullmatch(value)
        return found is not None and float(found.group(1)) <= 100
    return is_whole(value, 0, 10**9)


def check_join(findings: Findings, name: str, step: StepDefinition, depends: bool) -> None:
    """Note a join, or what goes with one, that makes no sense on a step."""
    path = f"steps.{name}"
    if not depends and step.join not in (Join.ALL_OK, Join.ALL_DONE):
        findings.add(
            f"{path}.join",
            f"{step.join} on a step that depends on none",
            "name its dependencies with after: or read a result",
        )
    if step.cancel_rest and (step.join == Join.ALL_DONE or not depends):
        reason = "all_done waits for all" if depends else "the step depends on none"
        findings.add(f"{path}.cancel_rest", f"there is no rest to cancel: {reason}")


def _check_retry(findings: Findings, path: str, step: StepDefinition) -> None:
    if step.retry is None:
        return
    path = f"{path}.retry"
    if step.call is None:
        findings.add(path, "retry goes with call: only", "the steps of a sub-job retry themselves")
    if len(step.retry) > RULES_MAX:
        findings.add(path, f"{len(step.retry)} rules are over the limit of {RULES_MAX}")
    for number, rule in enumerate(step.retry[:RULES_MAX]):
        _check_rule(findings, f"{path}[{number}]", rule)


def _check_rule(findings: Findings, path: str, rule: RetryRule) -> None:
    if not isinstance(rule.on, str) or not rule.on or len(rule.on) > NAME_LENGTH_MAX:
        findings.add(f"{path}.on", "on must be an error code, the name of an exception, or *")
    if rule.max is not None and not is_whole(rule.max, 1, ATTEMPTS_MAX):
        findings.add(
            f"{path}.max",
            f"max must be a whole number from 1 to {ATTEMPTS_MAX}",
            "it counts attempts, the first one included; never again is `retry: never`",
        )
    for field in ("first", "cap"):
        if not _is_number(getattr(rule, field), 0, SECONDS_MAX):
            findings.add(f"{path}.{field}", f"{field} must be a duration from 0 to 100 years")
    if not _is_number(rule.factor, 1, 1000):
        findings.add(f"{path}.factor", "factor must be a number from 1 to 1000")


def _is_number(value: Any, lowest: float, highest: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and lowest <= value <= highest
