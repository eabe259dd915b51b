"""A job that is worked on, with the values that its expressions may read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from warrener.domain import ids
from warrener.domain.events import Error, JobSubmitted
from warrener.domain.flow.ready import Stage, Standing
from warrener.domain.graph import render
from warrener.domain.job_state import Job
from warrener.domain.limit_state import Claim
from warrener.domain.payloads import Payload, encode_json
from warrener.domain.plan import Plan
from warrener.domain.ports import EventStore
from warrener.domain.scope import StepsView, job_variable
from warrener.domain.step_events import Held, StepFailed, StepOpened, StepReleased, StepSucceeded

KEY_CHARACTERS_MAX = 200
OF_ITEMS = frozenset({"item", "index"})  # variables that differ from item to item
OF_JOBS = frozenset({"params"})  # variables that stay the same in all steps of a job


class Tree:
    """All jobs under one root: the budget they share."""

    def __init__(self, job: Job) -> None:
        """Begin with nothing used; `job` is the root, or one that is looked at alone."""
        assert job.submitted_at is not None, job.id
        self.root = job.root or job.id
        self._top = job
        self.budget = job.budget
        self.submitted_at = job.submitted_at
        self.steps_used = 0
        self.steps_promised = 0  # to child jobs that this turn is about to open

    @property
    def deadline(self) -> datetime | None:
        """Return when all of it must be done; a rerun may take that away."""
        return self._top.deadline


class ActiveJob:
    """A job that has not ended, with the values its expressions may read."""

    def __init__(self, job: Job, plan: Plan, tree: Tree, store: EventStore) -> None:
        """Take the parts; values are loaded from the store when they are not known yet."""
        self.job = job
        self.plan = plan
        self.tree = tree
        self.demanded: set[str] = set()
        self.ending = False  # its next stage, or its end, is about to be decided
        self.arguments: dict[str, bytes] = {}  # of ready steps, as JSON
        self.inputs: dict[str, Any] = {}  # of steps that may be undone in the turn they began in
        self.values: dict[str, Any] = {}  # decoded results of named steps
        self.errors: dict[str, Error] = {}
        self.items: dict[str, list[Any]] = {}  # of open fan-outs
        self.collected: dict[str, Collected] = {}  # of open fan-outs whose results are read
        self._store = store
        self._params: Any = msgspec.UNSET
        self._item_scopes: dict[str, dict[str, Any]] = {}
        self._keys: dict[str | None, str] = {}  # of limits by their text, where all steps have one
        self._claims_of_items: dict[str, list[Claim]] = {}  # of fan-outs with one key for all
        self._standings: dict[str, Standing] = {}

    def standing(self, name: str) -> Standing:
        """Return what the order of release goes by for the steps of a name."""
        found = self._standings.get(name)
        if found is None:
            job, planned = self.job, self.plan.steps[name]
            found = self._standings[name] = Standing(
                Stage(planned.queue, job.name, name),
                self.tree.root,
                self.tree.submitted_at,
                priority=job.priority,
                fair=job.fair or "",
                deadline=self.tree.deadline,
                depth=job.depth,
                remaining=self.plan.remaining[name],
                endpoint=planned.definition.call or "",
            )
        return found

    def steps_known(self) -> int:
        """Return how many steps this job and its ended children put under the budget.

        Those of open children count for themselves, and items of open fan-outs as they are loaded.
        """
        items = sum(self.job.counts.values()) - self.job.settled
        return len(self.plan.steps) + sum(self.job.below.values()) + items

    @property
    def params(self) -> Any:
        """Return the decoded parameters."""
        if self._params is msgspec.UNSET:
            self._params = read_payload(self.job.params, self._store)
        return self._params

    @params.setter
    def params(self, value: Any) -> None:
        self._params = value

    def scope(self, reader: str, deciding: bool = False) -> dict[str, Any]:
        """Return what the expressions of a step see (`""`: those of the job's result).

        `deciding` is for the conditions of its edges, which may read what is still undecided.
        """
        edges = self.job.edges.get(reader, {})
        step = self.plan.steps.get(reader)
        conditional = [e.dependency for e in step.edges if e.when is not None] if step else []
        hidden = [n for n in conditional if not edges.get(n, deciding)]
        unseen = self.job.blind.get(reader, ())
        steps = StepsView(self.job, self.plan.steps, self, unseen=unseen, hidden=hidden)
        return {"params": self.params, "steps": steps, "job": job_variable(self.job)}

    def item_scope(self, reader: str, index: int) -> dict[str, Any]:
        """Return what the expressions of an item of a fan-out see."""
        base = self._item_scopes.get(reader)
        if base is None:
            base = self._item_scopes[reader] = self.scope(reader)
        return {**base, "item": self.items[reader][index], "index": index}

    def render_arguments(self, name: str, index: int | None) -> bytes:
        """Return the arguments of a step or of an item, as JSON."""
        known = self.arguments.pop(name, None) if index is None else None
        if known is not None:
            return known
        step = self.plan.steps[name]
        if step.undoes is not None:
            return self._arguments_to_undo(step.undoes)
        return render(step.arguments, self.scope_of(name, index))

    def limit_keys(self, name: str, index: int | None) -> list[str]:
        """Return the evaluated keys of the limits of a step or of an item."""
        planned = self.plan.steps[name]
        limits, known = planned.definition.limits, self._keys
        if all(limit.key in known for limit in limits):
            return [known[limit.key] for limit in limits]
        scope = self.scope_of(name, index)
        keys = [key_text(template.render(scope)) for template in planned.limit_keys]
        for limit, template, key in zip(limits, planned.limit_keys, keys, strict=True):
            if template.variables <= OF_JOBS:
                known[limit.key] = key
        return keys

    def claims(self, name: str, index: int | None) -> Sequence[Claim]:
        """Return the limits that a step or an item comes under by its definition."""
        planned = self.plan.steps[name]
        limits = planned.definition.limits
        if not limits:
            return ()
        known = self._claims_of_items.get(name)
        if known is not None:
            return known
        keys = self.limit_keys(name, index)
        claims = [
            Claim(limit, Held(limit.name, key)) for limit, key in zip(limits, keys, strict=True)
        ]
        if index is not None and not any(t.variables & OF_ITEMS for t in planned.limit_keys):
            self._claims_of_items[name] = claims
        return claims

    def scope_of(self, name: str, index: int | None) -> dict[str, Any]:
        """Return what the expressions of a step, or of an item of it, see."""
        return self.scope(name) if index is None else self.item_scope(name, index)

    def forget_items(self, name: str) -> None:
        """Let go of what an ended fan-out needed."""
        self.items.pop(name, None)
        self.collected.pop(name, None)
        self._claims_of_items.pop(name, None)
        self._item_scopes.pop(name, None)

    def result(self, name: str) -> Any:
        """Return the decoded result of a named step that succeeded."""
        if name not in self.values:
            self.values[name] = read_payload(self._stored_result(name), self._store)
        return self.values[name]

    def error(self, name: str) -> Error | None:
        """Return the error of a named step that failed."""
        if name not in self.errors:
            given = self.job.given.get(name)
            if given is not None:
                return given.error
            last = self._store.last(ids.step_id(self.job.id, name))
            if last is None or not isinstance(last.event, StepFailed):
                return None
            self.errors[name] = last.event.error
        return self.errors[name]

    def _arguments_to_undo(self, name: str) -> bytes:
        """Return input and result of a step, as JSON, for whoever undoes it."""
        data = {"input": self._input(name), "result": self.result(name)}
        return encode_json(data)

    def _input(self, name: str) -> Any:
        """Return what a step was given: the arguments of its last order, or its child's params."""
        if name in self.inputs:
            return self.inputs[name]
        events = [each.event for each in self._store.stream(ids.step_id(self.job.id, name))]
        for event in reversed(events):
            if isinstance(event, StepReleased):
                return read_payload(event.args, self._store)
            if isinstance(event, StepOpened) and event.child is not None:
                first = next(iter(self._store.stream(event.child)), None)
                if first is not None and isinstance(first.event, JobSubmitted):
                    return read_payload(first.event.params, self._store)
        return None

    def forget(self, names: Iterable[str]) -> None:
        """Let go of all values of steps of which a new generation begins."""
        for name in names:
            for kept in (self.arguments, self.inputs, self.values, self.errors):
                kept.pop(name, None)
            self.forget_items(name)
        self.demanded.clear()
        self._standings.clear()
        self.ending = False

    def _stored_result(self, name: str) -> Payload | None:
        given = self.job.given.get(name)
        if given is not None:
            return given.result
        last = self._store.last(ids.step_id(self.job.id, name))
        return last.event.result if last and isinstance(last.event, StepSucceeded) else None


class Collected:
    """The results of a fan-out's items, gathered because somebody reads them."""

    def __init__(self, count: int, bytes_max: int) -> None:
        """Begin with null for every item."""
        self.bytes = 2
        self._bytes_max = bytes_max
        self._texts: list[bytes | None] = [None] * count

    def put(self, index: int, data: bytes) -> None:
        """Keep the result of an item, as JSON, unless the whole is too large by now."""
        self.bytes += len(data) + 1
        if self.bytes <= self._bytes_max:
            self._texts[index] = data
        else:
            self._texts.clear()

    def to_json(self) -> bytes:
        """Return the list of results in item order."""
        return b"[" + b",".join(text or b"null" for text in self._texts) + b"]"


def key_text(value: Any) -> str:
    """Return the key of a limit as text, whatever an expression gave for it."""
    text = value if isinstance(value, str) else encode_json(value).decode()
    return text if len(text) <= KEY_CHARACTERS_MAX else ids.content_hash(text.encode())


def read_payload(
    payload: Payload | None, store: EventStore, fresh: Mapping[str, bytes] | None = None
) -> Any:
    """Return the value of a payload from the log; `fresh` has blobs that are not committed yet."""
    return None if payload is None else msgspec.json.decode(payload_bytes(payload, store, fresh))


def payload_bytes(
    payload: Payload, store: EventStore, fresh: Mapping[str, bytes] | None = None
) -> bytes:
    """Return the JSON of a payload; `fresh` has blobs that are not committed yet."""
    if payload.json is not None:
        return payload.json.encode()
    name = payload.blob or ""
    return fresh[name] if fresh and name in fresh else store.blob(name)
