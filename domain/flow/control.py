"""Flow control: looks at samples, opens and ends incidents, takes and withdraws measures.

`tick` decides, and every event it returns has been evolved by already; `evolve` alone is for
events from the log. The measures in force are what the flow obeys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from warrener.domain import ids
from warrener.domain.control_events import (
    FlowSampled,
    MeasureEnded,
    MeasureProposed,
    MeasureTaken,
    StarvationDetected,
    StarvationEnded,
)
from warrener.domain.events import Event
from warrener.domain.flow.alleviation import (
    REMEDIES,
    Situation,
    fitting,
    grace_seconds,
    put_together,
    victims_wait,
)
from warrener.domain.flow.detection import Detector, Finding
from warrener.domain.flow.figures import FlowSample
from warrener.domain.flow.incident_state import Incident, Incidents, MeasureKey, Taken, key_of
from warrener.domain.flow.incidents import Diagnosis, Measure, MeasureEnd
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.rhythm import Rhythm, rests
from warrener.domain.flow.settings import FlowSettings, Mode
from warrener.domain.messages import WorkerState

_NEVER: Final = datetime.min.replace(tzinfo=UTC)
CAUSE: Final = "flow"
COOL_DOWN_SECONDS: Final = 120.0  # after a measure has ended, before it is taken again
LOADED_SECONDS: Final = 15.0  # before an incident from the log ends: the detector has to see first
MEASURES_MAX: Final = 3  # in force for one incident

Recording = tuple[UUID, Event]  # the stream, and what is to be recorded in it
IncidentKey = tuple[str, Diagnosis]  # no two open incidents share queue and diagnosis
Findings = dict[IncidentKey, Finding]
Movable = Callable[[str], Sequence[WorkerState]]


def _nobody(_: str) -> Sequence[WorkerState]:
    return ()


class FlowControl:
    """Decides for the flow of one controller. It asks the detector, and records what it does."""

    def __init__(
        self,
        flow: Flow,
        reply_to: str,
        *,
        movable: Movable = _nobody,
        samples: bool = True,
        detector: Callable[[FlowSettings], Detector] = Detector,
    ) -> None:
        """Begin with no incident. `reply_to` names the controller, in ids of incidents.

        `movable` tells which workers could be moved to a queue. Without `samples` none are
        recorded, as where several write the same log: then nobody can take incidents over, and
        nobody is asked, since an answer by way of the log would not find its incident.
        """
        self.incidents = Incidents()
        self.rhythm = Rhythm(flow, samples=samples)
        self.flow = flow
        self._reply_to = reply_to
        self._asks = samples
        self._holds_intake = flow.measures.intake_held  # whatever measures there are
        self._movable = movable
        self._settings = flow.settings
        self._detector = detector(flow.settings)
        self._began_at: datetime | None = None  # of the first look
        self._loaded: frozenset[UUID] = frozenset()  # incidents from the log
        self._over: set[IncidentKey] = set()  # what the detector finds yet though all was at rest
        self._sample = FlowSample(at=_NEVER)
        self._now = _NEVER
        self._recorded: list[Recording] = []

    # --- state -----------------------------------------------------------------------------------

    def evolve(self, stream: UUID, event: Event) -> None:
        """Take an event; the flow obeys the measures that are in force after it."""
        self.incidents.evolve(stream, event)
        if isinstance(event, FlowSampled):
            self.rhythm.recorded(event)
        elif isinstance(event, MeasureTaken | MeasureEnded):
            measures = put_together(self.incidents.in_force())
            measures.intake_held |= self._holds_intake
            self.flow.measures = measures

    def next_due(self, now: datetime) -> datetime | None:
        """Return when to look next even if nothing happens, None if there is nothing to see."""
        return self.rhythm.next_due(now, open_yet=bool(self.incidents.known))

    def is_due(self, now: datetime) -> bool:
        """Say whether to look now."""
        return self.rhythm.is_due(now, open_yet=bool(self.incidents.known))

    # --- deciding --------------------------------------------------------------------------------

    def tick(self, sample: FlowSample, now: datetime) -> list[Recording]:
        """Decide by a sample; return what to record, in order. All of it belongs in one commit."""
        self._begin(now)
        self._sample = sample
        if self._began_at is None:
            self._go_on(now)
        if self.flow.settings != self._settings:
            self._settings = self.flow.settings
            self._detector.use(self._settings)
        findings = self._findings(sample)
        self._end(findings)
        self._detect(findings)
        self._review(findings)
        self._escalate(findings)
        sampled = self.rhythm.looked(sample, now, tuple(self.incidents.known))
        if sampled is not None:
            self._record(ids.FLOW_SAMPLES_ID, sampled)
        return self._recorded

    def answered(
        self, request: UUID, now: datetime, *, agreed: bool, by: str = ""
    ) -> list[Recording]:
        """A person has answered whether a measure is to be taken; return what to record."""
        asking = self.incidents.asking(request)
        self._begin(now)
        if asking is None:
            return []
        incident, measure = asking
        if agreed:
            self._take(incident, measure, self._wait_now(incident, measure), by)
        else:
            self._end_measure(incident, measure, "declined")
        return self._recorded

    @property
    def _mode(self) -> Mode:
        mode = self._settings.mode
        return "observe" if mode == "advise" and not self._asks else mode

    def _begin(self, now: datetime) -> None:
        self._now, self._recorded = now, []

    def _go_on(self, now: datetime) -> None:
        """Look for the first time: what is known is from the log."""
        self._began_at, self._loaded = now, frozenset(self.incidents.known)
        for incident in self.incidents.known.values():
            for taken in incident.taken:
                taken.lowest_at = now

    def _record(self, stream: UUID, event: Event) -> None:
        self.evolve(stream, event)
        self._recorded.append((stream, event))

    def _findings(self, sample: FlowSample) -> Findings:
        """Return what stands now by what tells incidents apart."""
        if self._mode == "off":
            return {}
        looked = self._detector.look(sample, self.flow.measures)
        found = {(each.queue, each.diagnosis): each for each in looked}
        self._over = set(found) if rests(sample) else self._over & set(found)
        return {key: each for key, each in found.items() if key not in self._over}

    def _end(self, findings: Findings) -> None:
        """End the incidents that stand no more."""
        others = dict(findings.keys())
        for incident in self.incidents.open():
            if incident.key in findings or self._is_too_early(incident):
                continue
            if self._mode == "off":
                why = "starvation is looked for no more"
            elif incident.queue in others:
                why = f"it is diagnosed as {others[incident.queue]} now"
            else:
                why = "nobody waits too long any more"
            self._record(incident.id, StarvationEnded(at=self._now, cause=CAUSE, why=why))

    def _is_too_early(self, incident: Incident) -> bool:
        """Say whether an incident from the log stands though the detector has not seen it yet."""
        if incident.id not in self._loaded or self._began_at is None:
            return False
        if self._mode == "off" or rests(self._sample):
            return False
        return 0 <= (self._now - self._began_at).total_seconds() < LOADED_SECONDS

    def _detect(self, findings: Findings) -> None:
        known = {incident.key for incident in self.incidents.open()}
        for key, found in findings.items():
            if key in known:
                continue
            stream = ids.incident_id(self._reply_to, found.queue, found.diagnosis, self._now)
            detected = StarvationDetected(
                at=self._now,
                cause=CAUSE,
                queue=found.queue,
                diagnosis=found.diagnosis,
                victims=found.victims,
                evidence=found.evidence,
                since=found.since,
            )
            self._record(stream, detected)

    # --- measures --------------------------------------------------------------------------------

    def _review(self, findings: Findings) -> None:
        """End the measures whose time has come."""
        for incident in list(self.incidents.known.values()):
            for taken in list(incident.taken):
                why = self._why_end(incident, taken, findings.get(incident.key))
                if why is not None:
                    self._end_measure(incident, taken.measure, why)

    def _end_measure(self, incident: Incident, measure: Measure, why: MeasureEnd) -> None:
        ended = MeasureEnded(at=self._now, cause=CAUSE, measure=measure, why=why)
        self._record(incident.id, ended)

    def _why_end(
        self, incident: Incident, taken: Taken, found: Finding | None
    ) -> MeasureEnd | None:
        """Return why a measure ends now, None if it goes on."""
        measure, now, sample = taken.measure, self._now, self._sample
        if self._mode in ("off", "observe"):
            return "withdrawn"
        if now >= taken.until:
            return "expired"
        if incident.ended_at is not None:
            return "ended" if self._is_over(incident.ended_at, measure) else None
        wait = victims_wait(incident, measure, sample, found)
        if wait < taken.lowest:
            taken.lowest, taken.lowest_at = wait, now
        is_time = (now - taken.at).total_seconds() >= grace_seconds(measure, sample)
        return "no-help" if is_time and wait >= taken.victims_wait else None

    def _is_over(self, ended_at: datetime, measure: Measure) -> bool:
        """Say whether a measure has lasted long enough after its incident."""
        remedy = REMEDIES[measure.kind]
        troubled = any(each.queue == measure.queue for each in self.incidents.open())
        if rests(self._sample):
            return True
        if remedy.costs_nothing and troubled:
            return False
        return self._now >= ended_at + timedelta(seconds=remedy.linger_seconds)

    def _escalate(self, findings: Findings) -> None:
        """Add one measure to each incident of which nothing in force helps, or helps further."""
        for incident in self.incidents.open():
            found = findings.get(incident.key)
            if found is None or not self._needs_more(incident):
                continue
            situation = Situation(
                incident,
                found,
                self._sample,
                tuple(self.incidents.in_force()),
                self._movable(incident.queue),
            )
            fit = list(fitting(situation, REMEDIES.values(), self._not_now()))
            if fit:  # what was not tried yet before the others, the mildest first
                measure = min(fit, key=lambda each: incident.tried.get(key_of(each), 0))
                self._bring_about(incident, measure, found)

    def _needs_more(self, incident: Incident) -> bool:
        mode = self._mode
        if mode == "observe":
            return not incident.proposals  # whether it would help is not known
        if mode == "advise" and any(each.request for each in incident.proposed):
            return False
        if len(incident.taken) >= MEASURES_MAX or self._cools(incident.declined_at):
            return False
        return all(self._stalls(taken) for taken in incident.taken)

    def _stalls(self, taken: Taken) -> bool:
        """Say whether the victims' wait has not fallen for so long that it will not by this."""
        since = (self._now - taken.lowest_at).total_seconds()
        return since >= grace_seconds(taken.measure, self._sample)

    def _not_now(self) -> set[MeasureKey]:
        """Return the measures that are in force, asked for, or ended a short time ago."""
        ended = self.incidents.ended_at
        for key in [key for key, at in ended.items() if not self._cools(at)]:
            del ended[key]
        named = list(self.incidents.in_force())
        if self._mode == "advise":
            named += self.incidents.proposed()
        return {*map(key_of, named), *ended}

    def _cools(self, at: datetime | None) -> bool:
        return at is not None and 0 <= (self._now - at).total_seconds() < COOL_DOWN_SECONDS

    def _bring_about(self, incident: Incident, measure: Measure, found: Finding) -> None:
        """Take a measure, propose it, or ask a person about it."""
        if self._mode == "act":
            wait = victims_wait(incident, measure, self._sample, found)
            self._take(incident, measure, wait, "")
            return
        request = None
        if self._mode == "advise":
            request = ids.user_action_id(incident.id, incident.proposals + 1)
        proposed = MeasureProposed(at=self._now, cause=CAUSE, measure=measure, request=request)
        self._record(incident.id, proposed)

    def _wait_now(self, incident: Incident, measure: Measure) -> float:
        """Return the longest wait of the victims by the last sample, or what it may be by now."""
        known = victims_wait(incident, measure, self._sample, None)
        at_first = max((victim.oldest_wait for victim in incident.victims), default=0.0)
        passed = max(0.0, (self._now - incident.detected_at).total_seconds())
        return known or at_first + passed

    def _take(self, incident: Incident, measure: Measure, wait: float, by: str) -> None:
        lasts = timedelta(seconds=REMEDIES[measure.kind].lasts_seconds)
        taken = MeasureTaken(
            at=self._now,
            cause=CAUSE,
            measure=measure,
            until=self._now + lasts,
            victims_wait=wait,
            by=by,
        )
        self._record(incident.id, taken)
