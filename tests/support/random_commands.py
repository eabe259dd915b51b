"""What people may ask for at any time, sensible or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any
from uuid import UUID

import msgspec
from support.promises.folded import Folded
from support.random_jobs import SIGNALS
from support.random_options import RULES, maybe

from warrener.domain.definition.model import Rate, RetryRule
from warrener.domain.job_state import Job
from warrener.domain.messages import (
    AdjustStep,
    AnswerUserAction,
    CancelJob,
    ChangeFlow,
    ChangeLimit,
    Command,
    PauseJob,
    RerunJob,
    ResumeJob,
    RetryJob,
    SignalJob,
    Steering,
)

CAPS = ("@root", "@job:tree", "@step:tree/s0", "@queue:default", "@jobs", "@jobs", "@jobs:tree")
NOWHERE = UUID(int=7)
FIT, MISFIT = msgspec.Raw(b'{"yes":true}'), msgspec.Raw(b'"perhaps"')


class RandomCommands:
    """Draws commands about the jobs that are in the log, as often as their weights say."""

    def __init__(self, random: Random, folded: Folded, weights: Mapping[str, int]) -> None:
        self.random = random
        self.folded = folded
        self._draw: list[Callable[[], Steering | None]] = []
        for name, weight in weights.items():
            self._draw += [getattr(self, f"_{name}")] * weight

    def draw(self) -> Command | None:
        """Draw a command; None if there is nothing that it could be about."""
        return self.random.choice(self._draw)()

    def _key(self) -> str:
        return f"key-{self.random.randint(1, 20)}"  # few, so that some come again

    def _job(self) -> Job | None:
        """Draw a job: mostly one that is open, roots first among them; at times none at all."""
        jobs = list(self.folded.jobs.values())
        if not jobs or maybe(self.random, 0.03):
            return None
        still = list(self.folded.open_jobs().values())
        roots = [job for job in still if job.parent is None]
        pools = [pool for pool in (jobs, still, still, roots, roots) if pool]
        return self.random.choice(self.random.choice(pools))

    def _root(self) -> UUID:
        job = self._job()
        return NOWHERE if job is None else (job.root or job.id)

    def _some(self) -> UUID:
        job = self._job()
        return NOWHERE if job is None else job.id

    def _step(self, job: Job) -> str:
        names = [*self.folded.plan(job).steps, *job.steps, *job.steps, *job.failed]
        return "nonsense" if maybe(self.random, 0.03) else self.random.choice(names)

    def _cancel(self) -> Steering | None:
        if not maybe(self.random, 0.4):
            return None
        return CancelJob(job=self._root(), reason="chance")

    def _pause(self) -> Steering:
        return PauseJob(job=self._some(), by="chance")

    def _resume(self) -> Steering:
        paused = [job.id for job in self.folded.jobs.values() if job.state == "paused"]
        return ResumeJob(job=self.random.choice(paused) if paused else self._some())

    def _retry(self) -> Steering | None:
        job = self._job()
        if job is None or maybe(self.random, 0.3):
            return RetryJob(job=NOWHERE if job is None else job.id)
        mine = [step.path for step in self.folded.open_steps().values() if step.job == job.id]
        paths = [*mine, *mine, self._step(job)]
        return RetryJob(job=job.id, path=self.random.choice(paths))

    def _rerun(self) -> Steering | None:
        job = self._job()
        if job is None:
            return RerunJob(job=NOWHERE, step="s0", key=self._key())
        ended = [name for name in job.steps if job.ended(name)]
        name = self.random.choice(ended) if ended and maybe(self.random, 0.8) else self._step(job)
        return RerunJob(job=job.id, step=name, key=self._key())

    def begin_anew(self) -> list[Command]:
        """Return what begins parts of some ended root jobs anew."""
        roots = [job for job in self.folded.jobs.values() if job.parent is None]
        found: list[Command] = []
        for job in roots:
            if maybe(self.random):
                found.append(RerunJob(job=job.id, step=self._step(job), key="last"))
            elif maybe(self.random):
                found.append(RetryJob(job=job.id))
        return found

    def _signal(self) -> Steering:
        waiting = [step for step in self.folded.open_steps().values() if step.signal]
        data = MISFIT if maybe(self.random, 0.2) else FIT
        key, name = self._key(), self.random.choice((*SIGNALS, *SIGNALS, "unknown"))
        if waiting and maybe(self.random, 0.6):
            step = self.random.choice(waiting)
            return SignalJob(job=step.job, name=step.signal or "", key=key, data=data)
        return SignalJob(job=self._some(), name=name, key=key, data=data)

    def _answer(self) -> Steering | None:
        asked = [*self.folded.requests]
        if not asked:
            return AnswerUserAction(request=NOWHERE) if maybe(self.random, 0.1) else None
        data = MISFIT if maybe(self.random, 0.2) else FIT
        request = self.random.choice(asked)
        if self.folded.requests[request].asked.job is None and data is FIT:
            data = msgspec.Raw(self.random.choice((b'{"do":true}', b'{"do":false}')))
        return AnswerUserAction(request=request, data=data, by="chance")

    def _adjust(self) -> Steering | None:
        job = self._job()
        if job is None:
            return None
        plan = self.folded.plan(job)
        fans = [name for name, step in plan.steps.items() if step.fan_out]
        name = self.random.choice(fans) if fans and maybe(self.random, 0.8) else self._step(job)
        changes: dict[str, Any] = {
            "window": self.random.choice((1, 2, 5)),
            "tolerated": self.random.choice((0, 1, 3)),
            "retry": msgspec.convert(self.random.choice(RULES), tuple[RetryRule, ...]),
        }
        wanted = {key: value for key, value in changes.items() if maybe(self.random)}
        return AdjustStep(job=job.id, step=name, **wanted)

    def _change_limit(self) -> Steering:
        name = self.random.choice(("slots", "rate", "both") * 3 + CAPS)
        slots = self.random.choice((None, None, 0, 1, 3))
        rate = self.random.choice((None, None, Rate(1, 2), Rate(10, 1)))
        burst = self.random.choice((None, None, 1, 4))
        return ChangeLimit(name=name, slots=slots, rate=rate, burst=burst)

    def _change_intake(self) -> Steering:
        return ChangeFlow(intake=self.random.choice(("accept", "queue", "queue")))

    # --- when all is to come to its end ----------------------------------------------------------

    def let_go(self, key: str) -> list[Command]:
        """Return what lets everything go on that waits for people."""
        found: list[Command] = [
            ResumeJob(job=job.id) for job in self.folded.jobs.values() if job.state == "paused"
        ]
        found += [ChangeLimit(name=name) for name in self._shut()]
        asked = ((key, each.asked) for key, each in self.folded.requests.items())
        found += [
            AnswerUserAction(request=key, data=FIT) for key, by in asked if by.job is not None
        ]
        for place, step in enumerate(self.folded.open_steps().values()):
            if step.signal is not None and step.request is None:
                asked = f"{key}-{place}"
                found.append(SignalJob(job=step.job, name=step.signal, key=asked, data=FIT))
        return found

    def _shut(self) -> list[str]:
        changes = self.folded.limit_changes.values()
        return [change.name for change in changes if change.slots == 0]
