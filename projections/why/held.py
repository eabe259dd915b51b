"""Why a ready step is not released: the pause, limit, window or fleet that holds it back.

In the order in which the controller asks. What concerns everybody costs a pass over the log, so
that `look` goes without and `Closer` is for the one cause that is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from msgspec.structs import replace

from warrener.domain import ids
from warrener.domain.definition.model import Limit, Rate, Timeout
from warrener.domain.errors import ExpressionError, PayloadError
from warrener.domain.flow.ready import Queued, Ready, Stage, Standing
from warrener.domain.flow.window import ReleaseWindow
from warrener.domain.limit_state import Claim
from warrener.domain.limits import changed
from warrener.domain.step import Step
from warrener.domain.step_events import Held
from warrener.domain.timers import Due, all_due
from warrener.projections.why.caps import Orders, change_of, claims_of_step
from warrener.projections.why.flowing import Flowing
from warrener.projections.why.model import (
    BLOCKERS_MAX,
    NAMED_MAX,
    Blocker,
    Look,
    Rank,
    asked_by,
    lasting,
    listed,
    moment,
)
from warrener.projections.why.serving import serve, unserved
from warrener.projections.why.still import decides, paused
from warrener.projections.why.tales import JobTale, Tales
from warrener.projections.why.world import Out, World


def queue_of(tale: JobTale, path: str) -> str:
    """Return the queue of a step."""
    return tale.planned(path).queue


def total_due(tale: JobTale, step: Step) -> Due | None:
    """Return when the time for all attempts of a step together ends."""
    timeout = tale.planned(step.path).definition.timeout or Timeout()
    return next((due for due in all_due(step, timeout, None) if due.kind == "total"), None)


def look(tales: Tales, tale: JobTale, path: str, state: str) -> Look:
    """Look at a step that may go out, without a pass over the log."""
    if not _goes_out(tale, path):
        return decides(tales, tale, path, "is about to be begun by the reactor", state)
    begun = tales.step(tale, path)
    total = total_due(tale, begun.step) if begun else None
    if total is not None and total.at <= tales.past.now:
        says = f"is overdue: its total timeout has ended at {moment(total.at)}"
        return decides(tales, tale, path, says, state)
    held = paused(tales, tale, state)
    if held is not None:
        return held
    endpoint = tale.planned(path).definition.call or ""
    lacking = unserved(tales.fleet(), queue_of(tale, path), endpoint)
    return Look(
        state=state,
        kind="window",
        since=begun.since if begun else tale.since(path),
        until=total.at if total else None,
        says="is ready and waits for its release",
        release="its release",
        rank=Rank.PEOPLE if lacking else Rank.HELD,
        held=True,
    )


def _goes_out(tale: JobTale, path: str) -> bool:
    """Say whether a step is one that orders are sent for; others wait for the reactor only."""
    planned = tale.planned(path)
    return planned.kind == "call" and not (planned.fan_out and path == planned.name)


class Closer:
    """A closer look at a step that may go out: at all that could hold it back."""

    def __init__(self, tales: Tales, tale: JobTale, path: str, seen: Look) -> None:
        """Take what was seen without; makes a pass over the log."""
        self._tales = tales
        self._past = tales.past
        self._tale = tale
        self._path = path
        self._seen = seen
        self._queue = queue_of(tale, path)
        self._flowing = Flowing(tales, tale, path, self._queue)
        self._claims = self._all_claims()
        self._world = self._whole_world()

    def look(self) -> Look:
        """Return what holds the step back, and whether it starves."""
        found, starves = self._look(), self._flowing.starves()
        return replace(found, says=f"{found.says}; {starves}") if starves else found

    def _look(self) -> Look:
        full = self._world.blocker(self._past.now) if self._claims else None
        if full is not None:
            return self._limited(full)
        return self._throttled() or self._windowed() or self._shared() or self._by_reactor()

    def _all_claims(self) -> list[Claim]:
        limits = self._tale.planned(self._path).definition.limits
        caps = claims_of_step(self._past, self._tale, self._path)
        if not limits:
            return caps
        try:
            keys = self._past.limit_keys(self._tale.job, self._tale.plan, self._path)
        except (ExpressionError, PayloadError):
            return []  # the step fails with that as soon as it is its turn
        own = [Claim(limit, Held(limit.name, key)) for limit, key in zip(limits, keys, strict=True)]
        return [*own, *caps]

    def _whole_world(self) -> World:
        world = World(self._claims, Orders(self._past).is_under)
        rated = any(self._changed(claim).rate is not None for claim in self._claims)
        world.fold(self._past.out(rated))
        for name in {claim.limit.name for claim in self._claims}:  # those from before that pass
            change = change_of(self._past, name)
            if change is not None:
                world.changes[name] = change
        return world

    def _changed(self, claim: Claim) -> Limit:
        """Return a limit as people have set it, else as its definition says."""
        change = change_of(self._past, claim.limit.name)
        return claim.limit if change is None else changed(claim.limit, change)

    # --- limits ----------------------------------------------------------------------------------

    def _limited(self, claim: Claim) -> Look:
        limit, holders = self._changed(claim), self._world.holders(claim.held)
        if limit.slots is not None and len(holders) >= limit.slots:
            return self._full(claim, limit.slots, holders)
        until = self._world.room_at(claim, self._queued(), self._past.now)
        return self._of(
            kind="rate",
            until=until,
            says=f"waits for a token: {self._named(claim)} lets {_rate(limit.rate)} go out"
            f"{self._of_all()}, the next {'not before' if self._several else 'at'} {moment(until)}",
            release=f"the time {moment(until)}",
        )

    def _queued(self) -> Queued:
        name, index = ids.split_path(self._path)
        job, now = self._tale.job, self._past.now
        standing = Standing(Stage(self._queue, job.name, name), job.id, now)
        return Queued(Ready(job.id, name, index), standing, now)

    @property
    def _several(self) -> bool:
        return self._past.partitions > 1

    def _of_all(self) -> str:
        """Say that a limit is not for this partition alone."""
        return f" of all {self._past.partitions} partitions together" if self._several else ""

    def _shared(self) -> Look | None:
        """Look at limits that other partitions have a part of, None if there are none.

        What is out in others is not in this log: it may be all that there is.
        """
        if not self._claims or not self._several:
            return None
        claim = self._claims[0]
        limit, here = self._changed(claim), len(self._world.holders(claim.held))
        if limit.rate is not None:
            bound = f"lets {_rate(limit.rate)} go out{self._of_all()}"
        else:
            bound = f"has {limit.slots} slots for all {self._past.partitions} partitions together"
        if limit.slots is not None:
            bound += f", and {here} of its {limit.slots} slots are taken in this one"
        return self._of(
            kind="limit" if limit.rate is None else "rate",
            says=f"is ready and may wait for its share: {self._named(claim)} {bound}; what goes out"
            " in the others is not known here",
            release="its share, soon after attempts have ended in whatever partition, or:"
            f" warrener limits {claim.held.name}",
        )

    def _full(self, claim: Claim, slots: int, holders: Sequence[Out]) -> Look:
        blockers = self._blockers(holders)
        held = f": {_held(blockers, len(holders))}" if holders else ""
        more = f"warrener limits {claim.held.name} --set slots=N"
        return self._of(
            kind="limit",
            says=f"waits for a slot: {self._named(claim)} has {len(holders)} of {slots} slots"
            f" taken{held}",
            release=f"the end of one of these attempts, or: {more}" if holders else more,
            blockers=blockers,
            rank=Rank.HELD if holders else Rank.PEOPLE,
        )

    def _named(self, claim: Claim) -> str:
        change = change_of(self._past, claim.held.name)
        set_by = f", as set at {moment(change.at)}{asked_by(change.by, '')}," if change else ""
        key = f" [{claim.held.key}]" if claim.limit.key is not None else ""
        return f"limit {claim.held.name}{key}{set_by}"

    # --- window and fleet ------------------------------------------------------------------------

    def _windowed(self) -> Look | None:
        """Look at a step for which too many others are out; None if there is room."""
        fleet, out = self._tales.fleet(), self._world.queue(self._queue)
        slots = 0 if fleet is None else fleet.slots.get(self._queue, 0)
        window = ReleaseWindow(partial(int, slots))
        if not out or (fleet is not None and len(out) < window.size):
            return None
        endpoint = self._tale.planned(self._path).definition.call or ""
        lacking = unserved(fleet, self._queue, endpoint)
        orders = f"{len(out)} orders are" if len(out) > 1 else "1 order is"
        blockers = self._blockers(out)
        if lacking:
            return self._of(
                kind="worker",
                says=f"waits for a worker: {lacking}; {orders} out before it",
                release=serve(self._queue, lacking),
                blockers=blockers,
                rank=Rank.PEOPLE,
            )
        of_slots = " for a number of slots not told" if fleet is None else f" for {slots} slots"
        told = f"{orders} out in queue {self._queue}{of_slots}: {_held(blockers, len(out))}"
        release = f"a report for one of the orders of queue {self._queue}"
        flowing = self._flowing
        if flowing.passes(out, self._seen.since):
            return self._of(
                kind="priority",
                says=f"waits for its release: what has a higher priority goes first"
                f" {flowing.policy}: {told}",
                release=f"{release}, once nothing of a higher priority waits{flowing.by_age}",
                blockers=blockers,
            )
        return self._of(
            kind="window",
            says=f"waits for its release {flowing.policy}: {told}",
            release=release,
            blockers=blockers,
        )

    def _throttled(self) -> Look | None:
        """Look at a step whose stage is held back so that others do not starve; None if it is not.

        As many as are let out are out.
        """
        out = [each for each in self._world.queue(self._queue) if self._is_beside(each)]
        throttle = self._flowing.throttle(out)
        if throttle is None:
            return None
        return self._of(
            kind="window",
            until=throttle.until,
            says=f"waits for its release: {throttle.says}",
            release=f"a report for one of these orders, or the time {moment(throttle.until)}",
            blockers=self._blockers(out),
        )

    def _is_beside(self, out: Out) -> bool:
        """Say whether an order is for a step of the same name."""
        return ids.split_path(out.path)[0] == ids.split_path(self._path)[0]

    def _by_reactor(self) -> Look:
        """Look at a step that nothing holds back.

        A reactor that has just started takes buckets to be empty, which the log does not tell.
        """
        for claim in self._claims:
            rate, silent_since = self._changed(claim).rate, self._past.silent_since
            if rate is not None and silent_since is not None:
                until = silent_since + timedelta(seconds=rate.seconds / rate.count)
                if until > self._past.now:
                    return self._of(
                        kind="rate",
                        until=until,
                        says=f"waits for a token: {self._named(claim)} lets {_rate(rate)} go out,"
                        f" the next by {moment(until)}",
                        release=f"the time {moment(until)}",
                    )
        says = "is ready and nothing holds it back: the reactor has to release it"
        return decides(self._tales, self._tale, self._path, says, self._seen.state)

    # --- telling ---------------------------------------------------------------------------------

    def _blockers(self, out: Sequence[Out]) -> tuple[Blocker, ...]:
        found = []
        for each in out[:BLOCKERS_MAX]:
            place = self._tales.from_root(each.job, each.path)
            blocker = Blocker(
                kind="step",
                id=ids.step_id(each.job, each.path),
                job=place.job,
                path=place.path or "",
                state=each.state,
                since=each.since,
                sentence=f"is {each.state} since {moment(each.since)}",
            )
            found.append(blocker)
        return tuple(found)

    def _of(self, **changes: Any) -> Look:
        """Return what was seen, told with what holds it back."""
        return replace(self._seen, **{"held": False, "rank": Rank.HELD, **changes})


def _rate(rate: Rate | None) -> str:
    assert rate is not None
    return f"{rate.count:g} in {lasting(rate.seconds)}"


def _held(blockers: Sequence[Blocker], count: int) -> str:
    shown = blockers[:NAMED_MAX]
    names = [f"{each.job}/{each.path} ({each.state})" for each in shown]
    return listed(names, count - len(shown))
