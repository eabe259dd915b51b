"""What-if: one recorded load, played under several policies."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec.structs import replace

from warrener.domain.control_events import FlowChanged, LimitChanged
from warrener.domain.errors import UsageError
from warrener.domain.events import DefinitionStored, Event
from warrener.domain.flow.settings import DEFAULT_SETTINGS, FlowSettings, Mode
from warrener.domain.limit_state import Claim
from warrener.domain.simulation.crews import Crew
from warrener.domain.simulation.engine import Simulation
from warrener.domain.simulation.record import Record
from warrener.domain.simulation.summary import Group, Summary, distribution, summarise
from warrener.domain.simulation.trace import TraceJob
from warrener.services.caps import Caps
from warrener.services.policies import check_known, orders
from warrener.services.shapes import format_time
from warrener.services.simulate.build import Builder
from warrener.services.simulate.facts import Told
from warrener.services.simulate.fleets import asked_crews, hand_over, recorded_crews
from warrener.services.simulate.graphs import Graphs
from warrener.services.simulate.runs import JobRun, Runs
from warrener.services.simulate.stages import Stages
from warrener.services.simulate.watch import Watch

PLAIN: Final = "plain"  # fifo, and all that is ready is released at once
REPORT_JOBS: Final = 200

Report = Callable[[int, int], None]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: which part of the record, which fleet, and how fast jobs come."""

    since: datetime | None = None
    until: datetime | None = None
    workers: tuple[str, ...] = ()
    slots: int = 1
    speed_up: float = 1.0
    seed: int = 0
    mode: Mode = "off"


