"""Why a step is pending: what its join, its demand, its window or its phase waits for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from warrener.domain import ids
from warrener.domain.definition.model import Join
from warrener.domain.demand import Demand
from warrener.domain.job_state import Job
from warrener.domain.joins import Seen, verdict
from warrener.domain.plan import Edge, PlannedStep
from warrener.domain.states import JOB_ENDED, STEP_FAILED
from warrener.projections.why.model import NEXT_MAX, Kind, Look, Place, listed
from warrener.projections.why.still import decides, paused
from warrener.projections.why.tales import JobTale, Tales


def look(tales: Tales, tale: JobTale, path: str) -> Look:
    """Look at a pending step or item."""
    name, index = ids.split_path(path)
    planned = tale.plan.steps[name]
    if index is not None:
        return _for_its_turn(tale, path)
    if tale.started_at is None:
        return decides(tales, tale, path, "waits for the reactor to begin with its job")
    if tale.job.state in JOB_ENDED:
        return decides(tales, tale, path, f"is passed over: its job has {tale.job.state}")
    if planned.phase == "compensate":
        return _to_undo(tales, tale, planned)
    if planned.phase == "always" and not tale.job.closing:
        return _to_clean_up(tales, tale, planned)
    return _for_others(tales, tale, planned)


# --- dependencies and demand ---------------------------------------------------------------------


def _for_others(tales: Tales, tale: JobTale, planned: PlannedStep) -> Look:
    demand = tale.demand()
    demanded, _ = demand.of(planned.name)
    if demanded is None:
        return _for_demand(tales, tale, planned, demand)
    waiting = _open_edges(tale.job, planned, demand)
    if not demanded or not waiting or _is_decided(tale, planned, demand):
        return decides(tales, tale, planned.name)
    return _link(tale, planned.name, "waits for", waiting)


def _open_edges(job: Job, planned: PlannedStep, demand: Demand) -> list[str]:
    """Return the required dependencies that are open; what conditions read is among them."""
    return [
        job.stand_in(edge.dependency)
        for edge in planned.edges
        if demand.required(planned.name, edge) and not job.resolved(edge.dependency)
    ]


def _unread(job: Job, reader: str, edge: Edge) -> list[str]:
    """Return the steps that have not ended and that the condition of an edge reads."""
    decided = job.edges.get(reader, {})
    read = edge.when.steps if edge.when else ()
    return sorted(
        job.stand_in(name)
        for name in read
        if not job.resolved(name) and decided.get(name) is not False
    )


def _is_decided(tale: JobTale, planned: PlannedStep, demand: Demand) -> bool:
    """Say whether the join is decided, so that only the recording of that is awaited."""
    join = planned.definition.join if planned.phase == "main" else Join.ALL_DONE
    return verdict(join, seen(tale, planned, demand)) is not None


def seen(tale: JobTale, planned: PlannedStep, demand: Demand) -> Seen:
    """Return what the join of a step sees of its required dependencies."""
    found, job = Seen(), tale.job
    for edge in planned.edges:
        required = demand.required(planned.name, edge)
        if required is False:
            continue
        found.required = True
        if required is None or not job.resolved(edge.dependency):
            found.waiting = True
            continue
        outcome = outcome_of(tale, edge.dependency)
        found.ok = found.ok or outcome == "ok"
        found.failed = found.failed or outcome == "failed"
    return found


def outcome_of(tale: JobTale, name: str) -> str:
    """Return what a step that has ended counts for in joins."""
    answering = tale.job.stand_in(name)
    state = tale.job.step(answering)
    if state == "succeeded":
        return "ok"
    if state not in STEP_FAILED:
        return "skipped"
    return "ok" if tale.plan.steps[answering].definition.may_fail else "failed"


def _for_demand(tales: Tales, tale: JobTale, planned: PlannedStep, demand: Demand) -> Look:
    """Look at a step of which nobody knows yet whether it is wanted."""
    job, name = tale.job, planned.name
    if planned.catches:
        caught = [step for step in planned.catches if not job.ended(step)]
        says = f"runs only in place of {listed(planned.catches)}, if that fails: waits for"
        return _link(tale, name, says, caught)
    for reader in planned.readers:
        edge = next(e for e in tale.plan.steps[reader].edges if e.dependency == name)
        reads = _unread(job, reader, edge)
        if demand.required(reader, edge) is None and reads:
            says = f"waits until {_text(edge)} tells whether {reader} needs it, and so for"
            return _link(tale, name, says, reads)
    unsure = [reader for reader in planned.readers if demand.of(reader)[0] is None]
    if not unsure:
        return decides(tales, tale, name)
    return _link(tale, name, "waits until it is known whether this is wanted:", unsure)


def _text(edge: Edge) -> str:
    return f"${{{{ {edge.when.text} }}}}" if edge.when else "nothing"


def _link(tale: JobTale, name: str, says: str, steps: Sequence[str]) -> Look:
    return Look(
        state="pending",
        kind="dependency",
        since=tale.since(name),
        says=says,
        release=f"the end of {listed(steps)}",
        next=places(tale, steps),
    )


def places(tale: JobTale, steps: Iterable[str]) -> tuple[Place, ...]:
    """Return the places of steps of a job, as many as are looked at."""
    return tuple(tale.place(step) for step in dict.fromkeys(steps))[:NEXT_MAX]


# --- phases and windows --------------------------------------------------------------------------


def _to_undo(tales: Tales, tale: JobTale, planned: PlannedStep) -> Look:
    """Look at a compensation: it has its turn after the main steps, the last that succeeded first.

    The others of its kind that go before it are ready; all of them are begun one by one.
    """
    name, undoes = planned.name, planned.undoes or ""
    still = open_steps(tale, "main")
    if still:
        says = f"undoes {undoes} if the job fails or is cancelled, once all has ended: waits for"
        return _link(tale, name, says, still)
    cleaning = _children_first(tale, name)
    if cleaning is not None:
        return cleaning
    before = [each for each in open_steps(tale, "compensate") if tale.job.step(each) == "ready"]
    if before:
        return _link(tale, name, "is undone in its turn, the latest first: waits for", before)
    return _at_the_end(tales, tale, name)


def _to_clean_up(tales: Tales, tale: JobTale, planned: PlannedStep) -> Look:
    still = open_steps(tale, "main")
    undoing = [each for each in open_steps(tale, "compensate") if tale.job.step(each) == "ready"]
    says = "runs at the end, once all else has ended: waits for"
    if still or undoing:
        return _link(tale, planned.name, says, still or undoing)
    cleaning = _children_first(tale, planned.name)
    if cleaning is not None:
        return cleaning
    return _at_the_end(tales, tale, planned.name)


def _at_the_end(tales: Tales, tale: JobTale, name: str) -> Look:
    """Look at the next stage of a job's end; that of a paused job does not begin."""
    held = paused(tales, tale, "pending") if tale.job.state == "paused" else None
    return held or decides(tales, tale, name)


