"""Checks of the form of a step: names, bounds, and what does not go together."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import msgspec

from warrener.domain.definition.check_words import check_words
from warrener.domain.definition.findings import Findings, is_whole, matches, shown, unknown_hint
from warrener.domain.definition.model import Join, StepDefinition
from warrener.domain.definition.names import (
    ENDPOINT_NAME,
    ENDPOINT_NAME_LENGTH_MAX,
    JOB_NAME,
    NAME_LENGTH_MAX,
    STEP_NAME,
    check_plain_name,
)

WINDOW_MAX = 100_000
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*%", re.ASCII)
_KINDS = "call: an endpoint, job: a sub-job, wait: a signal, sleep: a time, or set: values"
_WITHOUT_WORK = {
    "set": "write it into set:",
    "wait": "what comes with the signal is the result",
    "sleep": "say how long in sleep: itself",
}
_FOR_EACH_HINTS = {
    "set": "use it on call: or job:, or compute the list with .map(x, ...)",
    "wait": "use it on job:, with the wait in the sub-job",
    "sleep": "use it on job:, with the sleep in the sub-job",
}
_DEFAULTS = StepDefinition()
_GOES_WITH = {  # what stands on steps of these kinds only
    "queue": (("call",), ""),
    "version": (("job",), ""),
    "retry": (("call",), "the steps of a sub-job retry themselves"),
    "limits": (("call",), "put them on the steps that call the endpoints"),
    "on_user_action": (("call",), "a wait: step has expire: for this"),
    "timeout": (("call", "job"), "a wait: step has expire: for this"),
    "compensate": (("call", "job"), "only what was done can be undone"),
}


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
    kinds = _kinds(step)
    _check_kind(findings, path, step, kinds)
    _check_company(findings, path, step, kinds)
    _check_targets(findings, path, step, endpoints, jobs)
    _check_fan_out(findings, path, step)
    _check_always(findings, path, step)
    check_words(findings, path, step)


def _kinds(step: StepDefinition) -> list[str]:
    given = {
        "call": step.call is not None,
        "job": step.job is not None,
        "wait": step.wait is not None,
        "sleep": step.sleep is not None,
        "set": step.sets is not msgspec.UNSET,
    }
    return [kind for kind, is_given in given.items() if is_given]


def _check_kind(findings: Findings, path: str, step: StepDefinition, kinds: list[str]) -> None:
    if not kinds:
        findings.add(path, "the step does nothing", f"say one of {_KINDS}")
    elif len(kinds) > 1:
        findings.add(path, f"the step has {' and '.join(kinds)}", f"say only one of {_KINDS}")
    if step.version is not None and step.job and not is_whole(step.version, 1, 2**31):
        findings.add(f"{path}.version", "the version must be a whole number from 1")


def _check_company(findings: Findings, path: str, step: StepDefinition, kinds: list[str]) -> None:
    """Note what does not go with the kind of a step."""
    for kind in kinds:
        if kind in _WITHOUT_WORK and step.with_:
            text = f"with has no meaning on a {kind}: step"
            findings.add(f"{path}.with", text, _WITHOUT_WORK[kind])
        if kind in _FOR_EACH_HINTS and step.for_each is not None:
            text = f"for_each cannot stand on a {kind}: step"
            findings.add(f"{path}.for_each", text, _FOR_EACH_HINTS[kind])
    for field, (company, hint) in _GOES_WITH.items():
        given = getattr(step, field) != getattr(_DEFAULTS, field)
        if given and not set(company).intersection(kinds):
            known = " or ".join(f"{kind}:" for kind in company)
            findings.add(f"{path}.{field}", f"{field} goes with {known} only", hint)


def _check_targets(
    findings: Findings,
    path: str,
    step: StepDefinition,
    endpoints: Collection[str] | None,
    jobs: Collection[str] | None,
) -> None:
    for field in ("call", "compensate"):
        _check_endpoint(findings, f"{path}.{field}", getattr(step, field), endpoints)
    job = step.job
    if job is not None and not matches(JOB_NAME, job, NAME_LENGTH_MAX):
        findings.add(
            f"{path}.job",
            f"{shown(job)!r} is not a name of a job",
            "use small letters, digits and -, beginning with a letter",
        )
    elif job is not None and jobs is not None and job not in jobs:
        findings.add(f"{path}.job", f"unknown job {job}", unknown_hint(job, jobs))
    if step.queue is not None:
        check_plain_name(findings, f"{path}.queue", step.queue, "queue")


def _check_endpoint(
    findings: Findings, path: str, name: str | None, endpoints: Collection[str] | None
) -> None:
    if name is None:
        return
    if not matches(ENDPOINT_NAME, name, ENDPOINT_NAME_LENGTH_MAX):
        findings.add(path, f"{shown(name)!r} is not a name of an endpoint", "such as crm.load")
    elif endpoints is not None and name not in endpoints:
        hint = unknown_hint(name, endpoints) or "name the modules that define it with endpoints:"
        findings.add(path, f"unknown endpoint {name}", hint)


def _check_fan_out(findings: Findings, path: str, step: StepDefinition) -> None:
    if step.for_each is not None and step.compensate is not None:
        findings.add(
            f"{path}.compensate",
            "compensate cannot stand on a fan-out",
            "put it on the steps of a sub-job, and start that with for_each",
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


def _check_always(findings: Findings, path: str, step: StepDefinition) -> None:
    """Note what makes no sense on a step that runs when all else has ended, whatever happened."""
    if not step.always:
        return
    if step.join != Join.ALL_OK:
        text = f"join: {step.join} on a step that runs always"
        findings.add(f"{path}.join", text, "leave join out: it runs whatever happened")
    if step.cancel_rest:
        text = "there is no rest to cancel: when an always step begins, all else has ended"
        findings.add(f"{path}.cancel_rest", text)
    if step.catch:
        text = "catch on a step that runs always: nothing comes after it that could answer"
        findings.add(f"{path}.catch", text, "say may_fail: true, or let another always step follow")
    if step.compensate is not None:
        text = "compensate on a step that runs always: it begins when all was undone already"
        findings.add(f"{path}.compensate", text, "undo it in another always step")


def check_join(
    findings: Findings, name: str, step: StepDefinition, depends: bool, *, catches: bool = False
) -> None:
    """Note a join, or what goes with one, that makes no sense on a step.

    `depends` tells of steps beside those that it `catches`, which its join does not count.
    """
    if step.always:
        return
    path = f"steps.{name}"
    others = "no other than those it answers for" if catches else "none"
    if not depends and step.join not in (Join.ALL_OK, Join.ALL_DONE):
        findings.add(
            f"{path}.join",
            f"{step.join} on a step that depends on {others}",
            "name its dependencies with after: or read a result",
        )
    if step.cancel_rest and (step.join == Join.ALL_DONE or not depends):
        reason = "all_done waits for all" if depends else f"the step depends on {others}"
        findings.add(f"{path}.cancel_rest", f"there is no rest to cancel: {reason}")
