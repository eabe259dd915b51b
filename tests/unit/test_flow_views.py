"""The read model of the flow: what is kept of settings, samples and incidents, and how much."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import msgspec
from support.histories import History
from support.history_flow import THROTTLE, queue, stage

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.flow.incidents import Measure, Victim
from warrener.domain.flow.settings import FlowSettings
from warrener.projections.flow_views import (
    EVIDENCE_MAX,
    FLOW,
    FLOW_POINTS,
    INCIDENTS,
    MEASURES_MAX,
    OTHERS,
    POINTS_KEPT,
    REASONS_MAX,
    STAGES_MAX,
    VICTIMS_MAX,
    FlowView,
    IncidentView,
    StagePoint,
)
from warrener.projections.ports import IncidentFilter
from warrener.services.projector import catch_up

LARGEST_BYTES = 400_000
DRAIN = Measure(kind="drain-downstream", queue="default")


def folded(history: History) -> MemoryViewStore:
    views = MemoryViewStore()
    catch_up(history.store, views)
    return views


def flow_of(views: MemoryViewStore) -> FlowView:
    found: FlowView = views.load({FLOW: [0]})[FLOW][0]
    return found


def incident_of(views: MemoryViewStore) -> IncidentView:
    (found,) = views.find_incidents(IncidentFilter())
    return found


def test_the_settings_are_those_that_were_made_last_and_samples_leave_them_alone() -> None:
    history = History()
    history.set_flow(policy="fifo")
    history.set_flow(by="bob", reason="fairness", policy="fair", weights={"a": 3.0})
    changed = history.now
    history.sample(queue(stage("load", ready=3)))

    view = flow_of(folded(history))

    assert view.settings == FlowSettings(policy="fair", weights={"a": 3.0})
    assert (view.by, view.reason, view.since) == ("bob", "fairness", changed)


def test_the_two_latest_samples_are_kept_whole_and_more_of_them_in_short() -> None:
    history, incident = History(), UUID(int=9)
    for number in range(POINTS_KEPT + 10):
        figures = stage("load", ready=number, held={"paused": 1, "slots api/": 2}, out=4)
        history.sample(queue(figures), incidents=(incident,))

    views = folded(history)

    view, last = flow_of(views), POINTS_KEPT + 9
    assert view.sample is not None
    assert view.before is not None
    assert [each.queues[0].stages[0].ready for each in (view.sample, view.before)] == [
        last,
        last - 1,
    ]
    assert view.incidents == (incident,)
    points = sorted(views.tables()[FLOW_POINTS].values(), key=lambda point: point.at)  # type: ignore[attr-defined]
    assert len(points) == POINTS_KEPT
    assert [point.stages[0].ready for point in points] == list(range(10, last + 1))  # type: ignore[attr-defined]
    assert points[-1].stages == (StagePoint("default", "report", "load", last, 3, 4, 0.0),)  # type: ignore[attr-defined]


def test_an_incident_tells_what_was_done_about_it_and_what_became_of_that() -> None:
    history = History()
    incident = history.starve(evidence={"slots": 4.0})
    opened = history.now
    history.propose(incident, request=UUID(int=7))
    history.propose(incident, DRAIN)
    agreed = msgspec.structs.replace(THROTTLE, amount=2)
    history.take_measure(incident, agreed, seconds=60.0, by="ada")
    taken = history.now
    history.end_measure(incident, agreed, why="no-help")
    history.take_measure(incident)
    history.end_starving(incident, why="diagnosed anew")

    view = incident_of(folded(history))

    first, drain, again = view.measures
    assert (first.measure, first.state, first.by, first.why) == (agreed, "ended", "ada", "no-help")
    assert (first.taken_at, first.until) == (taken, taken + timedelta(seconds=60))
    assert first.request == UUID(int=7)
    assert (drain.measure, drain.state) == (DRAIN, "proposed")
    assert (again.measure, again.state, again.ended_at) == (THROTTLE, "taken", None)
    assert (view.state, view.why, view.opened_at) == ("closed", "diagnosed anew", opened)
    assert view.closed_at == history.now


def test_a_measure_that_is_prolonged_stays_one_and_keeps_its_beginning() -> None:
    history = History()
    incident = history.starve()
    history.take_measure(incident, by="ada")
    first = history.now
    history.take_measure(incident, seconds=300.0)

    (measure,) = incident_of(folded(history)).measures

    assert (measure.taken_at, measure.by) == (first, "ada")
    assert measure.until == history.now + timedelta(seconds=300)


def test_what_is_told_of_an_unknown_incident_changes_nothing() -> None:
    history = History()
    history.end_starving(UUID(int=3))
    history.take_measure(UUID(int=3))

    views = folded(history)

    assert views.tables()[INCIDENTS] == {}
    assert views.positions()["flow"] == history.store.head()


def test_of_too_many_stages_those_with_most_to_do_are_kept_and_no_document_is_huge() -> None:
    history = History()
    reasons = {f"slots per-account/{number}": number for number in range(1, 1_001)}
    stages = [stage(f"s{number}", ready=number, held=reasons) for number in range(800)]
    for _ in range(2):
        history.sample(queue(*stages[:400]), queue(*stages[400:], name="gpu"))
    victims = [Victim(job="a", step=f"s{n}", waiting=1, oldest_wait=1.0) for n in range(500)]
    incident = history.starve(*victims, evidence={f"e{n}": float(n) for n in range(500)})
    for _ in range(MEASURES_MAX + 5):
        history.take_measure(incident)
        history.end_measure(incident)

    views = folded(history)

    view, kept = flow_of(views), incident_of(views)
    assert view.sample is not None
    found = [each for queued in view.sample.queues for each in queued.stages]
    assert len(found) == STAGES_MAX
    assert min(each.ready for each in found) == 800 - STAGES_MAX
    assert len(found[0].held) == REASONS_MAX + 1
    assert sum(found[0].held.values()) == sum(reasons.values())
    assert found[0].held[OTHERS] == sum(range(1, 1_001 - REASONS_MAX))
    assert (len(kept.victims), len(kept.evidence)) == (VICTIMS_MAX, EVIDENCE_MAX)
    assert len(kept.measures) == MEASURES_MAX
    for documents in views.tables().values():
        for document in documents.values():
            assert len(msgspec.json.encode(document)) < 2 * LARGEST_BYTES
