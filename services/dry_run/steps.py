"""How one named step of a job differs between what is recorded and what is decided anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from warrener.domain.ids import item_path
from warrener.domain.plan import PlannedStep
from warrener.domain.states import JOB_ENDED, STEP_ENDED
from warrener.domain.step_events import StepFailed, StepReleased
from warrener.services.dry_run.differences import first_difference
from warrener.services.dry_run.ends import Ends, StepDiff, in_words
from warrener.services.dry_run.renames import Read, renames
from warrener.services.dry_run.story import JobStory, StepStory

_FAILED = frozenset({"failed", "upstream_failed"})


class StepComparison:
    """The steps of one job that both sides have."""

    def __init__(
        self,
        old: JobStory,
        new: JobStory,
        read: tuple[Read, Read],
        refused: Mapping[str, str],
    ) -> None:
        """Take both sides; `read` gives values of each.

        `refused` says why commands about steps would be refused, by their paths.
        """
        self.old, self.new = old, new
        self._read_old, self._read_new = read
        self._renamed = renames(old, new, read)
        self._is_open = old.job.state not in JOB_ENDED
        self._ends = Ends(old, refused)

    def names(self) -> list[str]:
        """Return all steps: in the order of the new plan, then those that it lacks."""
        return list(dict.fromkeys([*self.new.plan.steps, *self.old.plan.steps]))

    def depends(self, name: str) -> list[str]:
        """Return the steps whose outcome may change what becomes of a step."""
        found: dict[str, None] = {}
        for side in (self.new, self.old):
            step = side.plan.steps.get(name)
            if step is not None:
                found.update(dict.fromkeys(edge.dependency for edge in step.edges))
                found.update(dict.fromkeys(step.catches))
                for edge in step.edges:  # whoever answers for it
                    found.update(dict.fromkeys(side.plan.steps[edge.dependency].handlers))
                if step.undoes is not None:
                    found[step.undoes] = None
        return list(found)

    def compare(self, name: str) -> list[StepDiff]:
        """Return how a step differs, the first cause first."""
        before, after = self.old.plan.steps.get(name), self.new.plan.steps.get(name)
        if after is None:
            return list(self._missing(name))
        if before is None:
            return list(self._added(name, after))
        if (before.kind, before.fan_out) != (after.kind, after.fan_out):
            return list(self._other_kind(name, before, after))
        old, new = _begun(self.old, name), _begun(self.new, name)
        if old and new:
            return list(self._both(name, after))
        if old:
            return list(self._not_run(name))
        if new:
            return list(self._would_run(name, after))
        return list(self._neither(name, after))

    # --- steps that are not on both sides --------------------------------------------------------

    def _missing(self, name: str) -> Iterator[StepDiff]:
        if not _begun(self.old, name) or self.old.plan.steps[name].kind == "set":
            return
        what = _what(self.old.plan.steps[name])
        sentence = f"the step ran ({what}), and there is no such step any more"
        new = self._renamed.get(name)
        if new is not None:
            sentence += f"; renamed to {new}?"
        yield StepDiff(path=name, kind="step-missing", sentence=sentence, old=what, new=new)

    def _added(self, name: str, step: PlannedStep) -> Iterator[StepDiff]:
        state, story = self.new.state(name), self.new.named.get(name)
        if state == "failed" and story is not None and isinstance(story.end, StepFailed):
            yield self._ends.failed(name, step, story.end.error, None)
        elif state not in STEP_ENDED and (state != "pending" or _begun(self.new, name)):
            sentence = f"a new step would run ({_what(step)}): nothing is recorded of it"
            old = next((each for each, other in self._renamed.items() if other == name), None)
            if old is not None:
                sentence += f"; renamed from {old}?"
            yield StepDiff(
                path=name,
                kind="step-new",
                sentence=sentence,
                old=old,
                new=_what(step),
                unknown=True,
            )

    def _other_kind(self, name: str, before: PlannedStep, after: PlannedStep) -> Iterator[StepDiff]:
        if not _begun(self.old, name) and not _begun(self.new, name):
            return
        old, new = _what(before), _what(after)
        yield StepDiff(
            path=name,
            kind="endpoint-differs",
            sentence=f"the step was: {old}; it would be: {new}",
            old=old,
            new=new,
            unknown=True,
        )

    # --- steps that began on one side, or on none ------------------------------------------------

    def _not_run(self, name: str) -> Iterator[StepDiff]:
        state, story = self.new.state(name), self.new.named.get(name)
        was = self.old.state(name)
        if story is not None and isinstance(story.end, StepFailed):
            yield self._ends.failed(name, self.new.plan.steps[name], story.end.error, was)
            return
        if self.old.plan.steps[name].kind == "set":
            return  # nothing ran anywhere; who reads it is compared for itself
        yield StepDiff(
            path=name,
            kind="not-run",
            sentence=f"the step ran; it {in_words(state)}",
            old=was,
            new=state,
            cancelled=state == "cancelled",
        )

    def _would_run(self, name: str, step: PlannedStep) -> Iterator[StepDiff]:
        was, state = self.old.state(name), self.new.state(name)
        if step.kind == "set":
            if state == "failed":
                yield from self._ends.of(name, step, None, self.new.named[name])
            return
        yield StepDiff(
            path=name,
            kind="would-run",
            sentence=f"the step did not run ({was}); it would ({_what(step)})",
            old=was,
            new=state,
            unknown=state not in STEP_ENDED,
        )

    def _neither(self, name: str, step: PlannedStep) -> Iterator[StepDiff]:
        was, state = self.old.state(name), self.new.state(name)
        if was == state or was not in STEP_ENDED:
            if state == "failed":
                yield from self._ends.of(name, step, self.old.named.get(name), self.new.named[name])
            return
        story = self.new.named.get(name)
        if story is not None and isinstance(story.end, StepFailed):
            yield self._ends.failed(name, step, story.end.error, was)
        elif state not in STEP_ENDED or _is_other_end({was, state}):
            yield StepDiff(
                path=name,
                kind="outcome-differs",
                sentence=f"the step was {was}; it {in_words(state)}",
                old=was,
                new=state,
                cancelled=state == "cancelled",
            )

    # --- steps that began on both sides ----------------------------------------------------------

    def _both(self, name: str, step: PlannedStep) -> Iterator[StepDiff]:
        old, new = self.old.named.get(name), self.new.named.get(name)
        if step.fan_out and old is not None and new is not None:
            found = self._fanned(name, old, new)
            if found is not None:
                yield found
                return
            yield from self._items(name, step)
        if old is None or new is None:
            return
        yield from self._attempts(name, old, new)
        yield from self._ends.of(name, step, old, new)

    def _fanned(self, name: str, old: StepStory, new: StepStory) -> StepDiff | None:
        one, other = old.opened, new.opened
        if one is None or other is None:
            return None
        found = None
        if one.items != other.items:
            found = first_difference(self._read_old(one.items), self._read_new(other.items))
        if found is None:
            return None
        if one.count != other.count:
            sentence = f"it went over {one.count} items; it would go over {other.count}"
        else:
            sentence = f"it would go over other items, or in another order: {found.at} differs"
        return StepDiff(
            path=name,
            kind="fan-out-differs",
            sentence=sentence,
            old=found.old if one.count == other.count else one.count,
            new=found.new if one.count == other.count else other.count,
            at=found.at,
        )

    def _items(self, name: str, step: PlannedStep) -> Iterator[StepDiff]:
        """Yield the differences of items, those of a kind as one."""
        old, new = self.old.items.get(name, {}), self.new.items.get(name, {})
        found: dict[str, StepDiff] = {}
        for index in sorted({*old, *new}):
            path = item_path(name, index)
            for diff in self._item(path, step, old.get(index), new.get(index)):
                known = found.get(diff.kind)
                if known is None:
                    found[diff.kind] = diff
                else:
                    known.alike += 1
                    known.changed |= diff.changed
        yield from (diff for diff in found.values() if not diff.cancelled)

    def _item(
        self, path: str, step: PlannedStep, old: StepStory | None, new: StepStory | None
    ) -> Iterator[StepDiff]:
        if old is not None and new is not None:
            yield from self._attempts(path, old, new)
        if new is not None:
            yield from self._ends.of(path, step, old, new)
        elif old is not None and not self._is_open:
            yield StepDiff(
                path=path,
                kind="not-run",
                sentence="the item began; it would not",
                old=old.step.state,
                cancelled=True,
            )

    def _attempts(self, path: str, old: StepStory, new: StepStory) -> Iterator[StepDiff]:
        for number, order in new.attempts.items():
            known = old.attempts.get(number)
            if known is None:
                continue
            if known.endpoint != order.endpoint:
                yield StepDiff(
                    path=path,
                    kind="endpoint-differs",
                    sentence=f"attempt {number} called {known.endpoint};"
                    f" it would call {order.endpoint}",
                    old=known.endpoint,
                    new=order.endpoint,
                    changed=False,
                )
                return
            diff = self._inputs(path, number, known, order)
            if diff is not None:
                yield diff
                return

    def _inputs(
        self, path: str, number: int, known: StepReleased, order: StepReleased
    ) -> StepDiff | None:
        if known.args == order.args:
            return None
        found = first_difference(self._read_old(known.args), self._read_new(order.args))
        if found is None:
            return None
        return StepDiff(
            path=path,
            kind="input-differs",
            sentence=f"the input of attempt {number} would differ at {found.at}:"
            " its recorded result may not hold",
            old=found.old,
            new=found.new,
            at=found.at,
            changed=False,
        )


def _begun(side: JobStory, name: str) -> bool:
    story = side.named.get(name)
    return story is not None and story.began


def _what(step: PlannedStep) -> str:
    """Return what a step does, in two or three words."""
    definition = step.definition
    if definition.call is not None:
        what = f"call {definition.call}"
    elif definition.job is not None:
        what = f"job {definition.job}"
    elif definition.wait is not None:
        what = f"wait for {definition.wait.signal}"
    else:
        what = step.kind
    return f"{what} for each item" if step.fan_out else what


def _is_other_end(ends: set[str]) -> bool:
    """Say whether one of two ends without running is a failure, and the other is none."""
    return bool(ends & _FAILED) and not ends <= {*_FAILED, "cancelled"}
