"""What is checked of a submission before anything is decided about it.

A message may come from anywhere: what passes here can be worked on without surprises.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from warrener.domain.definition.check import validate_params
from warrener.domain.definition.model import JobDefinition
from warrener.domain.demand import downstream
from warrener.domain.errors import (
    ParameterError,
    PayloadError,
    StoredDataError,
    UsageError,
)
from warrener.domain.events import GivenStep, Selection
from warrener.domain.messages import SubmitJob
from warrener.domain.payloads import Payload, decode_json
from warrener.domain.plan import Plan, build_plan
from warrener.domain.ports import EventStore
from warrener.domain.states import STEP_ENDED

PLANS_MAX = 64  # that many definitions are submitted again and again
KEY_CHARACTERS_MAX = 200  # it is part of a message id, which AMQP bounds


class Admitted(msgspec.Struct, frozen=True):
    """A submission that was checked: plans of all its definitions, and its decoded parameters."""

    plan: Plan
    library: dict[str, Plan]
    params: dict[str, Any]


def admit(message: SubmitJob, store: EventStore) -> Admitted:
    """Check a submission; raises `UsageError` (definition, parameters, part) or `PayloadError`."""
    if not 0 < len(message.key) <= KEY_CHARACTERS_MAX:
        raise UsageError(f"the key must have 1 to {KEY_CHARACTERS_MAX} characters")
    plan = plan_of(message.definition)
    library = {name: _named(name, text) for name, text in message.library.items()}
    _check_library(plan, library)
    params = checked_params(plan.definition, bytes(message.params))
    if message.selection is not None:
        check_part(plan, message.selection, message.given)
    for name, given in message.given.items():
        _check_given(plan, name, given, store)
    return Admitted(plan, library, params)


@lru_cache(PLANS_MAX)
def plan_of(text: str) -> Plan:
    """Return the plan of the definition with this text."""
    try:
        definition = msgspec.json.decode(text, type=JobDefinition)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UsageError(f"the definition cannot be read: {error}") from error
    return build_plan(definition)


def checked_params(definition: JobDefinition, data: bytes) -> dict[str, Any]:
    """Return the parameters with this JSON; raises `ParameterError` if they do not fit."""
    try:
        params = decode_json(data)
    except PayloadError as error:
        raise ParameterError(f"the parameters of job {definition.name}: {error}") from error
    if not isinstance(params, dict):
        raise ParameterError(f"the parameters of job {definition.name} must be a map")
    problems = validate_params(definition, params)
    if problems:
        raise ParameterError("\n".join(str(problem) for problem in problems))
    return params


def check_part(plan: Plan, selection: Selection, given: Mapping[str, GivenStep]) -> None:
    """Refuse a part of a job that cannot be run alone."""
    mode, step = selection.mode, selection.step
    if step not in plan.steps:
        known = ", ".join(plan.steps)
        raise ParameterError(f"job {plan.definition.name} has no step {step!r}; it has {known}")
    if mode == "upto":
        return
    selected = downstream(plan, step) if mode == "downstream" else frozenset({step})
    missing = sorted(
        edge.dependency
        for name in selected
        for edge in plan.steps[name].edges
        if edge.dependency not in selected and edge.dependency not in given
    )
    if missing:
        raise ParameterError(
            f"step {step} needs what {', '.join(missing)} gave: take it from a job that ran with"
            f" --from JOB, or give it with --given {missing[0]}=JSON"
        )


def _named(name: str, text: str) -> Plan:
    plan = plan_of(text)
    if plan.definition.name != name:
        raise UsageError(f"the definition of job {name} is that of {plan.definition.name}")
    return plan


def _check_library(plan: Plan, library: Mapping[str, Plan]) -> None:
    for each in (plan, *library.values()):
        for step in each.definition.steps.values():
            if step.job is not None and step.job not in library:
                raise UsageError(f"the definition of job {step.job} does not come with it")


def _check_given(plan: Plan, name: str, given: GivenStep, store: EventStore) -> None:
    if name not in plan.steps:
        raise ParameterError(f"job {plan.definition.name} has no step {name!r} to be given")
    if given.state not in STEP_ENDED:
        raise ParameterError(f"the state {given.state!r} given for step {name} is no final one")
    if given.result is not None:
        try:
            decode_json(_text(given.result, store))
        except (PayloadError, StoredDataError) as error:
            raise ParameterError(f"the result given for step {name}: {error}") from error


def _text(payload: Payload, store: EventStore) -> bytes:
    return store.blob(payload.blob or "") if payload.json is None else payload.json.encode()
