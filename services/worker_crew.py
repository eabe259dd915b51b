"""The child processes of a worker: started as needed, heard, watched over, and replaced."""

from __future__ import annotations

import contextlib
import selectors
import time
from collections.abc import Callable

import msgspec
import structlog

from warrener.domain.errors import UsageError
from warrener.services.child_memory import MEASURABLE
from warrener.services.log_facts import facts_of
from warrener.services.worker_handle import Child
from warrener.services.worker_link import FULL, PULSE, READY, REPORT, UNFIT, Hello, Progress

STARTS_FAILED_MAX = 5
RESTART_SECONDS_MAX = 1.0
CLOSE_SECONDS = 1.0
ENDING_SECONDS_MAX = 5.0  # for a child that was let go
WATCH_SECONDS = 0.1
MEMORY_EXCESS_MAX = 1.5  # times the ceiling, while a step runs

_MIB = 1024 * 1024

log = structlog.get_logger()


class Policy(msgspec.Struct, frozen=True):
    """When a child is replaced or ended.

    After `tasks_max` tasks, or once it holds more than `memory_bytes_max`, a child is replaced as
    soon as it has nothing to do; far above that bound it is killed at once. A cancelled step has
    `grace_seconds` to end. Children tell of progress every `pulse_seconds` at most.
    """

    tasks_max: int | None = None
    memory_bytes_max: int | None = None
    grace_seconds: float = 5.0
    pulse_seconds: float = 5.0


