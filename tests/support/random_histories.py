"""Random histories of a tree of reports, and the state of every step the plain way."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from support.histories import History, definition
from support.history_flow import queue, stage

from warrener.domain import ids
from warrener.domain.states import STEP_ENDED
from warrener.domain.step_events import StepCancelled

LONG = definition(
    "long",
    load={"call": "crm.load", "compensate": "crm.unload"},
    hold={"wait": {"for": "go"}},
    parts={"for_each": "${{ steps.load.result }}", "call": "crm.part", "window": 3},
    sub={"job": "long", "with": {"x": "${{ steps.load.result }}"}},
    merge={"call": "report.merge", "with": {"p": "${{ steps.parts.results }}"}, "after": ["sub"]},
    undo={"call": "report.undo", "always": True},
)
NAMES = (*LONG.steps, ids.compensation("load"))
ITEMS = 4
JOBS_MAX = 8
PATHS = ("load", "hold", "merge", "load.compensate", "parts[0]", "parts[2]", "parts[3]")
RERUNS = (("load", "parts", "sub", "merge"), ("merge",), ("parts", "merge"), NAMES, ("sub",))
STEP_ACTIONS = (
    *("release", "release", "begin", "begin", "progress", "retry", "park", "readied", "skip"),
    *("succeed", "fail", "settle", "ready", "wait", "adjust"),
)
JOB_ACTIONS = (
    *("widen", "child", "item_child", "rerun", "close", "pause", "resume", "cancelling"),
    *("overdue", "signal", "heard", "closing", "fail_job", "answer", "remind", "limit", "fleet"),
    *("flow", "sample", "starve", "measure"),
)
ACTIONS = (*STEP_ACTIONS * 5, *JOB_ACTIONS)  # most of them about steps


class RandomHistory:
    """Plays actions on a tree of reports and keeps the state of every step of this generation."""

    def __init__(self, partition: int = 0) -> None:
        self.history = History(partition)
        self.jobs = [self.history.submit(LONG, key=f"k{partition}")]
        self.parents: dict[UUID, UUID | None] = {self.jobs[0]: None}
        self.starters: dict[UUID, tuple[UUID, str]] = {}
        self.states: dict[tuple[UUID, str], str] = {}
        self.streams: set[tuple[UUID, str]] = set()  # steps that have events of their own
        self.old: set[tuple[UUID, str]] = set()  # those of them that have not been renewed
        self.generations: dict[UUID, int] = {self.jobs[0]: 1}
        self.begun: dict[UUID, int] = {}
        self.requests: list[UUID] = []
        self.signals: list[str] = []
        self.incidents: list[UUID] = []

    def play(self, action: str, pick: int) -> None:
        job = self.jobs[pick % len(self.jobs)]
        if action in JOB_ACTIONS:
            getattr(self, f"_{action}")(job, pick)
            return
        path = PATHS[pick % len(PATHS)]
        if path.startswith("parts") and (job, "parts") not in self.states:
            self._open(job)
        state = self.states.get((job, path), "")
        if state not in STEP_ENDED and self._may_begin(job, path):
            getattr(self, f"_{action}")(job, path, state)

    def _may_begin(self, job: UUID, path: str) -> bool:
        if not path.endswith("]"):
            return True
        fan_out_is_open = self.states.get((job, "parts")) == "waiting"
        return fan_out_is_open and int(path[6:-1]) < self.begun[job]

    def _began(self, job: UUID, path: str) -> None:
        """Note that a step has a stream; one that has an older generation is renewed first."""
        if (job, path) in self.old:
            self.old.discard((job, path))
            self.history.renew(job, path, self.generations[job])
        self.streams.add((job, path))

    # --- steps ------------------------------------------------------------------------------------

    def _open(self, job: UUID) -> None:
        self.begun[job] = 2
        self._began(job, "parts")
        self.states[job, "parts"] = "waiting"
        self.history.open_items(job, "parts", count=ITEMS, begun=2)

    def _release(self, job: UUID, path: str, state: str) -> None:
        if state in ("", "ready", "retrying"):
            self._began(job, path)
            self.history.release(job, path)
            self.states[job, path] = "released"

    def _begin(self, job: UUID, path: str, state: str) -> None:
        if state == "released":
            self.history.begin(job, path)
            self.states[job, path] = "running"

    def _progress(self, job: UUID, path: str, state: str) -> None:
        if state == "running":
            self.history.progress(job, path, 0.5, "half of it")

    def _retry(self, job: UUID, path: str, state: str) -> None:
        if state in ("released", "running"):
            self.history.retry(job, path)
            self.states[job, path] = "retrying"

    def _succeed(self, job: UUID, path: str, state: str) -> None:
        if state in ("released", "running"):
            self.history.succeed(job, path)
            self.states[job, path] = "succeeded"

    def _fail(self, job: UUID, path: str, state: str) -> None:
        if state in ("released", "running", "waiting_user", "waiting"):
            self.history.fail(job, path)
            self.states[job, path] = "failed"
            if not path.endswith("]"):
                self.history.advance(job, settled={path: "failed"}, caught={path: "undo"})

    def _ready(self, job: UUID, path: str, state: str) -> None:
        if not state and not path.endswith("]"):
            self.history.advance(job, readied={path: ()})
            self.states[job, path] = "ready"

    def _settle(self, job: UUID, path: str, state: str) -> None:
        if path.endswith("]"):
            self.history.advance(job, items={"parts": {"cancelled": (int(path[6:-1]),)}})
        else:
            self.history.advance(job, settled={path: "cancelled"})
        self.states[job, path] = "cancelled"

    def _park(self, job: UUID, path: str, state: str) -> None:
        if state in ("released", "running"):
            if not self.requests:
                self.requests.append(self.history.ask(job, path))
            self.history.park(job, path, self.requests[-1], patience=60.0)
            self.states[job, path] = "waiting_user"

    def _readied(self, job: UUID, path: str, state: str) -> None:
        if state in ("retrying", "waiting_user"):
            self.history.ready_again(job, path, by="ada")
            self.states[job, path] = "ready"

    def _skip(self, job: UUID, path: str, state: str) -> None:
        if state == "waiting_user":
            self.history.skip(job, path)
            self.states[job, path] = "skipped"

    def _wait(self, job: UUID, path: str, state: str) -> None:
        if path == "hold" and state in ("", "ready"):
            self._began(job, path)
            self.history.wait_for(job, path, "go", until=self.history.now)
            self.states[job, path] = "waiting"

    def _adjust(self, job: UUID, path: str, state: str) -> None:
        self.history.adjust(job, path.partition("[")[0], window=7, tolerated=1)

    # --- jobs -------------------------------------------------------------------------------------

    def _widen(self, job: UUID, pick: int) -> None:
        if self.states.get((job, "parts")) == "waiting" and self.begun[job] < ITEMS:
            self.begun[job] = ITEMS
            self.history.advance(job, begun={"parts": ITEMS})

    def _child(self, job: UUID, pick: int, path: str = "sub") -> None:
        if (job, path) not in self.states and len(self.jobs) < JOBS_MAX:
            self._began(job, path)
            self.states[job, path] = "waiting"
            child = self.history.open_child(job, path, LONG, self.generations[job])
            self.jobs.append(child)
            self.generations[child] = 1
            self.parents[child] = job
            self.starters[child] = (job, path.partition("[")[0])

    def _item_child(self, job: UUID, pick: int) -> None:
        if self._may_begin(job, "parts[1]"):
            self._child(job, pick, "parts[1]")

    def _close(self, job: UUID, pick: int) -> None:
        """A fan-out is stopped: what is in flight is told, the rest goes with it."""
        if self.states.get((job, "parts")) == "waiting":
            for path in self._under_way(job, "parts["):
                self._cancel_step(job, path)
                self.states[job, path] = "cancelled"
            self._cancel_step(job, "parts")
            self.history.advance(job, settled={"parts": "cancelled"})
            self.states[job, "parts"] = "cancelled"

    def _rerun(self, job: UUID, pick: int) -> None:
        """What runs is cancelled, at times just after the new generation has begun."""
        names = RERUNS[pick % len(RERUNS)]
        self.generations[job] += 1
        running = [path for name in names for path in self._under_way(job, name)]
        running = [path for path in running if path.partition("[")[0] in names]
        early = pick % 2 == 0
        for path in running if early else ():
            self._cancel_step(job, path)
        self.history.rerun(job, names, self.generations[job])
        for path in running if not early else ():
            self._cancel_step(job, path)
        for key in [key for key in self.states if key[0] == job]:
            if key[1].partition("[")[0] in names:
                del self.states[key]
        self.old |= {
            key for key in self.streams if key[0] == job and key[1].partition("[")[0] in names
        }
        for child, starter in self.starters.items():
            if starter[0] == job and starter[1] in names:
                self.parents[child] = None

    def _under_way(self, job: UUID, prefix: str) -> list[str]:
        return [
            path
            for (owner, path), state in self.states.items()
            if owner == job and path.startswith(prefix) and self._is_under_way(job, path, state)
        ]

    def _is_under_way(self, job: UUID, path: str, state: str) -> bool:
        begun = (job, path) in self.streams and (job, path) not in self.old
        return begun and state not in STEP_ENDED

    def _cancel_step(self, job: UUID, path: str) -> None:
        self.history.step(job, path, StepCancelled, reason="stop")

    def _pause(self, job: UUID, pick: int) -> None:
        self.history.pause(job)

    def _resume(self, job: UUID, pick: int) -> None:
        self.history.resume(job)

    def _cancelling(self, job: UUID, pick: int) -> None:
        self.history.cancelling(job, reason="too dear")

    def _overdue(self, job: UUID, pick: int) -> None:
        self.history.overdue(job)

    def _closing(self, job: UUID, pick: int) -> None:
        self.history.advance(job, closing=True)

    def _fail_job(self, job: UUID, pick: int) -> None:
        self.history.fail_job(job)

    def _signal(self, job: UUID, pick: int) -> None:
        self.signals.append(str(pick))
        self.history.signal(job, "go", str(pick))

    def _heard(self, job: UUID, pick: int) -> None:
        if self.signals:
            self.history.advance(job, heard={self.signals.pop(0): "go"})

    def _answer(self, job: UUID, pick: int) -> None:
        """All who wait go on, and the request is over."""
        if not self.requests:
            return
        request = self.requests.pop()
        if pick % 3 == 0:
            self.history.withdraw(request)
        else:
            self.history.answer(request, {"token": pick})
        for (owner, path), state in self.states.items():
            if state == "waiting_user":
                self.history.ready_again(owner, path, answer=self.history.payload(pick))
                self.states[owner, path] = "ready"

    def _remind(self, job: UUID, pick: int) -> None:
        if self.requests:
            self.history.remind(self.requests[-1], pick)

    def _limit(self, job: UUID, pick: int) -> None:
        self.history.change_limit(f"api-{pick % 2}", slots=pick, by="ada")

    def _fleet(self, job: UUID, pick: int) -> None:
        self.history.change_fleet({"default": pick}, "crm.load")

    def _flow(self, job: UUID, pick: int) -> None:
        self.history.set_flow(policy=("fifo", "fair")[pick % 2], weights={"a": float(pick)})

    def _sample(self, job: UUID, pick: int) -> None:
        stages = [stage(name, ready=pick, arrived=pick) for name in ("load", "merge")]
        open_ones = tuple(self.incidents[-2:])
        self.history.sample(queue(*stages[: pick % 3], out=pick), incidents=open_ones)

    def _starve(self, job: UUID, pick: int) -> None:
        """Stages starve, or do so no more."""
        if self.incidents and pick % 2:
            self.history.end_starving(self.incidents.pop())
        else:
            self.incidents.append(self.history.starve())

    def _measure(self, job: UUID, pick: int) -> None:
        if self.incidents:
            steps = (self.history.propose, self.history.take_measure, self.history.end_measure)
            steps[pick % 3](self.incidents[-1])

    # --- the plain way ----------------------------------------------------------------------------

    def counts(self, top: UUID) -> Counter[str]:
        """Count the steps below a job, one by one."""
        found: Counter[str] = Counter()
        for job in self.jobs:
            if self._is_below(job, top):
                found.update(self.states.get((job, name), "pending") for name in NAMES)
                found.update(self._items(job))
        return found

    def _items(self, job: UUID) -> list[str]:
        fan_out = self.states.get((job, "parts"))
        if fan_out is None:
            return []
        unknown = ["ready" if index < self.begun[job] else "pending" for index in range(ITEMS)]
        if fan_out in STEP_ENDED:
            unknown = ["cancelled"] * ITEMS
        return [self.states.get((job, f"parts[{i}]"), state) for i, state in enumerate(unknown)]

    def _is_below(self, job: UUID | None, top: UUID) -> bool:
        return job is not None and (job == top or self._is_below(self.parents[job], top))


def played(actions: list[tuple[str, int]], partition: int = 0) -> RandomHistory:
    """Return what becomes of the actions, each with a number that picks job and step."""
    world = RandomHistory(partition)
    for action, pick in actions:
        world.play(action, pick)
    return world
