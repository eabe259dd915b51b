"""Checks of what a step says about failures, waiting and limits: bounds, and what fits together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from warrener.domain.definition.check_params import check_form
from warrener.domain.definition.durations import SECONDS_MAX, duration_text, pause
from warrener.domain.definition.findings import Findings, is_whole, shown, strings
from warrener.domain.definition.model import (
    Limit,
    Rate,
    RetryRule,
    StepDefinition,
    UserActionRule,
    Wait,
)
from warrener.domain.definition.names import NAME_LENGTH_MAX, check_plain_name, is_reserved
from warrener.domain.errors import Problem
from warrener.domain.expression_scope import kind
from warrener.domain.expression_text import OPEN
from warrener.domain.expressions import ExpressionSyntaxError, is_expression
from warrener.domain.topology import CONSUMER_TIMEOUT_SECONDS

RULES_MAX = 50
LIMITS_MAX = 20
ATTEMPTS_MAX = 1_000_000
COUNT_MAX = 10**9
SHORTEST = 0.01  # seconds; less is noise
REMIND_SECONDS_MIN = 1.0
_SLEEP_HINT = "write such as 14d or 2026-03-01T08:00:00Z, or one ${{ ... }} that yields such a text"


def check_words(findings: Findings, path: str, step: StepDefinition) -> None:
    """Note what is wrong with the words of a step, each taken for itself."""
    for number, rule in enumerate(_bounded(findings, f"{path}.retry", step.retry or ())):
        _check_rule(findings, f"{path}.retry[{number}]", rule)
    for number, caught in enumerate(_bounded(findings, f"{path}.catch", step.catch)):
        _check_on(findings, f"{path}.catch[{number}].on", caught.on)
    if step.timeout is not None:
        _check_timeout(findings, f"{path}.timeout", step)
    _check_limits(findings, f"{path}.limits", step.limits)
    if step.on_user_action is not None:
        _check_user_action(findings, f"{path}.on_user_action", step.on_user_action)
    if step.wait is not None:
        _check_wait(findings, f"{path}.wait", step.wait)
    if step.sleep is not None:
        _check_sleep(findings, f"{path}.sleep", step.sleep)


def check_seconds(
    findings: Findings,
    path: str,
    value: Any,
    lowest: float = SHORTEST,
    highest: float = SECONDS_MAX,
) -> None:
    """Note a duration that is out of bounds; None is none."""
    if value is None or _is_number(value, lowest, highest):
        return
    name = path[path.rfind(".") + 1 :]
    least = duration_text(lowest) if lowest else "0"
    most = "100 years" if highest == SECONDS_MAX else duration_text(highest)
    findings.add(path, f"{name} must be a duration from {least} to {most}")


def _bounded(findings: Findings, path: str, rules: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(rules) > RULES_MAX:
        findings.add(path, f"{len(rules)} rules are over the limit of {RULES_MAX}")
    return rules[:RULES_MAX]


def _check_on(findings: Findings, path: str, on: Any) -> None:
    if not isinstance(on, str) or not on or len(on) > NAME_LENGTH_MAX:
        findings.add(path, "on must be an error code, the name of an exception, or *")


def retry_problems(rules: Sequence[RetryRule]) -> list[Problem]:
    """Return what is wrong with retry rules that do not stand in a definition."""
    findings = Findings()
    for number, rule in enumerate(rules):
        _check_rule(findings, f"retry[{number}]", rule)
    return findings.all()


def _check_rule(findings: Findings, path: str, rule: RetryRule) -> None:
    _check_on(findings, f"{path}.on", rule.on)
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


def _check_timeout(findings: Findings, path: str, step: StepDefinition) -> None:
    for field in ("queue", "run", "beat", "total"):
        value = getattr(step.timeout, field)
        # An order tells its worker how long it may run; no broker lets it be held for longer.
        held = field in ("run", "beat")
        highest = float(CONSUMER_TIMEOUT_SECONDS) if held else SECONDS_MAX
        check_seconds(findings, f"{path}.{field}", value, highest=highest)
        if value is not None and field != "total" and step.call is None and step.job is not None:
            findings.add(
                f"{path}.{field}",
                f"timeout.{field} goes with call: only",
                "write timeout: {total: ...}; the steps of a sub-job have timeouts of their own",
            )


def _check_limits(findings: Findings, path: str, limits: tuple[Limit, ...]) -> None:
    if len(limits) > LIMITS_MAX:
        findings.add(path, f"{len(limits)} limits are over the limit of {LIMITS_MAX}")
    seen = set()
    for number, limit in enumerate(limits[:LIMITS_MAX]):
        inner = f"{path}[{number}]"
        _check_limit(findings, inner, limit)
        if (limit.name, limit.key) in seen:
            findings.add(
                inner, f"the limit {shown(limit.name)} stands twice", "give it rate and slots"
            )
        seen.add((limit.name, limit.key))


def _check_limit(findings: Findings, path: str, limit: Limit) -> None:
    if isinstance(limit.name, str) and is_reserved(limit.name):
        findings.add(
            f"{path}.name",
            f"the name {shown(limit.name)} is reserved",
            "such limits hold for all once they are set: `warrener limits @root --set slots=50`",
        )
    else:
        check_plain_name(findings, f"{path}.name", limit.name, "limit")
    if limit.rate is None and limit.slots is None:
        findings.add(path, "the limit bounds nothing", "say rate: 20/min, slots: 4, or both")
    if limit.rate is not None and not is_rate(limit.rate):
        findings.add(
            f"{path}.rate",
            f"rate must be above 0, at most {COUNT_MAX} in a time from 1ms to 100 years",
            "write such as 20/min; a limit is shut for a while by `warrener limits --set slots=0`",
        )
    for field in ("slots", "burst"):
        value = getattr(limit, field)
        if value is not None and not is_whole(value, 1, COUNT_MAX):
            findings.add(f"{path}.{field}", f"{field} must be a whole number from 1 to {COUNT_MAX}")
    if limit.burst is not None and limit.rate is None:
        findings.add(f"{path}.burst", "burst goes with rate only", "it is how many may go at once")


def _check_user_action(findings: Findings, path: str, rule: UserActionRule) -> None:
    check_seconds(findings, f"{path}.expire", rule.expire)
    check_seconds(findings, f"{path}.remind", rule.remind, REMIND_SECONDS_MIN)
    if rule.then != "fail" and rule.expire is None:
        findings.add(
            f"{path}.then",
            f"then: {shown(rule.then)} says what happens after expire:, and there is none",
            "say expire: 14d, too",
        )


def _check_wait(findings: Findings, path: str, wait: Wait) -> None:
    check_plain_name(findings, f"{path}.for", wait.signal, "signal")
    check_seconds(findings, f"{path}.expire", wait.expire)
    if wait.form is not None:
        _check_form(findings, f"{path}.form", wait.form)


def _check_form(findings: Findings, path: str, form: Any) -> None:
    before = len(findings.problems)
    check_form(findings, path, form)
    if len(findings.problems) > before:
        return
    for place, text in strings(findings, path, form):
        if OPEN in text:
            hint = "it is taken as it stands; tell of the case in a step before"
            findings.add(place, "a form holds no expressions", hint)


def _check_sleep(findings: Findings, path: str, value: Any) -> None:
    """Note what is no duration, no instant and no expression; a text with one is none of them."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        findings.add(path, f"sleep over {kind(value)}", _SLEEP_HINT)
    elif isinstance(value, str) and OPEN in value:
        if not _one_expression(value):
            hint = 'put the text into it: ${{ string(params.days) + "d" }}'
            findings.add(path, "sleep takes one expression and no text around it", hint)
    else:
        try:
            pause(value)
        except ValueError as error:
            findings.add(path, shown(error, 200), "" if "write such" in str(error) else _SLEEP_HINT)


def _one_expression(text: str) -> bool:
    try:
        return is_expression(text)
    except ExpressionSyntaxError:
        return True  # noted where the template is compiled


def is_rate(rate: Any) -> bool:
    """Say whether this is a rate that a limit may have."""
    if not isinstance(rate, Rate) or not _is_number(rate.count, 0, COUNT_MAX):
        return False
    return rate.count > 0 and _is_number(rate.seconds, 0.001, SECONDS_MAX)


def _is_number(value: Any, lowest: float, highest: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and lowest <= value <= highest
