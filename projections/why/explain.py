"""From a place to its answer: what is found there, followed to the most telling root cause."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain

import msgspec
from msgspec.structs import replace

from warrener.domain.states import STEP_ENDED
from warrener.projections.why import ended, held, intake, jobs, out, pending
from warrener.projections.why.model import BLOCKERS_MAX, Answer, Blocker, Look, Place, listed
from warrener.projections.why.past import Past
from warrener.projections.why.still import decides
from warrener.projections.why.tales import JobTale, StepTale, Tales

LOOKS_MAX = 500  # places that are looked at for one answer, once a cause is found
LINKS_NAMED_MAX = 4
CHAIN_TOLD_MAX = 100
_NEVER = datetime.max.replace(tzinfo=UTC)


def explain(past: Past, place: Place) -> Answer:
    """Return why a job or a step is in the state that it is in; raises `UnknownJob`."""
    tales = Tales(past)
    tales.known_job(place.job)
    search = _Search(tales)
    way = search.run(place)
    looks = [search.looks[each] for each in way]
    if looks[-1].held:
        tale = tales.known_job(way[-1].job)
        if looks[-1].kind == "limit":
            looks[-1] = intake.look_closer(tales, tale, looks[-1])
        else:
            looks[-1] = held.Closer(tales, tale, way[-1].path or "", looks[-1]).look()
    return _Telling(tales, way, looks).answer()


class _Search:
    """Looks at a place, and at what it waits for in turn, without recursion."""

    def __init__(self, tales: Tales) -> None:
        self.looks: dict[Place, Look] = {}
        self._tales = tales
        self._from: dict[Place, Place] = {}
        self._ends: list[Place] = []

    def run(self, start: Place) -> list[Place]:
        """Return the way from the place that is asked about down to the root cause."""
        waiting = [start]
        while waiting and not (self._ends and len(self.looks) >= LOOKS_MAX):
            place = waiting.pop()
            found = self.looks[place] = self._look(place, start)
            if not found.next:
                self._ends.append(place)
            for following in reversed(found.next):
                if following != start and following not in self._from:
                    self._from[following] = place
                    waiting.append(following)
        if not self._ends:
            return [self._in_circles(start)]
        return self._way(min(self._ends, key=self._weight))

    def _look(self, place: Place, start: Place) -> Look:
        """Look at a place; what has ended only holds others back until the reactor notes that."""
        found = look(self._tales, place)
        waits = place != start and self.looks[start].kind != "ended"
        if found.kind != "ended" or not waits:
            return found
        tale = self._tales.known_job(place.job)
        says = f"has ended ({found.state}): the reactor goes on from there next"
        return decides(self._tales, tale, place.path, says, found.state)

    def _weight(self, place: Place) -> tuple[int, datetime]:
        """Return what makes one cause more telling than another: its kind, then its age."""
        found = self.looks[place]
        return found.rank, found.since or _NEVER

    def _way(self, place: Place) -> list[Place]:
        way = [place]
        while (above := self._from.get(way[-1])) is not None:
            way.append(above)
        return way[::-1]

    def _in_circles(self, start: Place) -> Place:
        """Leave nothing unexplained, even what the log could only tell by a fault of ours."""
        tale = self._tales.known_job(start.job)
        self.looks[start] = decides(self._tales, tale, start.path, state=self.looks[start].state)
        return start


def look(tales: Tales, place: Place) -> Look:
    """Look at one place."""
    tale = tales.job(place.job)
    if tale is None:  # only the opening of the step that starts it is there yet
        return _unborn(tales)
    if place.path is None:
        return jobs.look(tales, tale)
    state = tales.state(tale, place.path)
    begun = tales.step(tale, place.path)
    if state in STEP_ENDED:
        return ended.look(tales, tale, place.path, state)
    if state == "waiting":
        return out.waiting(tales, tale, place.path, begun)
    if state in _OF_BEGUN and begun is not None:
        return _OF_BEGUN[state](tales, tale, begun)
    if state == "pending" and tale.job.state == "submitted" and tale.job.parent is None:
        return replace(intake.look(tales, tale), state=state, says="waits for the start of its job")
    if state == "pending":
        return pending.look(tales, tale, place.path)
    return held.look(tales, tale, place.path, state)


_OF_BEGUN: dict[str, Callable[[Tales, JobTale, StepTale], Look]] = {
    "released": out.released,
    "running": out.running,
    "retrying": out.retrying,
    "waiting_user": out.waiting_user,
}


def _unborn(tales: Tales) -> Look:
    return Look(
        state="submitted",
        kind="reactor",
        since=tales.past.silent_since,
        says="waits for the reactor to begin with it",
        release="the reactor's next turn",
    )


class _Telling:
    """An answer in the making: the way to the root cause, told as sentence and as blockers."""

    def __init__(self, tales: Tales, chain: Sequence[Place], looks: Sequence[Look]) -> None:
        self._tales = tales
        self._chain = chain
        self._looks = looks

    def answer(self) -> Answer:
        """Return the answer: a job is told by its root cause, a step by what it waits for."""
        first, last = self._looks[0], self._looks[-1]
        top = last if self._chain[0].path is None else first
        return Answer(
            place=self._chain[0],
            state=first.state,
            kind=top.kind,
            since=top.since,
            until=top.until,
            sentence=self._sentence(),
            blockers=self._blockers(),
            release=last.release,
        )

    def _sentence(self) -> str:
        """Tell the way: containers are left out but at its beginning, and so is a long middle."""
        ends = len(self._chain) - 1
        told = [n for n in range(1, ends + 1) if n == ends or not self._looks[n].inside]
        parts = [f"{self._name(n)}, which {self._looks[n].says}" for n in told]
        if len(parts) > LINKS_NAMED_MAX:
            left = len(parts) - LINKS_NAMED_MAX
            parts[LINKS_NAMED_MAX - 1 : -1] = [f"{left} more in a row, the last of them"]
        return " ".join((self._looks[0].says, *parts))

    def _name(self, number: int) -> str:
        place = self._chain[number]
        path = self._path(place)
        return path if place.job == self._chain[0].job else f"{path} (job {place.job})"

    def _path(self, place: Place) -> str:
        """Return where a place is, seen from the job that is asked about."""
        parts = [] if place.path is None else [place.path]
        job = place.job
        while job != self._chain[0].job:
            tale = self._tales.job(job)
            if tale is None or tale.job.parent is None:  # not there yet: it has its starter's path
                before = self._chain[max(self._chain.index(place) - 1, 0)]
                return self._path(before)
            parts.append(tale.job.parent.path)
            job = tale.job.parent.job
        return "/".join(reversed(parts))

    # --- blockers --------------------------------------------------------------------------------

    def _blockers(self) -> tuple[Blocker, ...]:
        found: list[Blocker] = []
        for depth in _told(len(self._chain)):
            if depth == 1:
                found += self._beside()
            found.append(self._blocker(self._chain[depth], self._looks[depth], depth))
        deepest = len(self._chain)
        last = self._looks[-1].blockers
        return (*found, *(msgspec.structs.replace(each, depth=deepest) for each in last))

    def _beside(self) -> list[Blocker]:
        """Return what is directly in the way beside what leads to the root cause."""
        others = [place for place in self._looks[0].next if place != self._chain[1]]
        shown = others[: BLOCKERS_MAX - 1]
        return [self._blocker(place, look(self._tales, place), 1) for place in shown]

    def _blocker(self, place: Place, found: Look, depth: int) -> Blocker:
        return Blocker(
            kind="job" if place.path is None else "step",
            id=place.id,
            job=self._chain[0].job,
            path=self._path(place),
            state=found.state,
            since=found.since,
            sentence=_alone(found),
            depth=depth,
        )


def _told(length: int) -> Iterable[int]:
    """Return the places of a way that are told: of a very long one, its two ends."""
    if length <= CHAIN_TOLD_MAX:
        return range(1, length)
    half = CHAIN_TOLD_MAX // 2
    return chain(range(1, half), range(length - half, length))


def _alone(found: Look) -> str:
    """Return what is found at a place as a sentence of its own."""
    names = [place.path or f"job {place.job}" for place in found.next]
    return f"{found.says} {listed(names)}" if names else found.says
