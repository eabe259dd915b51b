"""Plain values of a file to a `JobDefinition`: known keys and right types, else a problem."""

from __future__ import annotations

from typing import Any

from warrener.domain.definition import reader_parts as parts
from warrener.domain.definition.findings import Findings
from warrener.domain.definition.model import (
    Budget,
    Catch,
    JobDefinition,
    Join,
    Limit,
    Need,
    RetryRule,
    StepDefinition,
    Timeout,
    UserActionRule,
    Wait,
)
from warrener.domain.definition.reader_parts import Read


def read_job(findings: Findings, value: Any) -> JobDefinition | None:
    """Return the definition that a document describes, or None and what is wrong with it."""
    before = len(findings.problems)
    shape = "a job is a map with job: and steps:"
    fields = parts.fields(findings, "", value, _JOB, shape, needed=("job", "steps"))
    if len(findings.problems) > before:
        return None
    fields["name"] = fields.pop("job")
    fields.pop("endpoints", None)
    return JobDefinition(**fields)


def endpoint_modules(value: Any) -> tuple[str, ...]:
    """Return the modules that a document, read without problems, names."""
    return tuple(value.get("endpoints", ()))


def _needs(findings: Findings, path: str, value: Any) -> dict[str, Need]:
    if isinstance(value, list):
        return {name: Need() for name in parts.names(findings, path, value)}
    if not isinstance(value, dict):
        parts.wrong(findings, path, value, "a map of names, or a list", "write {name: {when: ...}}")
        return {}
    return {
        name: Need()
        if need is None
        else Need(**parts.fields(findings, f"{path}.{name}", need, _NEED, "write {when: ...}"))
        for name, need in value.items()
    }


def _retry(findings: Findings, path: str, value: Any) -> tuple[RetryRule, ...]:
    if value == "never":
        return ()
    example = "{on: CODE, max: 3}"
    if not isinstance(value, list):
        parts.wrong(findings, path, value, "a list of rules, or never", f"write - {example}")
        return ()
    rules = [
        parts.fields(findings, f"{path}[{number}]", rule, _RULE, f"write {example}")
        for number, rule in enumerate(value)
    ]
    return tuple(RetryRule(**rule) for rule in rules)


def _catch(findings: Findings, path: str, value: Any) -> tuple[Catch, ...]:
    example = "{on: CODE, go: STEP}"
    found = parts.lines(findings, path, value, _CATCH, example, needed="go")
    return tuple(Catch(**rule) for rule in found)


def _limits(findings: Findings, path: str, value: Any) -> tuple[Limit, ...]:
    example = "{name: NAME, rate: 20/min} or {name: NAME, slots: 4}"
    found = parts.lines(findings, path, value, _LIMIT, example, needed="name")
    return tuple(Limit(**limit) for limit in found)


def _timeout(findings: Findings, path: str, value: Any) -> Timeout:
    """Read the four bounds, or one duration, which bounds the run of an attempt."""
    shape = "write such as 60s, or {queue: 10m, run: 60s, beat: 20s, total: 6h}"
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return Timeout(run=parts.duration(findings, path, value))
    return Timeout(**parts.fields(findings, path, value, _TIMEOUT, shape))


def _on_user_action(findings: Findings, path: str, value: Any) -> UserActionRule:
    shape = "write {expire: 14d, remind: 24h, then: retry}"
    return UserActionRule(**parts.fields(findings, path, value, _ON_USER_ACTION, shape))


def _wait(findings: Findings, path: str, value: Any) -> Wait | None:
    """Read what a step waits for: a map, or the name of the signal alone."""
    if isinstance(value, str):
        return Wait(signal=value)
    shape = "write the name of a signal, or {for: NAME, form: SCHEMA, expire: 3d}"
    fields = parts.fields(findings, path, value, _WAIT, shape, needed=("for",))
    return Wait(signal=fields.pop("for"), **fields) if "for" in fields else None


def _budget(findings: Findings, path: str, value: Any) -> Budget:
    shape = "write {depth: 16, steps: 100000}"
    return Budget(**parts.fields(findings, path, value, _BUDGET, shape))


def _join(findings: Findings, path: str, value: Any) -> Join | None:
    text = parts.one_of(*Join)(findings, path, value)
    return None if text is None else Join(text)


def _step(findings: Findings, path: str, value: Any) -> StepDefinition | None:
    before = len(findings.problems)
    shape = "a step is a map with call:, job:, wait:, sleep: or set:"
    fields = parts.fields(findings, path, value, _STEP, shape)
    if len(findings.problems) > before:
        return None
    renamed = {"with": "with_", "set": "sets"}
    return StepDefinition(**{renamed.get(key, key): item for key, item in fields.items()})


def _steps(findings: Findings, path: str, value: Any) -> dict[str, StepDefinition | None]:
    if not isinstance(value, dict):
        parts.wrong(findings, path, value, "a map of steps by name")
        return {}
    return {name: _step(findings, f"{path}.{name}", step) for name, step in value.items()}


_JOB: dict[str, Read] = {
    "job": parts.text,
    "version": parts.whole,
    "params": parts.mapping,
    "budget": _budget,
    "on_failure": parts.one_of("continue", "stop"),
    "deadline": parts.duration,
    "endpoints": parts.names,
    "steps": _steps,
    "result": parts.anything,
}
_BUDGET: dict[str, Read] = {"depth": parts.whole, "steps": parts.whole}
_NEED: dict[str, Read] = {"when": parts.condition}
_RULE: dict[str, Read] = {
    "on": parts.text,
    "max": parts.whole,
    "first": parts.duration,
    "factor": parts.number,
    "cap": parts.duration,
    "jitter": parts.one_of("full", "none"),
    "wait": parts.one_of("backoff", "retry-after"),
}
_CATCH: dict[str, Read] = {"on": parts.text, "go": parts.text}
_LIMIT: dict[str, Read] = {
    "name": parts.text,
    "key": parts.text,
    "slots": parts.whole,
    "rate": parts.rate,
    "burst": parts.whole,
}
_TIMEOUT: dict[str, Read] = dict.fromkeys(("queue", "run", "beat", "total"), parts.duration)
_ON_USER_ACTION: dict[str, Read] = {
    "expire": parts.duration,
    "remind": parts.duration,
    "then": parts.one_of("retry", "fail", "skip"),
}
_WAIT: dict[str, Read] = {"for": parts.text, "form": parts.mapping, "expire": parts.duration}
_STEP: dict[str, Read] = {
    "call": parts.text,
    "job": parts.text,
    "version": parts.whole,
    "wait": _wait,
    "sleep": parts.pause,
    "set": parts.anything,
    "with": parts.mapping,
    "for_each": parts.source,
    "window": parts.whole,
    "tolerate": parts.tolerance,
    "needs": _needs,
    "after": parts.names,
    "when": parts.condition,
    "join": _join,
    "cancel_rest": parts.truth,
    "eager": parts.truth,
    "may_fail": parts.truth,
    "always": parts.truth,
    "retry": _retry,
    "timeout": _timeout,
    "limits": _limits,
    "catch": _catch,
    "compensate": parts.text,
    "on_user_action": _on_user_action,
    "queue": parts.text,
}