def open_steps(tale: JobTale, phase: str) -> list[str]:
    """Return the steps of a phase that have not ended; those that left `pending` first."""
    found = [
        name
        for name, step in tale.plan.steps.items()
        if step.phase == phase and not tale.job.ended(name)
    ]
    return sorted(found, key=lambda name: tale.job.step(name) == "pending")


def _children_first(tale: JobTale, name: str) -> Look | None:
    """Look at cancelled child jobs that clean up before their parent does."""
    if not tale.job.cleaning:
        return None
    return Look(
        state="pending",
        kind="children",
        since=tale.since(name),
        says="waits for cancelled child jobs that still clean up:",
        release="the end of these child jobs",
        next=cleaning_places(tale),
    )


def cleaning_places(tale: JobTale) -> tuple[Place, ...]:
    """Return the cancelled child jobs that still clean up."""
    return tuple(Place(child) for child in sorted(tale.job.cleaning))[:NEXT_MAX]


def _for_its_turn(tale: JobTale, path: str) -> Look:
    """Look at an item that the window of its fan-out does not let begin yet."""
    name, _ = ids.split_path(path)
    items = tale.job.fan_outs.get(name)
    if items is None:
        before: Sequence[str] = [name]
        kind: Kind = "dependency"
        says = "waits for its fan-out to be opened:"
    else:
        numbers = items.in_flight() or range(items.begun, items.may_begin)
        before = [ids.item_path(name, number) for number in numbers[:NEXT_MAX]]
        kind = "window"
        window = items.shape.window
        says = f"waits for its turn ({listed(before)} in flight, {window} at most): for"
    return Look(
        state="pending",
        kind=kind,
        since=tale.since(path),
        says=says,
        release=f"the end of {before[0]}",
        next=places(tale, before),
    )