class Crew:
    """Up to `limit` children at work. `on_report` and `on_death` hear what becomes of tasks.

    Raises `UsageError` from `serve` if children cannot load the modules.
    """

    def __init__(
        self,
        limit: int,
        hello: Hello,
        policy: Policy,
        *,
        on_report: Callable[[Child, bytes], None],
        on_death: Callable[[Child, str], None],
    ) -> None:
        """Start nobody yet; every child is told `hello`, with a name of its own."""
        self.children: list[Child] = []
        self.endpoints: dict[str, str] | None = None  # name -> queue, once a child has told
        self._limit = limit
        self._hello = hello
        self._policy = policy
        self._replaces = policy.tasks_max is not None or policy.memory_bytes_max is not None
        self._on_report = on_report
        self._on_death = on_death
        self._selector = selectors.DefaultSelector()
        self._ending: list[Child] = []
        self._started = 0
        self._starts_failed = 0
        self._deaths = 0  # in a row, without a report between them
        self._restart_at = 0.0
        self._watch_at = 0.0
        self._boot_seconds = 0.5

    def grow(self, demand: int) -> None:
        """Start as many children as there are tasks that could use one.

        A successor is started before a child is given its last task, so that no slot stands empty.
        """
        wanted = min(self._limit, demand)
        if self._replaces:
            wanted = min(wanted + sum(map(self._fading, self.children)), 2 * self._limit)
        while len(self.children) < wanted and time.monotonic() >= self._restart_at:
            self._start()

    def patience(self, left: float) -> float:
        """Return how long to wait: not past the time when a child may be started again."""
        pause = self._restart_at - time.monotonic()
        return min(left, pause) if pause > 0 else left

    def serve(self, timeout_seconds: float) -> None:
        """Hear what children have to say; waits up to the timeout for the first one."""
        for key, _ in self._selector.select(timeout_seconds):
            act, child = key.data
            if child in self.children:  # its death may have been seen in this round already
                act(child)

    def watch(self, now: float) -> None:
        """Replace and end children as the policy says. Cheap: looks a few times a second."""
        if now < self._watch_at:
            return
        self._watch_at = now + WATCH_SECONDS
        for child in list(self.children):
            child.side.flush()
            self._measure(child)
            self._end_if_overdue(child, now)
            self.release(child)
        self._ending = [child for child in self._ending if not self._ended(child, now)]

    def release(self, child: Child) -> None:
        """Let a child go that is to be given nothing more, once it has nothing to do."""
        if child.leaving and not child.tasks:
            self.children.remove(child)
            self._forget(child)
            self._ending.append(child)
            child.let_go()
            log.debug("child.replaced", child=child.name, tasks=child.given)

    def watch_writes(self, child: Child) -> None:
        """Have the rest of what a child was sent follow when there is room for it."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if child.link.sending else 0)
        if self._selector.get_key(child.link.socket).events != events:
            self._selector.modify(child.link.socket, events, (self._hear_all, child))

    def close(self) -> None:
        """Let the children end; those that still run a step after a second are killed."""
        everybody = [*self.children, *self._ending]
        for child in everybody:
            self._forget(child)
            child.link.socket.close()
            child.side.socket.close()
        deadline = time.monotonic() + CLOSE_SECONDS
        for child in everybody:
            child.end(max(0.0, deadline - time.monotonic()))
        self.children.clear()
        self._ending.clear()
        self._selector.close()

    # --- starting --------------------------------------------------------------------------------

    def _start(self) -> None:
        self._started += 1
        name = f"{self._hello.worker}-{self._started}"
        hello = msgspec.structs.replace(self._hello, worker=name)
        child = Child(hello, self._policy.tasks_max)
        self.children.append(child)
        for source, act in (
            (child.link.socket, self._hear_all),
            (child.side.socket, self._hear_side),
            (child.sentinel, self._bury),
        ):
            if source is not None:
                self._selector.register(source, selectors.EVENT_READ, (act, child))

    def _ready(self, child: Child, endpoints: bytes) -> None:
        child.ready = True
        self._starts_failed = 0
        self._boot_seconds = time.monotonic() - child.started
        self.endpoints = msgspec.json.decode(endpoints, type=dict[str, str])

    # --- hearing ---------------------------------------------------------------------------------

    def _hear_all(self, child: Child) -> None:
        child.link.flush()
        self.watch_writes(child)
        for kind, body in child.link.receive():
            self._hear(child, kind, body)
        if child.link.closed:
            self._bury(child)
        else:
            self.release(child)

    def _hear(self, child: Child, kind: bytes, body: bytes) -> None:
        if kind == REPORT:
            self._deaths = 0
            self._on_report(child, body)
            if child.last_seconds > WATCH_SECONDS / 2:  # else the next look is soon enough
                self._measure(child)
        elif kind == READY:
            self._ready(child, body)
        elif kind == UNFIT:
            raise UsageError(body.decode())
        elif kind == FULL:
            child.leaving = True

    def _hear_side(self, child: Child) -> None:
        for kind, body in child.side.receive():
            if kind == PULSE:
                child.note(msgspec.json.decode(body, type=Progress))
        if child.side.closed:
            self._selector.unregister(child.side.socket)

    # --- watching --------------------------------------------------------------------------------

    def _fading(self, child: Child) -> bool:
        """Say whether the child will be given its last task before a successor could be ready."""
        if child.leaving:
            return True
        if self._policy.tasks_max is None or not child.given:
            return False
        left = self._policy.tasks_max - child.given
        return left * child.pace_seconds <= 2 * self._boot_seconds

    def _measure(self, child: Child) -> None:
        ceiling = self._policy.memory_bytes_max
        if ceiling is None or not MEASURABLE or child.killed_for:
            return
        held = child.resident_bytes()
        if held > ceiling:
            child.leaving = True
        if held > MEMORY_EXCESS_MAX * ceiling and child.tasks:
            held_mib, ceiling_mib = held // _MIB, ceiling // _MIB
            child.kill(f"was killed for its memory ({held_mib} MiB, {ceiling_mib} allowed)")

    def _end_if_overdue(self, child: Child, now: float) -> None:
        since, grace = child.cancelled_since, self._policy.grace_seconds
        if since is not None and now - since > grace and not child.killed_for:
            child.kill(f"was killed {grace:g} s after the step was cancelled")

    def _ended(self, child: Child, now: float) -> bool:
        if child.running and now - (child.ending_since or now) < ENDING_SECONDS_MAX:
            return False
        child.end(0.0)
        return True

    # --- dying -----------------------------------------------------------------------------------

    def _bury(self, child: Child) -> None:
        """Take what a dead child had still said, and tell of its death."""
        for kind, body in child.link.receive(to_the_end=True):
            self._hear(child, kind, body)
        self._forget(child)
        self.children.remove(child)
        how = child.end(CLOSE_SECONDS)
        if not child.killed_for:
            self._count_death(child, how)
        lost = facts_of(child.tasks[0].order) if child.tasks else {}
        log.info("child.lost", child=child.name, pid=child.pid, how=how, **lost)
        self._on_death(child, how)

    def _count_death(self, child: Child, how: str) -> None:
        self._deaths += 1
        if self._deaths > 1:
            pause = min(RESTART_SECONDS_MAX, 0.05 * 2.0 ** min(self._deaths - 2, 10))
            self._restart_at = time.monotonic() + pause
        if not child.ready:
            self._starts_failed += 1
            if self._starts_failed >= STARTS_FAILED_MAX:
                names = ", ".join(self._hello.modules) or "no modules"
                raise UsageError(
                    f"worker processes die before they can work: the last one {how}"
                    f" while it loaded {names}"
                )

    def _forget(self, child: Child) -> None:
        for source in (child.link.socket, child.side.socket, child.sentinel):
            if source is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(source)
