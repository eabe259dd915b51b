"""G1, G2, G3: submissions are kept, reports count once, tokens tell attempts apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import msgspec
from support.promises.folded import Broken, Folded

from warrener.domain import ids
from warrener.domain.events import Event, JobAdvanced, JobEnded, JobRerun, JobSubmitted, Recorded
from warrener.domain.ids import split_path
from warrener.domain.messages import CommandReply, RunStep, StepReport
from warrener.domain.ports import EventStore
from warrener.domain.states import STEP_ENDED
from warrener.domain.step_events import StepEvent, StepReleased, StepSucceeded
from warrener.services.active_job import read_payload


class G1:
    """A confirmed submission is never lost; the same key gives the same job."""

    def __init__(self, folded: Folded) -> None:
        self._folded = folded
        self._by_key: dict[str, UUID] = {}

    def event(self, recorded: Recorded) -> None:
        """A key belongs to one job, whose id follows from it."""
        event, job = recorded.event, recorded.originator_id
        if isinstance(event, JobSubmitted) and event.key is not None:
            if job != ids.job_id(event.key) or self._by_key.setdefault(event.key, job) != job:
                raise Broken("G1", f"key {event.key} gave job {job}")
            if recorded.originator_version != 1:
                raise Broken("G1", f"job {job} was submitted a second time")

    def told(self, reply: CommandReply) -> None:
        """Whoever is told that a job was taken finds it in the log."""
        is_lost = reply.error is None and reply.job not in self._folded.jobs
        if reply.command.startswith("submit/") and is_lost:
            raise Broken("G1", f"{reply.command} was confirmed, and {reply.job} is not in the log")

    def memory(self, jobs: Sequence[UUID]) -> None:
        """Every open root job is worked on."""
        roots = {key for key, job in self._folded.open_jobs().items() if job.parent is None}
        lost = roots - set(jobs)
        if lost:
            raise Broken("G1", f"nobody works on the submitted jobs {sorted(map(str, lost))}")


class G2:
    """Of each attempt at most one report is accepted, and it is applied exactly once."""

    def __init__(self, folded: Folded, store: EventStore) -> None:
        self._folded = folded
        self._store = store
        self._sent: dict[tuple[UUID, int], list[StepReport]] = {}
        self._accepted: set[tuple[UUID, int]] = set()
        self._totals: dict[UUID, Counter[str]] = {}

    def sent(self, report: StepReport) -> None:
        """A worker has sent this report."""
        self._sent.setdefault((report.step, report.attempt), []).append(report)

    def event(self, recorded: Recorded) -> None:
        """Look at what a report led to, before it is folded."""
        event = recorded.event
        if isinstance(event, JobAdvanced):
            self._check_once(recorded.originator_id, event)
        if isinstance(event, StepEvent) and event.cause.startswith("report:"):
            attempt = getattr(event, "attempt", None)
            is_outcome = attempt is not None and not isinstance(event, StepReleased)
            if is_outcome and event.cause.startswith(f"report:{recorded.originator_id}/"):
                self._accept(recorded.originator_id, int(attempt or 0), event)

    def ended(self, recorded: Recorded) -> None:
        """Look at the end of a job, after it was folded: every step counts once in its sums."""
        job_id, event = recorded.originator_id, recorded.event
        if isinstance(event, JobEnded):
            self._totals[job_id] = Counter(event.steps)
            job = self._folded.jobs[job_id]
            expected = Counter(job.steps.values())
            for counts in job.item_counts.values():
                expected.update(counts)
            for child in self._folded.children(job):
                expected.update(self._totals.get(child, {}))  # some are cancelled unopened
            if expected != self._totals[job_id]:
                raise Broken("G2", f"job {job_id} counts {event.steps}, and not {dict(expected)}")

    def _accept(self, step: UUID, attempt: int, event: Event) -> None:
        name = f"attempt {attempt} of step {step}"
        if event.cause.endswith("/run"):
            return  # the broker gave the order up as poisoned
        if (step, attempt) in self._accepted:
            raise Broken("G2", f"a second report of {name} was accepted: {type(event).__name__}")
        self._accepted.add((step, attempt))
        if self._folded.steps[step].attempt != attempt:
            raise Broken("G2", f"a late report of {name} was accepted")
        if isinstance(event, StepSucceeded):
            sent = self._sent.get((step, attempt), [])
            results = [msgspec.json.decode(each.result) for each in sent]
            if read_payload(event.result, self._store) not in results:
                raise Broken("G2", f"nobody reported the result of {name}")

    def _check_once(self, job_id: UUID, event: JobAdvanced) -> None:
        job = self._folded.jobs[job_id]
        for name in event.settled:
            if job.ended(name):
                raise Broken("G2", f"{job.name}/{name} of {job_id} was settled a second time")
        for name, by_state in event.items.items():
            items = job.fan_outs.get(name)
            for index in [index for indexes in by_state.values() for index in indexes]:
                if items is not None and items.ended[index]:
                    raise Broken("G2", f"{name}[{index}] of {job_id} was counted a second time")

    def committed(self, events: Sequence[Recorded]) -> None:
        """What ended a step is applied to its job in the same commit."""
        rerun = {each.originator_id for each in events if isinstance(each.event, JobRerun)}
        for stream in {each.originator_id for each in events if isinstance(each.event, StepEvent)}:
            step = self._folded.steps[stream]
            if step.state in STEP_ENDED and step.job not in rerun:
                self._check_applied(stream)

    def _check_applied(self, stream: UUID) -> None:
        step = self._folded.steps[stream]
        job = self._folded.jobs[step.job]
        name, index = split_path(step.path)
        if index is None:
            known = job.step(name)
        else:
            items = job.fan_outs.get(name)
            known = step.state if items is None or items.ended[index] else "open"
        if known != step.state:
            raise Broken("G2", f"{step.path} of {job.id} ended {step.state}, its job has {known}")


class G3:
    """Each attempt has a token of its own, and the endpoint is told it."""

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[UUID, int]] = {}
        self._ordered: dict[tuple[UUID, int], StepReleased] = {}

    def event(self, recorded: Recorded) -> None:
        """Take the token of an order."""
        event = recorded.event
        if isinstance(event, StepReleased):
            attempt = recorded.originator_id, event.attempt
            if not event.token or self._tokens.setdefault(event.token, attempt) != attempt:
                raise Broken("G3", f"the token of {attempt} is that of {self._tokens[event.token]}")
            self._ordered[attempt] = event

    def arrived(self, order: RunStep) -> None:
        """An order came to a worker: it is one that is committed, with its token."""
        event = self._ordered.get((order.step, order.attempt))
        if event is None:
            raise Broken("G5", f"an order for {order.path} came before it was committed")
        if (order.token, order.endpoint, order.path) != (event.token, event.endpoint, event.path):
            raise Broken("G3", f"the order for {order.path} is not the one that was recorded")
