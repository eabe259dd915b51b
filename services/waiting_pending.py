"""Why a step that has not begun waits: for other steps, for its turn at the end, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from warrener.domain.ids import compensation, step_id
from warrener.domain.plan import Plan
from warrener.domain.states import JOB_ENDED, STEP_ENDED
from warrener.projections.views import JobView, StepView
from warrener.services.shapes import Blocker, Waiting, format_time
from warrener.services.waiting import listed, waiting, why_held

BLOCKERS_NAMED_MAX = 5


class Pending(msgspec.Struct, frozen=True):
    """What pending steps of a job depend on: the others, and the paused job that holds them."""

    job: JobView
    plan: Plan
    steps: Mapping[str, StepView]
    held: JobView | None

    def open_steps(self, names: Iterable[str]) -> list[str]:
        """Return those of some steps that have not ended; who answers for a step stands for it."""
        found = dict.fromkeys(self._stand_in(name) for name in names if name in self.steps)
        return [name for name in found if self.steps[name].state not in STEP_ENDED]

    def _stand_in(self, name: str) -> str:
        passed = set()
        while name not in passed and self.steps[name].caught_by in self.steps:
            passed.add(name)
            name = self.steps[name].caught_by or name
        return name

    def undone(self, name: str) -> str | None:
        """Return the step that a step undoes, None if it is no such step."""
        steps = self.plan.definition.steps
        if name in steps:
            return None
        return next((each for each in steps if compensation(each) == name), None)

    def caught(self, name: str) -> list[str]:
        """Return the steps whose failures a step may have to answer for."""
        steps = self.plan.definition.steps
        return [each for each, step in steps.items() if any(r.go == name for r in step.catch)]

    def others(self, always: bool) -> list[str]:
        """Return the steps of the main part, with `always` also those that undo them."""
        steps = self.plan.definition.steps
        main = [name for name, step in steps.items() if not step.always]
        undoing = [name for name in self.steps if name not in steps]
        begun = [name for name in undoing if self.steps[name].state != "pending"]
        return main + begun if always else main


def why_pending(around: Pending, name: str) -> Waiting | None:
    """Return why a step that is not ready waits; None where its job has ended."""
    job = around.job
    if job.state in JOB_ENDED:
        return None
    since = format_time(job.started_at or job.submitted_at)
    if job.started_at is None:
        sentence = "its job is not started yet: intake holds it back, or no reactor is running"
        return waiting("reactor", since, sentence, f"its start: warrener why {job.job}")
    return _later(around, name, since) or _dependencies(around, name, since)


def _later(around: Pending, name: str, since: str) -> Waiting | None:
    """Return why a step waits that has its time at the end, or only after a failure."""
    undone = around.undone(name)
    if undone is not None:
        sentence = f"undoes {undone} if the job fails or is cancelled, when its steps have ended"
        return _behind(around, around.others(always=False), since, sentence)
    if around.plan.definition.steps[name].always:
        if around.job.closing:
            return None
        sentence = "cleans up when everything else has ended"
        return _behind(around, around.others(always=True), since, sentence)
    caught = around.caught(name)
    if not caught or any(around.steps[each].caught_by == name for each in caught):
        return None
    sentence = f"runs only if {' or '.join(caught)} fails"
    blocking = [each for each in caught if around.steps[each].state not in STEP_ENDED]
    return _behind(around, blocking, since, sentence)


def _behind(around: Pending, names: Sequence[str], since: str, sentence: str) -> Waiting:
    """Return that a step waits for the end of others, of which the first are named."""
    still = around.open_steps(names)
    if still:
        sentence += f": {len(still)} {'step has' if len(still) == 1 else 'steps have'} not ended"
        release = f"the end of {listed(still[:BLOCKERS_NAMED_MAX])}"
        return waiting("dependency", since, sentence, release, _blockers(around, still))
    return waiting("reactor", since, f"{sentence}; the controller decides", "a running reactor")


def _dependencies(around: Pending, name: str, since: str) -> Waiting:
    edges = around.plan.steps[name].edges
    still = around.open_steps(edge.dependency for edge in edges)
    if still:
        sentence = f"waits for {listed([f'{each} ({around.steps[each].state})' for each in still])}"
        release = f"the end of {listed(still)}"
        blockers = _blockers(around, still, len(still))
        return waiting("dependency", since, sentence, release, blockers)
    if around.held is not None:
        return why_held(around.held)
    sentence = "everything it depends on has ended; the controller decides next"
    return waiting("reactor", since, sentence, "a running reactor")


def _blockers(
    around: Pending, names: Sequence[str], count_max: int = BLOCKERS_NAMED_MAX
) -> tuple[Blocker, ...]:
    job = around.job.job
    return tuple(
        Blocker(kind="step", id=step_id(job, name), path=name, state=around.steps[name].state)
        for name in names[:count_max]
    )
