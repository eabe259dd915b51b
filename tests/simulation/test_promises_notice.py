"""Each promise notices the fault that it is there for, when the controller is broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.simulate import try_seed

from warrener.adapters.memory_events import MemoryEventStore
from warrener.domain import graph, step
from warrener.domain.flow.window import ReleaseWindow
from warrener.domain.job_state import Items
from warrener.domain.limits import Limits
from warrener.domain.step import Step
from warrener.domain.step_events import StepEvent, StepSucceeded
from warrener.projections import apply
from warrener.services import attempts, children, recovery, release, user_actions
from warrener.services.outbox import Outbox
from warrener.services.turn import Turn
from warrener.services.working_set import WorkingSet

SEEDS_MAX = 200

Break = Callable[[pytest.MonkeyPatch], None]


def returning(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


def keep_slots(patch: pytest.MonkeyPatch) -> None:
    """An ended attempt does not give back its slots."""
    patch.setattr(Limits, "give_back", returning(None))


def ignore_limits(patch: pytest.MonkeyPatch) -> None:
    """No limit holds anybody back."""
    patch.setattr(Limits, "blocker", returning(None))


def forget_tokens(patch: pytest.MonkeyPatch) -> None:
    """A restart fills all buckets."""
    whole = Limits.__init__

    def full(self: Limits, changes: Any, _: object = None, *, shared: bool = False) -> None:
        whole(self, changes, None, shared=shared)

    patch.setattr(Limits, "__init__", full)


def ignore_windows(patch: pytest.MonkeyPatch) -> None:
    """All items of a fan-out may begin."""
    patch.setattr(Items, "may_begin", property(lambda self: self.shape.count))


def ignore_release_window(patch: pytest.MonkeyPatch) -> None:
    """Any number of orders may be out."""
    patch.setattr(ReleaseWindow, "room", 1)


def ignore_budget(patch: pytest.MonkeyPatch) -> None:
    """No tree is too large."""
    patch.setattr(children, "over_budget", returning(None))


def release_twice(patch: pytest.MonkeyPatch) -> None:
    """What was answered goes out once more for each entry in the backlog."""
    again = Turn.ready_again

    def twice(self: Turn, one: Any, **more: Any) -> None:
        again(self, one, **more)
        again(self, one, **more)

    patch.setattr(Turn, "ready_again", twice)
    patch.setattr(release, "_may_go", returning(True))


def renew_nothing(patch: pytest.MonkeyPatch) -> None:
    """A new generation of a step begins without being recorded."""
    patch.setattr(Turn, "_renew", returning(None))


def begin_too_early(patch: pytest.MonkeyPatch) -> None:
    """Joins let steps run as soon as they are looked at."""
    patch.setattr(graph, "verdict", returning("run"))


def accept_late_reports(patch: pytest.MonkeyPatch) -> None:
    """Reports of attempts that were given up count."""
    late = lambda one, report: one.state in step.OUT and report.job == one.job  # noqa: E731
    patch.setattr(step, "answers", late)


def same_tokens(patch: pytest.MonkeyPatch) -> None:
    """All attempts have the same token."""
    order = release._order

    def tokenless(turn: Turn, *more: Any) -> None:
        turn.chance = type(turn.chance)(returning("token"), turn.chance.jitter)
        order(turn, *more)

    patch.setattr(release, "_order", tokenless)


def drop_strays(patch: pytest.MonkeyPatch) -> None:
    """Reports that nobody waits for are not counted."""
    take = attempts.take_report

    def silently(turn: Turn, report: Any) -> None:
        take(turn, report)
        turn.batch.ignored = 0

    patch.setattr(attempts, "take_report", silently)


def forget_timers(patch: pytest.MonkeyPatch) -> None:
    """Time brings nothing about after a restart."""

    class Deaf(recovery.Recovery):
        def _load_step(self, *more: Any) -> bool:
            watch, self._memory.watch = self._memory.watch, returning(None)  # type: ignore[method-assign]
            try:
                return super()._load_step(*more)
            finally:
                self._memory.watch = watch  # type: ignore[method-assign]

    patch.setattr("warrener.services.controller.Recovery", Deaf)


def send_nothing_again(patch: pytest.MonkeyPatch) -> None:
    """What was not sent before a crash is never sent."""
    patch.setattr(Outbox, "catch_up", returning([]))


def wait_for_nobody(patch: pytest.MonkeyPatch) -> None:
    """Answers let nobody go on."""
    patch.setattr(user_actions, "_go_on", returning(None))


def forget_pauses(patch: pytest.MonkeyPatch) -> None:
    """A paused job goes on all the same."""
    patch.setattr(WorkingSet, "is_paused", returning(False))


def lose_roots(patch: pytest.MonkeyPatch) -> None:
    """The store forgets the newest open job."""
    roots = MemoryEventStore.open_roots
    patch.setattr(MemoryEventStore, "open_roots", lambda self: list(roots(self))[:-1])


def project_half(patch: pytest.MonkeyPatch) -> None:
    """Read models do not hear of jobs that fail."""
    whole = apply.apply_job_event

    def half(working: Any, job: Any, event: Any) -> None:
        if type(event).__name__ != "JobFailed":
            whole(working, job, event)

    patch.setattr(apply, "apply_job_event", half)


def set_for_a_moment(patch: pytest.MonkeyPatch) -> None:
    """A step is told another attempt than its event, and it is put right at the end of the turn."""
    record, finish = Turn.record_step, Turn.finish
    changed: list[Step] = []

    def wrongly(self: Turn, one: Step, event: StepEvent) -> None:
        record(self, one, event)
        if isinstance(event, StepSucceeded) and one.attempt:
            one.attempt += 1
            changed.append(one)

    def rightly(self: Turn) -> None:
        for one in changed:
            one.attempt -= 1
        changed.clear()
        finish(self)

    patch.setattr(Turn, "record_step", wrongly)
    patch.setattr(Turn, "finish", rightly)


@pytest.mark.parametrize(
    ("fault", "promises"),
    [
        (lose_roots, "G1 Replay"),
        (accept_late_reports, "G2 G4"),
        (same_tokens, "G3"),
        (release_twice, "G4"),
        (renew_nothing, "G4 Conflict"),
        (begin_too_early, "G5"),
        (send_nothing_again, "G6"),
        (wait_for_nobody, "Replay G6"),
        (project_half, "G7"),
        (drop_strays, "G8"),
        (ignore_limits, "G9"),
        (forget_tokens, "G9"),
        (ignore_windows, "G9"),
        (ignore_release_window, "G9"),
        (ignore_budget, "G9"),
        (keep_slots, "Replay"),
        (forget_timers, "Replay G6"),
        (set_for_a_moment, "Live"),
    ],
)
def test_a_fault_of_the_controller_breaks_the_promise_against_it(
    fault: Break, promises: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)

    broken = (try_seed(seed).broken for seed in range(SEEDS_MAX))
    first = next((text for text in broken if text), "nothing")

    assert first.partition(":")[0] in promises.split(), first
