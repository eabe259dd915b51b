"""A job in this process, on the real controller and a clock of its own: for the tests of users."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain.definition.durations import seconds
from warrener.domain.errors import UsageError, WarrenerError
from warrener.domain.messages import (
    AnswerUserAction,
    CancelJob,
    PauseJob,
    RerunJob,
    ResumeJob,
    RetryJob,
    SignalJob,
    Steering,
)
from warrener.domain.payloads import encode_json
from warrener.services import wiring_runs
from warrener.services.endpoints import REGISTRY, Endpoint, Registry
from warrener.services.outcomes import Outcome, so_far
from warrener.services.people import Awaited, awaited
from warrener.services.shapes import HistoryLine, Show, Step
from warrener.services.sources import What, source_of
from warrener.services.submission import submission

START = datetime(2030, 1, 1, tzinfo=UTC)
TURNS_MAX = 1_000_000
REAL_WAIT_SECONDS = 0.05

Endpoints = Mapping[str, Callable[..., Any]] | Registry | None


class LocalRun:
    """Runs one job step by step under the control of a test.

    `job` is a job function, a definition, or what the command line takes: a file or `module:job`.
    `endpoints` gives functions by the names that steps call; those that are not given are the
    ones that `@endpoint` made known. With `clock="virtual"` time stands still while endpoints
    run, and jumps to whatever is due next; with "real" it passes.

        run = LocalRun(trial, {"shop.charge": lambda account: "paid"})
        run.start({"account": "a-1"})
        run.advance("14d")
        assert run.state == "succeeded"
    """

    def __init__(
        self,
        job: What,
        endpoints: Endpoints = None,
        clock: Literal["virtual", "real"] = "virtual",
        *,
        start: datetime = START,
        seed: int = 0,
    ) -> None:
        """Prepare the run; `start` is the time at which a virtual clock begins."""
        registry = _registry(endpoints)
        self._source = source_of(job, registry.names())
        self._virtual = clock == "virtual"
        queues = self._source.queues() or ["default"]
        self._parts = wiring_runs.open_local(
            registry, queues, start=start if self._virtual else None, seed=seed
        )
        self._commands = 0
        self.job: UUID | None = None

    # --- running ---------------------------------------------------------------------------------

    def start(self, params: Mapping[str, Any] | None = None, key: str = "local") -> Outcome:
        """Submit the job, and run it until it has ended or only people can move it.

        Raises `ParameterError` and `DefinitionError`.
        """
        message = submission(self._source, params or {}, key=key)
        self._parts.embedded.submit(message)
        self.job = ids.job_id(key)
        return self.run()

    def run(self) -> Outcome:
        """Go on until the job has ended or only people can move it; time jumps over all waits."""
        return self._work(None)

    def advance(self, duration: str | float | timedelta) -> Outcome:
        """Let time pass, such as `"14d"` or a number of seconds, and all that falls due in it.

        It passes, too, while the job waits for people.
        """
        length = duration.total_seconds() if isinstance(duration, timedelta) else seconds(duration)
        return self._work(self.now + timedelta(seconds=length))

    def _work(self, until: datetime | None) -> Outcome:
        job = self._known()
        controller = self._parts.embedded.reactor.controller
        for _ in range(TURNS_MAX):
            if self._parts.embedded.turn():
                continue
            active = job in controller.memory.jobs
            if not active or (until is None and awaited(controller, job)):
                break
            due = controller.next_due(self.now)
            if due is None or (until is not None and due > until):
                break
            self._pass_time(due)
        else:
            raise WarrenerError(f"the job was not done after {TURNS_MAX} turns")
        if until is not None:
            self._pass_time(until)
        return self.outcome

    def _pass_time(self, until: datetime) -> None:
        if self._parts.virtual is not None:
            self._parts.virtual.set(max(self.now, until))
        else:
            left = (until - self.now).total_seconds()
            time.sleep(min(max(left, 0.0), REAL_WAIT_SECONDS))

    # --- what people do --------------------------------------------------------------------------

    def signal(self, name: str, data: Any = None, key: str | None = None) -> Outcome:
        """Send a signal, and go on; raises `UsageError` if it is refused."""
        raw = msgspec.Raw(encode_json(data))
        key = key or f"signal/{self._commands}"
        return self._steer(SignalJob(job=self._known(), name=name, data=raw, key=key))

    def answer(self, data: Any = None, action: str | None = None) -> Outcome:
        """Answer an open user action (named, if there are several), and go on."""
        found = [each for each in self.actions if action in (None, each.name)]
        requests = list(dict.fromkeys(each.request for each in found))
        if len(requests) != 1 or requests[0] is None:
            known = ", ".join(sorted({each.name for each in self.actions})) or "none"
            raise UsageError(f"{len(requests)} user actions fit {action or 'that'}; open: {known}")
        raw = msgspec.Raw(encode_json(data))
        return self._steer(AnswerUserAction(request=requests[0], data=raw))

    def cancel(self, reason: str = "") -> Outcome:
        """Stop the job."""
        return self._steer(CancelJob(job=self._known(), reason=reason))

    def pause(self) -> Outcome:
        """Let nothing more go out."""
        return self._steer(PauseJob(job=self._known()))

    def resume(self) -> Outcome:
        """Go on after a pause."""
        return self._steer(ResumeJob(job=self._known()))

    def retry(self, path: str | None = None) -> Outcome:
        """Try again now what failed or waits."""
        return self._steer(RetryJob(job=self._known(), path=path))

    def rerun(self, step: str) -> Outcome:
        """Begin a new generation of a step and all below it."""
        key = f"rerun/{self._commands}"
        return self._steer(RerunJob(job=self._known(), step=step, key=key))

    def _steer(self, message: Steering) -> Outcome:
        self._commands += 1
        self._parts.embedded.steer(message, f"local/{self._commands}")
        return self.run()

    # --- what is known ---------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """Return the time of the run's clock."""
        return self._parts.clock.now()

    @property
    def outcome(self) -> Outcome:
        """Return how the job stands."""
        waiting = awaited(self._parts.embedded.reactor.controller, self._known())
        return so_far(self._parts.store, self._known(), waiting)

    @property
    def state(self) -> str:
        """Return the job's state."""
        return self.outcome.state

    @property
    def result(self) -> Any:
        """Return the job's result; None while there is none."""
        return self.outcome.result

    @property
    def actions(self) -> tuple[Awaited, ...]:
        """Return what the job waits for from people: user actions, and waits with a form."""
        return tuple(each for each in self.outcome.waiting if each.request is not None)

    @property
    def show(self) -> Show:
        """Return the job with its steps, as `warrener show` does."""
        return self._parts.queries().show(self._known())

    def step(self, path: str) -> Step:
        """Return a step or an item of the job by its path, such as `merge` or `groups[3]`."""
        queries = self._parts.queries()
        return queries.step(queries.locate(f"{self._known()}/{path}"))

    def history(self) -> list[HistoryLine]:
        """Return all events of the job's tree, in order, as `warrener history` does."""
        return list(self._parts.queries().history(self._known(), tree=True))

    def _known(self) -> UUID:
        if self.job is None:
            raise UsageError("the job was not started: call start(params) first")
        return self.job


def _registry(endpoints: Endpoints) -> Registry:
    """Return a registry of what was given, with what is known otherwise for the rest."""
    if isinstance(endpoints, Registry):
        return endpoints
    given = endpoints or {}
    registry = Registry()
    for name in REGISTRY.names():
        known = REGISTRY.get(name)
        if known is not None and name not in given:
            registry.add(known)
    for name, function in given.items():
        made = function if isinstance(function, Endpoint) else Endpoint(function, name)
        registry.add(made)
    return registry
