"""From the options of `run` to what is to be worked on: a new job, or one that goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID, uuid4

import msgspec

from warrener.domain import ids
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import StoredDataError, UnknownJob
from warrener.domain.events import DefinitionStored, JobSubmitted, Selection
from warrener.domain.messages import SubmitJob
from warrener.domain.ports import EventStore
from warrener.services.active_job import read_payload
from warrener.services.cli.parts import part_of, recorded_steps
from warrener.services.current_trace import callers_traceparent
from warrener.services.labels import RESERVED
from warrener.services.logs import refuse_pruned
from warrener.services.sources import Module, Work, load, load_modules
from warrener.services.submission import Part, Source, submission

MODULES_LABEL: Final = f"{RESERVED}endpoints"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the options of `run` ask for."""

    what: str | None = None
    modules: Sequence[str] = ()
    params: Mapping[str, Any] = {}
    all_params: bool = False  # nothing is to be taken from the recorded job
    labels: Mapping[str, str] = {}
    key: str | None = None
    deadline: datetime | None = None
    mode: Literal["only", "upto", "downstream"] | None = None
    step: str = ""  # that `mode` is about
    given: Mapping[str, Any] = {}
    recorded: str | None = None
    resume: str | None = None


class Task(msgspec.Struct, frozen=True):
    """A root job to work on; `message` submits it, None if it is in the log already."""

    root: UUID
    source: Source
    modules: Sequence[Module]
    message: SubmitJob | None = None


def work_of(request: Request) -> Work | None:
    """Return the checked definitions that the command line names, if it names any."""
    return None if request.what is None else load(request.what, request.modules)


def new_task(request: Request, work: Work, part: Part | None = None) -> Task:
    """Return the task of a new job; raises `ParameterError` if the parameters do not fit."""
    if part is None and request.mode is not None:
        part = part_of(work.source.main, Selection(request.mode, request.step), request.given)
    key = request.key or str(uuid4())
    labels = {**request.labels, **_label(work.modules)}
    message = submission(
        work.source,
        request.params,
        key=key,
        labels=labels,
        part=part,
        deadline=request.deadline,
        traceparent=callers_traceparent(),
    )
    return Task(ids.job_id(key), work.source, work.modules, message)


def recorded_task(store: EventStore, job: UUID, request: Request, work: Work | None) -> Task:
    """Return the task of running a part on what a recorded job gave.

    Parameters that are not given are those of that job, and without `work` the definition is, too.
    """
    if work is None:
        work = _recorded_work(store, job, request.modules)
    if not request.all_params:
        recorded = read_payload(_submitted(store, job).params, store)
        request = msgspec.structs.replace(request, params={**recorded, **request.params})
    assert request.mode is not None  # the options were checked
    selection = Selection(request.mode, request.step)
    known = recorded_steps(store, job)
    return new_task(request, work, part_of(work.source.main, selection, request.given, known))


def resumed_task(store: EventStore, job: UUID, request: Request, work: Work | None) -> Task:
    """Return the task of going on with a root job.

    Its definitions are pinned; modules are those it began with and those named now.
    """
    named = [module.name for module in work.modules] if work else request.modules
    found = _recorded_work(store, job, named)
    return Task(job, found.source, found.modules)


def _submitted(store: EventStore, job: UUID) -> JobSubmitted:
    """Return the first event of a job."""
    first = next(iter(store.stream(job)), None)
    refuse_pruned(job, first)
    if first is None or not isinstance(first.event, JobSubmitted):
        raise UnknownJob(f"no job has the id {job}")
    return first.event


def _recorded_work(store: EventStore, job: UUID, more: Sequence[str]) -> Work:
    """Return the definitions of a job in the log and its modules, which are loaded, and more."""
    event = _submitted(store, job)
    root = _submitted(store, event.root)
    library = {name: _definition(store, name_hash) for name, name_hash in root.library.items()}
    named = (Module.named(name, Path.cwd()) for name in more)
    modules = tuple(dict.fromkeys((*recorded_modules(root.labels), *named)))
    load_modules(modules)
    return Work(Source(_definition(store, event.definition), library), modules)


def _definition(store: EventStore, content_hash: str) -> JobDefinition:
    last = store.last(ids.definition_id(content_hash))
    if last is None or not isinstance(last.event, DefinitionStored):
        raise StoredDataError(f"definition {content_hash} is not in the store")
    return msgspec.json.decode(last.event.json, type=JobDefinition)


def _label(modules: Sequence[Module]) -> dict[str, str]:
    return {MODULES_LABEL: msgspec.json.encode(modules).decode()} if modules else {}


def recorded_modules(labels: Mapping[str, str]) -> tuple[Module, ...]:
    """Return the modules that a job of `run` began with, from its labels."""
    try:
        return msgspec.json.decode(labels.get(MODULES_LABEL, "[]"), type=tuple[Module, ...])
    except msgspec.MsgspecError as error:
        raise StoredDataError(f"the label {MODULES_LABEL} is not readable: {error}") from error
