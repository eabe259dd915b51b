"""Overloads made up by a seed, each with the one cause that it has been given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from support.loads import JobKind, StageKind, Watched, batch, by_time, stream

from warrener.domain.definition.model import Limit, Rate
from warrener.domain.flow.incidents import Diagnosis
from warrener.domain.flow.ready import Stage
from warrener.domain.flow.settings import FlowSettings
from warrener.domain.limits import Claim
from warrener.domain.simulation.crews import Crew
from warrener.domain.simulation.engine import Simulation
from warrener.domain.simulation.trace import TraceJob
from warrener.domain.step_events import Held

CALM: Final = 300.0  # seconds in which all is well, so that it is known what is usual
FAIR_ORDERS: Final = ("finish-first", "fair", "deadline", "weighted")
DEEP_ORDERS: Final = ("finish-first", "deadline")  # `fair` begins with all jobs before it goes on


Jobs = Iterator[TraceJob]


@dataclass
class Overload:
    """What happens, the cause of it, and from when on there is one, in seconds."""

    cause: Diagnosis
    begin: float
    watched: Watched


class Maker:
    """Makes overloads of one seed: `load` is the part of the slots that is asked in calm times."""

    def __init__(self, seed: str) -> None:
        self.random = Random(seed)
        random = self.random
        self.bound = random.choice([20.0, 60.0, 60.0, 90.0])
        self.slots = random.randint(4, 16)
        self.end = CALM + 4 * self.bound + 120
        self.policy = random.choice(FAIR_ORDERS)
        self.load = random.uniform(0.3, 0.6)

    def kinds(self, count: int | None = None) -> list[JobKind]:
        """Make up kinds of jobs that come to the calm load together."""
        count = count or self.random.randint(1, 3)
        return [self.kind(f"job{number}") for number in range(count)]

    def kind(self, name: str, least: int = 1, most: int = 4) -> JobKind:
        random = self.random
        stages = [
            StageKind(
                f"s{place}",
                random.uniform(0.5, 4.0),
                random.uniform(0.1, 0.8),
                random.choice([0, 0, 0, 6]) if place else 0,
                random.choice([0.0, 0.01, 0.05]),
            )
            for place in range(random.randint(least, most))
        ]
        return JobKind(name, stages, fair=random.choice(["", "a", "b"]))

    def rate(self, kind: JobKind, load: float) -> float:
        """Return how many jobs a second ask for a part of the slots."""
        return load * self.slots / kind.work

    def calm(self, kinds: list[JobKind], load: float | None = None) -> list[Jobs]:
        """Return streams of jobs that ask for a part of the slots all the time."""
        share = (self.load if load is None else load) / len(kinds)
        return [stream(self.random, kind, self.rate(kind, share), 0.0, self.end) for kind in kinds]

    def overload(
        self,
        cause: Diagnosis,
        jobs: list[Jobs],
        crews: list[Crew] | None = None,
        **rest: object,
    ) -> Overload:
        """Return an overload that begins after the calm time."""
        watched = Watched(
            by_time(*jobs),
            crews or [Crew(workers=self.slots)],
            FlowSettings(policy=self.policy, bound_seconds=self.bound),
            until=self.end,
            every=self.random.choice([1.0, 1.0, 2.0]),
            **rest,  # type: ignore[arg-type]
        )
        return Overload(cause, CALM, watched)


def claim(limit: Limit) -> Claim:
    return Claim(limit, Held(limit.name, "all"))


# --- too few workers -----------------------------------------------------------------------------


def more_arrives(make: Maker) -> Overload:
    """More arrives than the workers can do."""
    make.policy = make.random.choice(DEEP_ORDERS)
    kinds = make.kinds()
    more = make.random.uniform(1.4, 2.5) - make.load
    extra = stream(make.random, kinds[0], make.rate(kinds[0], more), CALM, make.end)
    return make.overload("too-few-workers", [*make.calm(kinds), extra])


def workers_go(make: Maker) -> Overload:
    """Most workers leave."""
    make.policy = make.random.choice(DEEP_ORDERS)
    make.load = make.random.uniform(0.5, 0.7)
    stay = max(1, int(make.slots * make.load * make.random.uniform(0.3, 0.6)))
    crews = [Crew(workers=stay), Crew(workers=make.slots - stay, until=CALM)]
    return make.overload("too-few-workers", make.calm(make.kinds()), crews)


def a_heap_arrives(make: Maker) -> Overload:
    """So much arrives at once that it takes the workers long."""
    make.policy = make.random.choice(DEEP_ORDERS)
    kinds = make.kinds()
    heap = make.kind("heap", most=2)
    count = int(make.slots * make.bound * make.random.uniform(2, 4) / heap.work) + 1
    return make.overload(
        "too-few-workers", [*make.calm(kinds), batch(make.random, heap, count, CALM)]
    )


def fifo_of_single_steps(make: Maker) -> Overload:
    """First come, first served does no harm where jobs have one step; there is too much to do."""
    make.policy = "fifo"
    kinds = [make.kind(f"job{number}", most=1) for number in range(2)]
    more = make.random.uniform(1.4, 2.5) - make.load
    extra = stream(make.random, kinds[1], make.rate(kinds[1], more), CALM, make.end)
    return make.overload("too-few-workers", [*make.calm(kinds), extra])


def workers_vanish(make: Maker) -> Overload:
    """Most workers are gone at once, with what they worked on."""
    make.policy = make.random.choice(DEEP_ORDERS)
    make.load = make.random.uniform(0.6, 0.7)
    gone = int(make.slots * 0.75)

    def call(simulation: Simulation) -> None:
        simulation.crews.vanish(gone, ("default",))

    return make.overload("too-few-workers", make.calm(make.kinds()), calls=[(CALM, call)])


# --- upstream flood ------------------------------------------------------------------------------


def flood_by_rate(make: Maker) -> Overload:
    """Jobs of several stages come faster than they can be done, first come, first served."""
    make.policy = "fifo"
    flood = make.kind("flood", least=3, most=4)
    more = make.random.uniform(1.5, 2.5)
    for stage in flood.stages:
        stage.seconds, stage.items = make.random.uniform(0.8, 2.0), 0
    extra = stream(make.random, flood, make.rate(flood, more), CALM, make.end)
    calm = [stream(make.random, flood, make.rate(flood, make.load), 0.0, CALM)]
    return make.overload("upstream-flood", [*calm, extra])


def flood_at_once(make: Maker) -> Overload:
    """Very many jobs are submitted at once, and their first stage comes before all others."""
    make.policy = "fifo"
    flood = make.kind("flood", least=2, most=3)
    flood.stages[0].seconds = 2.0
    lasts = make.bound * make.random.uniform(3, 5)
    count = int(make.slots * lasts / 2.0)
    make.end = CALM + lasts  # then the turn of the later stages has come
    kinds = [*make.kinds(1), flood]
    return make.overload(
        "upstream-flood",
        [*make.calm(kinds), batch(make.random, flood, count, CALM)],
    )


def flood_of_items(make: Maker) -> Overload:
    """The items of large fan-outs keep the steps that put them together from their workers."""
    make.policy = "fifo"
    make.end += 3 * make.bound
    flood = make.kind("flood", least=2, most=2)
    flood.stages[0].seconds, flood.stages[0].items = 0.5, 0
    flood.stages[1].seconds, flood.stages[1].items = 1.0, 60
    flood.stages.append(StageKind("s2", 0.5))
    more = make.random.uniform(1.5, 2.5)
    extra = stream(make.random, flood, make.rate(flood, more), CALM, make.end)
    calm = [stream(make.random, flood, make.rate(flood, make.load), 0.0, CALM)]
    return make.overload("upstream-flood", [*calm, extra])


# --- limits --------------------------------------------------------------------------------------


def _limited(make: Maker, cause: Diagnosis, limit: Limit, kind: JobKind, rate: float) -> Overload:
    kind.stages[make.random.randrange(len(kind.stages))].claims = (claim(limit),)
    others = make.kinds(2)
    jobs = [*make.calm(others, 0.3), stream(make.random, kind, rate, CALM, make.end)]
    return make.overload(cause, jobs)


def slots_full(make: Maker) -> Overload:
    """A limit lets fewer steps run at once than are needed, though workers are free."""
    make.slots = make.random.randint(10, 20)
    kind = make.kind("limited", most=3)
    for stage in kind.stages:
        stage.items, stage.seconds = 0, 2.0
    slots = make.random.randint(1, 3)
    rate = slots / 2.0 * make.random.uniform(1.6, 2.2)
    return _limited(make, "slots-full", Limit(name="api", slots=slots), kind, rate)


def rate_limited(make: Maker) -> Overload:
    """A limit lets fewer steps go out in its time than come."""
    make.slots = make.random.randint(10, 20)
    kind = make.kind("limited", most=3)
    for stage in kind.stages:
        stage.items, stage.seconds = 0, 0.5
    rate = make.random.uniform(0.5, 2.0)
    limit = Limit(name="api", rate=Rate(max(1, int(rate * 10 / 2)), 10.0), burst=5)
    return _limited(make, "rate-limit", limit, kind, rate)


# --- no worker -----------------------------------------------------------------------------------


def all_workers_go(make: Maker) -> Overload:
    """All workers of the queue leave."""
    crews = [Crew(workers=make.slots, until=CALM)]
    return make.overload("no-worker", make.calm(make.kinds()), crews)


def a_queue_without_workers(make: Maker) -> Overload:
    """A stage goes to a queue that nobody serves."""
    kinds = make.kinds()
    special = make.kind("special", least=2, most=2)
    special.stages[1].queue = "gpu"
    few = stream(make.random, special, make.random.uniform(0.02, 0.1), CALM, make.end)
    return make.overload("no-worker", [*make.calm(kinds), few])


# --- priority ------------------------------------------------------------------------------------


def priority(make: Maker) -> Overload:
    """Work of high priority takes nearly all there is."""
    make.policy = make.random.choice(("finish-first", "fair", "deadline"))
    low = make.kind("low")
    high = make.kind("high")
    high.priority, high.fair = make.random.choice([1, 5, 100]), low.fair
    for stage in high.stages + low.stages:
        stage.items, stage.spread, stage.failing = 0, min(stage.spread, 0.4), 0.0
    jobs = [
        stream(make.random, low, make.rate(low, 0.35), 0.0, make.end),
        stream(make.random, high, make.rate(high, 0.3), 0.0, CALM),
        stream(make.random, high, make.rate(high, make.random.uniform(0.8, 0.92)), CALM, make.end),
    ]
    return make.overload("priority", jobs)


def priority_of_the_same_jobs(make: Maker) -> Overload:
    """Jobs of one kind are submitted with two priorities."""
    make.policy = make.random.choice(("finish-first", "fair", "deadline"))
    low = make.kind("job", least=2)
    for stage in low.stages:
        stage.items, stage.spread, stage.failing = 0, 0.3, 0.0
    high = JobKind("job", low.stages, priority=5, fair=low.fair)
    jobs = [
        stream(make.random, low, make.rate(low, 0.4), 0.0, make.end),
        stream(make.random, high, make.rate(high, 0.3), 0.0, CALM),
        stream(make.random, high, make.rate(high, 0.9), CALM, make.end),
    ]
    return make.overload("priority", jobs)


# --- slow steps ----------------------------------------------------------------------------------


def _slow_down(kind: JobKind, place: int, factor: float) -> Callable[[Simulation], None]:
    stage = kind.stages[place]

    def call(simulation: Simulation) -> None:
        simulation.crews.slowness[Stage(stage.queue, kind.name, stage.name)] = factor

    return call


def a_stage_gets_slow(make: Maker) -> Overload:
    """The steps of a stage take several times what they did."""
    make.policy = make.random.choice([*FAIR_ORDERS, "fifo"])
    make.load = make.random.uniform(0.5, 0.7)
    make.end += 2 * make.bound
    kinds = make.kinds()
    kind = max(kinds, key=lambda each: max(stage.work / each.work for stage in each.stages))
    place = max(range(len(kind.stages)), key=lambda each: kind.stages[each].work)
    share = make.load / len(kinds) * kind.stages[place].work / kind.work
    factor = 1 + make.random.uniform(1.7, 2.4) / share * (1 - make.load / 2)
    calls = [(CALM, _slow_down(kind, place, factor))]
    return make.overload("slow-step", make.calm(kinds), calls=calls)


def slow_steps_fill_a_limit(make: Maker) -> Overload:
    """A limit had room until its steps got slow."""
    make.slots = make.random.randint(10, 20)
    kind = make.kind("limited", most=3)
    for stage in kind.stages:
        stage.items, stage.seconds, stage.spread = 0, 1.0, 0.3
    place = make.random.randrange(len(kind.stages))
    kind.stages[place].claims = (claim(Limit(name="api", slots=3)),)
    jobs = [stream(make.random, kind, 1.2, 0.0, make.end)]
    calls = [(CALM, _slow_down(kind, place, make.random.uniform(4.0, 8.0)))]
    return make.overload("slow-step", jobs, calls=calls)


def long_steps_hog_the_workers(make: Maker) -> Overload:
    """A few steps take minutes, and short ones wait for their workers."""
    kinds = make.kinds()
    for kind in kinds:
        kind.fair = ""
    hog = JobKind("hog", [StageKind("all", 4 * make.bound, 0.1)])
    make.load = 0.3
    make.end = CALM + 3 * make.bound  # while they run
    jobs = [*make.calm(kinds), batch(make.random, hog, make.slots, CALM)]
    return make.overload("slow-step", jobs)


# --- attempts that fail --------------------------------------------------------------------------


def an_endless_loop(make: Maker) -> Overload:
    """Some steps fail again and again, without end."""
    make.load = make.random.uniform(0.4, 0.6)
    make.end += 3 * make.bound
    kinds = make.kinds()
    poison = make.kind("poison", least=1, most=3)
    for kind in (*kinds, poison):
        kind.fair = ""  # shares would keep the others from harm
    for stage in poison.stages:
        stage.items = 0
    bad = make.random.choice(poison.stages)
    bad.endless, bad.attempts_max, bad.pause = 1.0, 400, make.random.uniform(0.0, 1.0)
    count = int(make.slots * make.random.uniform(2.5, 3.5)) + 1
    return make.overload(
        "poison-loop", [*make.calm(kinds), batch(make.random, poison, count, CALM)]
    )


def nearly_all_attempts_fail(make: Maker) -> Overload:
    """What a stage needs is down: most attempts fail, and are tried again many times."""
    make.load = 0.35
    kinds = make.kinds()
    kind = make.kind("broken", least=1, most=3)
    for stage in kind.stages:
        stage.seconds, stage.items = 0.5, 0
    kind.stages[-1].seconds = 2.0
    fine = stream(make.random, kind, make.rate(kind, 0.3), 0.0, CALM)
    bad = kind.stages[-1]
    broken = JobKind("broken", [*kind.stages[:-1], StageKind(bad.name, 2.0)], fair=kind.fair)
    broken.stages[-1].failing, broken.stages[-1].attempts_max = 0.9, 30
    rest = stream(make.random, broken, make.rate(kind, 0.3), CALM, make.end)
    return make.overload("poison-loop", [*make.calm(kinds), fine, rest])


# --- store or broker -----------------------------------------------------------------------------


def the_way_is_long(make: Maker) -> Overload:
    """Orders are under way to the workers for so long that these have nothing to do."""
    make.load = make.random.uniform(0.5, 0.7)
    kinds = make.kinds()
    for kind in kinds:
        for stage in kind.stages:
            stage.seconds = make.random.uniform(0.5, 1.0)

    def call(simulation: Simulation) -> None:
        simulation.crews.half_trip = delay

    delay = make.random.uniform(4.0, 12.0)
    tells = make.random.random() < 0.5
    return make.overload(
        "store-or-broker-slow", make.calm(kinds), calls=[(CALM, call)], tells_delays=tells
    )


MAKERS: Final[tuple[Callable[[Maker], Overload], ...]] = (
    more_arrives,
    workers_go,
    a_heap_arrives,
    fifo_of_single_steps,
    workers_vanish,
    flood_by_rate,
    flood_at_once,
    flood_of_items,
    slots_full,
    rate_limited,
    all_workers_go,
    a_queue_without_workers,
    priority,
    priority_of_the_same_jobs,
    a_stage_gets_slow,
    slow_steps_fill_a_limit,
    long_steps_hog_the_workers,
    an_endless_loop,
    nearly_all_attempts_fail,
    the_way_is_long,
)


def overload(kind: Callable[[Maker], Overload], seed: int) -> Overload:
    """Make up an overload of a kind."""
    return kind(Maker(f"{kind.__name__}-{seed}"))
