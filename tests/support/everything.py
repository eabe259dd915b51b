"""A world in which everything happens that may happen, and every promise is checked by name.

First come faults, random work and random commands. Then the faults end and the work goes well,
until nothing moves but by people. Then people give all that is waited for, and every job must end.
At last parts of some jobs begin anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import msgspec
from support.flow_chance import ChanceDetector
from support.promises.folded import Broken
from support.promises.keeper import Promises
from support.promises.messages import WatchedController
from support.random_commands import RandomCommands
from support.random_jobs import TREE, RandomJobs
from support.random_options import maybe
from support.random_themes import random_theme
from support.random_work import QUEUES, RandomWorker
from support.world import INBOX, World

from warrener.adapters.faults import Faults
from warrener.adapters.memory_events import MemoryEventStore
from warrener.domain.definition.model import Timeout
from warrener.domain.events import Recorded
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.settings import FlowSettings, Mode
from warrener.domain.ids import job_id, split_path
from warrener.domain.messages import (
    ChangeFlow,
    ChangeLimit,
    Command,
    CommandReply,
    RunStep,
    WorkerHello,
)
from warrener.domain.ports import Outgoing
from warrener.domain.topology import POISON, orders_queue, reply_queue
from warrener.services.controller import Controller
from warrener.services.submission import Source, submission
from warrener.services.turn import Chance

SLOTS = 2
WINDOW_MAX = 5
FAULTY_TURNS = 150
WATCHED_EVERY = 5
MODES: tuple[Mode, ...] = ("act", "advise", "act", "advise", "observe", "off")
ROUNDS_MAX = 40  # of people giving what is waited for
TURNS_MAX = 20_000  # to come to rest, an hour or more of looks at each second among them
REST_SECONDS_MAX = 2 * 24 * 3600.0  # of virtual time
ME = reply_queue("people")
GARBAGE = (b"", b"{", b'{"type":"Nothing"}', b'{"type":"CancelJob","job":7}', b"\xff")


class WatchedLog(MemoryEventStore):
    """The log; it tells of every commit."""

    promises: Promises

    def commit(
        self,
        events: Sequence[Recorded],
        blobs: Mapping[str, bytes],
        published: int = 0,
        after: int | None = None,
    ) -> int:
        """Append the events."""
        before = self.head()
        position = super().commit(events, blobs, published, after)
        if self.head() > before:
            self.promises.committed(self.head() - before)
        return position


class Everything(World):
    """One seed's world."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        draws = Random(seed)
        self.theme = random_theme(draws)
        self.jobs = RandomJobs(draws, self.theme)
        self.looks = Random(seed)  # when to look closer; changes nothing
        self.healthy = False
        self.nonsense = self.asked = 0
        self.jumps = maybe(draws, 0.2)
        self.steered = maybe(draws, 0.85)
        self.watched = seed % WATCHED_EVERY == 3  # draws nothing: others stay as they were
        log = WatchedLog()
        log.promises = self.promises = Promises(log, WINDOW_MAX)
        super().__init__(seed, self._no_answer, random_faults(draws), workers=0, log=log)
        for queue in (POISON, *(orders_queue(queue) for queue in QUEUES)):
            self.client.declare(queue)
        self.client.subscribe(ME)
        self.commands = RandomCommands(self.random, self.promises.folded, self.theme.commands)
        self.workers = [RandomWorker(self, f"w{number}") for number in range(2)]

    def _no_answer(self, order: RunStep, random: Random) -> tuple[str, Any]:
        raise AssertionError("these workers answer for themselves")

    # --- parts -----------------------------------------------------------------------------------

    inboxes = (INBOX, POISON)

    def new_controller(self) -> Controller:
        """Return a controller that tells what becomes of messages."""
        chance = Chance(lambda: f"{self.random.getrandbits(128):032x}", self.random.random)
        mode = MODES[self.seed // WATCHED_EVERY % len(MODES)] if self.watched else "act"
        flow = lambda: Flow(  # noqa: E731
            lambda _: SLOTS, FlowSettings(mode=mode), window_max=WINDOW_MAX
        )
        return WatchedController(
            self.promises.g8,
            self.store,
            flow,
            chance,
            INBOX,
            watches=self.watched,
            detector=ChanceDetector(self.seed, lambda: self.healthy) if self.watched else None,
            live=self.promises.live,
        )

    def start_reactor(self) -> None:
        """Start the reactor; everything it knows comes from the log."""
        super().start_reactor()
        self.promises.after_load(self.reactor.controller)

    def timeout(self, order: RunStep) -> Timeout | None:
        """Return the timeouts of the step of an order."""
        job = self.promises.folded.jobs[order.job]
        name, _ = split_path(order.path)
        return self.promises.folded.plan(job).steps[name].definition.timeout

    # --- turns -----------------------------------------------------------------------------------

    def turn(self) -> bool:
        """Let everybody do what there is to do, and check what came of it."""
        busy = super().turn()
        for delivery in self.client.poll(100).deliveries:
            self.promises.answered(msgspec.json.decode(delivery.body, type=CommandReply))
        self.promises.after_turn(self.reactor.controller)
        if self.looks.random() < 0.04:
            self.look_closer()
        return busy

    def look_closer(self) -> None:
        """Compare the controller with one that loads the log now."""
        now = self.clock.now()
        fresh = Controller(
            self.log, lambda: Flow(lambda _: SLOTS), Chance(lambda: "", lambda: 0.0), INBOX
        )
        fresh.recover(self.log.open_roots(), now)
        self.promises.restart.check(self.reactor.controller, fresh, now)

    def pass_time(self) -> None:
        """Go to the next moment at which anything is due."""
        moment = self.next_moment()
        second = self.clock.now() + timedelta(seconds=1)
        self.clock.set(max(self.clock.now(), second if moment is None else moment))

    def next_moment(self) -> datetime | None:
        """Return when anything is due, None if nothing ever is.

        Looks at a flow in which nothing is found or done count only while faults go on.
        """
        controller, now = self.reactor.controller, self.clock.now()
        looks = controller.control.incidents.known or not self.healthy
        due = [controller.next_due(now) if looks else controller.next_work(now)]
        due += [self.broker.next_due(), *(worker.next_due() for worker in self.workers)]
        return min((moment for moment in due if moment is not None), default=None)

    # --- what comes from outside -----------------------------------------------------------------

    def send(self, command: Command, message_id: str) -> None:
        """Give a command, now and then twice."""
        asked = msgspec.structs.replace(command, reply_to=ME)
        body = msgspec.json.encode(asked)
        for _ in range(2 if maybe(self.random, 0.2) else 1):
            self.client.publish([Outgoing(INBOX, body, message_id)])

    def submit_all(self) -> None:
        """Ask for one to three root jobs, some of them again and again."""
        source = Source(self.jobs.definitions[TREE], self.jobs.definitions)
        if maybe(self.random, self.theme.queued):
            self.send(ChangeFlow(intake="queue"), "command/intake")
            self.send(
                ChangeLimit(name="@jobs", slots=self.random.choice((0, 1, 2))), "command/jobs"
            )
        for number in range(self.random.choice(self.theme.roots)):
            key = f"{self.seed}-{number}"
            self.roots.append(job_id(key))
            message = submission(source, self.jobs.params(), key=key)
            while self.log.last(job_id(key)) is None or maybe(self.random, 0.2):
                self.send(message, f"submit/{key}")
                self._work(5)

    def _work(self, turns: int) -> None:
        for _ in range(turns):
            if not self.turn():
                self.pass_time()

    def disturb(self) -> None:
        """Let chance steer, send nonsense, announce workers, and set the clock."""
        if self.steered and self.random.random() < self.theme.steered:
            command = self.commands.draw()
            if command is not None:
                self.asked += 1
                self.send(command, f"command/{self.asked}")
        if self.random.random() < 0.01:
            self.client.publish([Outgoing(INBOX, self.random.choice(GARBAGE), "garbage")])
        if self.random.random() < 0.02:
            self._announce()
        if self.watched and self.random.random() < 0.005:
            self.asked += 1
            mode = self.random.choice(MODES)
            self.send(ChangeFlow(mode=mode, by="chance"), f"command/{self.asked}")
        if self.jumps and self.random.random() < 0.02:
            seconds = self.random.choice((3600.0, -3600.0))
            self.clock.advance(seconds)
            self.promises.g9.clock_set_back()

    def _announce(self) -> None:
        slots = self.random.randint(0, 3)
        hello = WorkerHello(
            worker="far", host="h", pid=1, endpoints=("work",), queues=QUEUES, slots=slots
        )
        self.client.publish([Outgoing(INBOX, msgspec.json.encode(hello), "hello")])

    # --- the whole -------------------------------------------------------------------------------

    def run_all(self) -> None:
        """Go through faults, rest and the end; raises `Broken` if a promise is."""
        self.submit_all()
        for _ in range(FAULTY_TURNS):
            self.disturb()
            self._work(1)
        self.heal()
        self.rest()
        self.end_all("last")
        self.send_all("anew", self.commands.begin_anew())
        self.end_all("again")
        self.look_closer()
        self.promises.documents()

    def heal(self) -> None:
        """End all faults; what was lost is sent again."""
        self.faults.none()
        self.healthy = True
        self.restart()
        self.client.publish([Outgoing(INBOX, GARBAGE[1], "garbage/last")])

    def rest(self) -> None:
        """Go on until nothing moves and nothing is due; then all that is open waits for people."""
        began = self.clock.now()
        for _ in range(TURNS_MAX):
            if not self.turn():
                if self.next_moment() is None:
                    break
                self.pass_time()
            if (self.clock.now() - began).total_seconds() > REST_SECONDS_MAX:
                raise Broken("G6", f"no rest after {REST_SECONDS_MAX} seconds")
        else:
            raise Broken("G6", f"no rest after {TURNS_MAX} turns")
        self.promises.still(self.clock.now())
        for queue in (INBOX, POISON, *(orders_queue(queue) for queue in QUEUES)):
            self.promises.g8.left_over(queue, self.left_in(queue))

    def send_all(self, name: str, commands: Sequence[Command]) -> None:
        """Give commands, wait until all is at rest, and see that all of them are answered."""
        names = [f"{name}/{place}" for place in range(len(commands))]
        for each, command in zip(names, commands, strict=True):
            self.send(command, each)
        self.rest()
        self.promises.g8.unanswered(names)

    def end_all(self, name: str) -> None:
        """Have people give whatever is waited for, until every job has ended."""
        for number in range(ROUNDS_MAX):
            if not self.promises.folded.open_jobs():
                break
            self.send_all(f"{name}/{number}", self.commands.let_go(f"{name}-{number}"))
        left = self.promises.folded.open_jobs()
        if left:
            raise Broken("G6", f"people gave all that was asked for, and {left} are open")
        self.promises.g8.quarantine(self.memory_broker.reasons(), 1)

    def left_in(self, queue: str) -> int:
        """Return how many messages of a queue wait, or are held by somebody."""
        found = self.memory_broker.queue(queue)
        channels: list[Any] = list(found.consumers)
        held = sum(m.queue is found for channel in channels for m in channel._held.values())
        return len(found.waiting) + held

    def open_roots(self) -> list[UUID]:
        """Return the root jobs that have not ended."""
        return [job for job in self.roots if job in self.promises.folded.open_jobs()]


def random_faults(random: Random) -> Faults:
    """Draw how likely each fault is; some worlds have none."""
    if maybe(random, 0.15):
        return Faults()
    return Faults(
        drop=random.choice((0.0, 0.0, 0.0, 0.05)),
        unconfirmed=random.choice((0.0, 0.0, 0.03)),
        duplicate=random.choice((0.0, 0.3)),
        reorder=random.choice((0.0, 0.3)),
        delay=random.choice((0.0, 0.2)),
        crash=random.choice((0.0, 0.02, 0.06)),
        store_down=random.choice((0.0, 0.04)),
        outcome_unknown=random.choice((0.0, 0.04)),
        conflict=random.choice((0.0, 0.04)),
    )


def run(seed: int) -> Everything:
    """Run the world of a seed; raises `Broken`, or whatever error the program ended with."""
    world = Everything(seed)
    world.run_all()
    return world