class Rules:
    """What a store has beside jobs: definitions, and what people have set."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.graphs = Graphs()
        self.limits: dict[str, LimitChanged] = {}
        self.settings = DEFAULT_SETTINGS

    def take(self, event: Event) -> None:
        """Take an event; the latest counts."""
        if isinstance(event, DefinitionStored):
            self.graphs.define(event)
        elif isinstance(event, LimitChanged):
            self.limits[event.name] = event
        elif isinstance(event, FlowChanged):
            self.settings = event.settings


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """A load and its fleet; `recorded` is what became of its jobs in truth."""

    jobs: Sequence[TraceJob]
    crews: Sequence[Crew]
    round_trip: float
    hand_over: float
    begin: datetime
    end: datetime
    steps: int
    recorded: Group
    notes: tuple[str, ...]
    limits: dict[str, LimitChanged]
    settings: FlowSettings  # of their mode, what was asked for


def gather(events: Iterable[Told], rules: Rules, question: Question, *, infer: bool) -> Load:
    """Make a load of what was recorded; raises `UsageError` if there is no job in it.

    `rules` are complete once all events were taken; `infer` says that they have no definitions.
    """
    runs = Runs(infer=infer)
    runs.take(events)
    roots = [run for run in runs.roots() if _is_asked_for(run, question)]
    if not roots:
        raise UsageError(f"there is no job to simulate{_when(question)}")
    rules.graphs.infer(runs.jobs.values())
    stages = Stages(question.seed)
    stages.learn(runs.jobs.values())
    begin = roots[0].submitted_at
    builder = Builder(rules.graphs, stages, begin, question.speed_up)
    jobs = [builder.job(run) for run in roots]
    queues = sorted({step.queue for job in jobs for step in job.shape.steps})
    crews = asked_crews(question.workers, question.slots, queues)
    if not crews:
        crews = recorded_crews(runs.fleet, runs.jobs.values(), begin)
    return Load(
        jobs=jobs,
        crews=crews,
        round_trip=stages.round_trip(),
        hand_over=hand_over(runs.jobs.values()),
        begin=begin,
        end=roots[-1].submitted_at,
        steps=sum(_steps(job) for job in jobs),
        recorded=_recorded(roots),
        notes=tuple(_notes(runs, builder, stages, infer=infer, asked=bool(question.workers))),
        limits=rules.limits,
        settings=replace(rules.settings, mode=question.mode),
    )


def simulate(load: Load, policy: str, report: Report) -> tuple[Summary, Record]:
    """Play a load under a policy."""
    settings = replace(load.settings, policy="fifo" if policy == PLAIN else policy)
    caps, watch = Caps(load.limits.get), Watch()
    done = 0

    def jobs() -> Iterable[TraceJob]:
        nonlocal done
        for done, job in enumerate(load.jobs, 1):
            if done % REPORT_JOBS == 0:
                report(done, len(load.jobs))
            yield job

    simulation = Simulation(
        jobs(),
        load.crews,
        settings,
        round_trip=load.round_trip,
        hand_over=load.hand_over,
        limit_changes=load.limits.get,
        orders=orders(),
        caps=caps.of_step if load.limits else None,
        intake=_no_claims if settings.intake == "accept" else caps.of_job,
        eager=policy == PLAIN,
        on_tick=None if settings.mode == "off" or policy == PLAIN else watch.look,
    )
    record = simulation.run()
    summary = summarise(policy, record, len(simulation.open) + simulation.intake.waiting)
    found = replace(summary, incidents=dict(watch.incidents), measures=dict(watch.measures))
    return found, record


def checked_policies(asked: Sequence[str]) -> list[str]:
    """Return the policies that were asked for, else all; raises `UsageError` if one is unknown."""
    known = orders()
    fifo = known["fifo"]
    known = {**known, PLAIN: replace(fifo, name=PLAIN, summary=f"{fifo.summary}, all at once")}
    for policy in asked:
        check_known(policy, known)
    return list(dict.fromkeys(asked or known))


def _no_claims(_: str) -> Sequence[Claim]:
    return ()


def _is_asked_for(run: JobRun, question: Question) -> bool:
    since, until = question.since, question.until
    early = since is not None and run.submitted_at < since
    return not early and (until is None or run.submitted_at <= until)


def _when(question: Question) -> str:
    words = (("since", question.since), ("until", question.until))
    return "".join(f" {word} {format_time(at)}" for word, at in words if at is not None)


def _steps(job: TraceJob) -> int:
    steps = job.shape.steps
    return sum(1 if step.items is None else len(step.items) for step in steps)


def _recorded(roots: Sequence[JobRun]) -> Group:
    waits, completions = array("d"), array("d")
    for run in roots:
        if run.ended_at is None:
            continue
        ended = (run.ended_at - run.submitted_at).total_seconds()
        first = _first_begin(run)
        waits.append(ended if first is None else (first - run.submitted_at).total_seconds())
        completions.append(ended)
    return Group(
        jobs=len(completions), wait=distribution(waits), completion=distribution(completions)
    )


def _first_begin(root: JobRun) -> datetime | None:
    """Return when a worker began with the first step of a job or of those below it."""
    found: datetime | None = None
    waiting = [root]
    while waiting:
        run = waiting.pop()
        waiting += [child for children in run.children.values() for child in children]
        tries = [step.tries[0] for step in run.steps.values() if step.tries]
        times = [each.started_at or each.released_at for each in tries]
        found = min([*times, *([found] if found else [])], default=None)
    return found


def _notes(
    runs: Runs, builder: Builder, stages: Stages, *, infer: bool, asked: bool
) -> Iterable[str]:
    if infer:
        yield (
            "a history does not have definitions: what waits for what is taken from what followed"
            " what; --store knows it"
        )
    if builder.left_out:
        yield f"{builder.left_out} attempts came under limits that are not known, and are not kept"
    if runs.strays:
        yield f"{runs.strays} events belong to jobs whose submission is not there"
    if stages.drawn:
        yield f"{stages.drawn} attempts had not ended: others stand in for what they take"
    if not runs.fleet and not asked:
        yield "no worker was announced: there are as many as were seen at work at once"
