"""Every event names the message or the timer that caused it, and from each a chain leads back."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from support.everything import run
from support.scale import scaled

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.control_events import FleetChanged
from warrener.domain.events import DefinitionStored, JobSubmitted
from warrener.domain.ports import EventStore, Positioned
from warrener.domain.step_events import StepEvent, StepReleased
from warrener.projections.history import job_of
from warrener.services.causes import cause_of, chain, in_words
from warrener.services.logs import LogSet
from warrener.services.partial_log import PartialLog
from warrener.services.queries import Queries

SEEDS = 25
CHAINED_SEEDS = 8
OURS = {"flow", "fleet"}  # what no job waits for


def jobs_events(log: EventStore) -> list[Positioned]:
    return [each for each in log.read(0, log.head()) if job_of(each) is not None]


def test_every_event_of_every_world_has_a_cause_of_a_known_form() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(scaled(SEEDS)):
        log = run(seed).log
        for each in log.read(0, log.head()):
            event = each.recorded.event
            cause = cause_of(event.cause)
            assert cause.kind != "unknown", f"seed {seed}, position {each.position}: {event}"
            if job_of(each) is not None or isinstance(event, DefinitionStored):
                assert cause.kind not in OURS, f"seed {seed}, position {each.position}: {event}"
            if isinstance(event, FleetChanged):
                assert cause.kind == "fleet"
            kinds[f"{'release:' if cause.released else ''}{cause.kind}"] += 1

    messages = {"report", "beat", "command", "timer"}
    assert messages | {f"release:{kind}" for kind in ("report", "command", "timer", "time")} <= (
        kinds.keys()
    )


def test_a_cause_names_a_step_or_a_job_that_was_there() -> None:
    for seed in range(scaled(SEEDS)):
        log = run(seed).log
        for each in jobs_events(log):
            cause = cause_of(each.recorded.event.cause)
            if cause.about is None:
                continue
            about = log.last(cause.about)
            assert about is not None, f"seed {seed}, position {each.position}"
            if cause.kind in ("report", "beat"):
                assert isinstance(about.event, StepEvent)
                orders = [e.event for e in log.stream(cause.about)]
                numbers = {e.attempt for e in orders if isinstance(e, StepReleased)}
                assert cause.attempt in numbers, f"seed {seed}, position {each.position}"


def test_from_every_event_a_chain_leads_back_to_a_command() -> None:
    lengths: Counter[int] = Counter()
    for seed in range(scaled(CHAINED_SEEDS)):
        world = run(seed)
        queries = Queries(LogSet([world.log]), MemoryViewStore())
        for root in world.roots:
            log = PartialLog(queries.tree_events(root))
            for each in jobs_events(log):
                found = list(chain(log, each))

                positions = [link.position for link in found]
                assert positions == sorted(set(positions), reverse=True)
                last = found[-1].recorded.event
                submitted = isinstance(last, JobSubmitted) and last.parent is None
                assert submitted or cause_of(last.cause).kind == "command", (
                    f"seed {seed}, position {each.position}: it ends with {last}"
                )
                lengths[len(found)] += 1

    assert max(lengths) >= 10


STEP = UUID(int=7)


def test_causes_in_words() -> None:
    told = {
        f"report:{STEP}/2/report": f"report of attempt 2 of {STEP} by worker w1",
        f"beat:beat/w1/{STEP}/1/3": f"sign of life of attempt 1 of {STEP} by worker w1",
        f"timer:{STEP}/2": f"timer: attempt 2 of {STEP} was due",
        f"timer:{STEP}/0": f"timer: {STEP} was due",
        f"timer:{STEP}/deadline": "timer: the deadline of the job has passed",
        f"timer:{STEP}/reminder": "timer: people were to be reminded",
        "command:answer/7": "command answer/7 by ann",
        f"release:report:{STEP}/1/report": f"goes out after report of attempt 1 of {STEP}",
        "release:time": "goes out once there was room",
        "release": "goes out once there was room",
        "flow": "a look at the flow",
        "who knows": "who knows",
    }
    data = {"by": "ann", "worker": "w1"}

    assert {cause: in_words(cause, data, lambda _: None) for cause in told} == told
