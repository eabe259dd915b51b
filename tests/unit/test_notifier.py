"""Following the log: at least once, in order, and never stuck."""

from __future__ import annotations

import pytest
import structlog
from support.histories import START
from support.notices import KeptNotifier, Requests

from warrener.adapters.clock import VirtualClock
from warrener.adapters.memory_positions import MemoryPositions
from warrener.domain.errors import NotificationDelayed, NotificationRefused, StoreUnavailable
from warrener.domain.notices import KINDS
from warrener.services.notices import Notices
from warrener.services.notifier import BATCH_EVENTS, NotifierDaemon, Patience, Teller

HOUR = 3600.0


class Crash(BaseException):
    """The process ends here."""


class World:
    """A log, a clock, positions, and tellers that come and go."""

    def __init__(self, *notifiers: KeptNotifier) -> None:
        self.requests = Requests()
        self.clock = VirtualClock(START)
        self.positions = MemoryPositions()
        self.notifiers = notifiers or (KeptNotifier(),)
        self.log = self.requests.history.store

    def tellers(self, patience: Patience | None = None, *, from_now: bool = False) -> list[Teller]:
        notices = Notices(self.log, KINDS)
        made = [
            Teller(notifier, self.log, self.positions, notices, patience)
            for notifier in self.notifiers
        ]
        for teller in made:
            teller.start(from_now=from_now)
        return made

    def work(self, *tellers: Teller) -> None:
        """Give turns until nobody has anything to do at this time."""
        while sum(teller.turn(self.clock.now()) for teller in tellers):
            pass

    def told(self, number: int = 0) -> list[object]:
        return [each.request for each in self.notifiers[number].told]


def test_what_the_log_holds_is_told_in_order_and_once() -> None:
    world = World()
    job = world.requests.job()
    asked = [world.requests.ask(job) for _ in range(5)]
    (teller,) = world.tellers()

    world.work(teller)
    world.work(teller)

    assert world.told() == asked
    assert teller.position == world.log.head()


def test_what_comes_later_is_told_when_it_comes() -> None:
    world = World()
    (teller,) = world.tellers()
    world.work(teller)

    asked = world.requests.ask(world.requests.job())
    world.work(teller)

    assert world.told() == [asked]


def test_a_second_process_goes_on_where_the_first_stopped() -> None:
    world = World()
    job = world.requests.job()
    world.requests.ask(job)
    world.work(*world.tellers())

    later = world.requests.ask(job)
    world.work(*world.tellers())

    assert world.told()[1:] == [later]


def test_a_crash_between_sending_and_saving_sends_again_with_the_same_id() -> None:
    world = World()
    job = world.requests.job()
    first, second = world.requests.ask(job), world.requests.ask(job)
    (teller,) = world.tellers()

    def crash(*_: object) -> None:
        raise Crash

    world.positions.save = crash  # type: ignore[method-assign]
    with pytest.raises(Crash):
        world.work(teller)
    del world.positions.save  # type: ignore[method-assign]
    world.work(*world.tellers())

    assert world.told() == [first, first, second]
    assert world.notifiers[0].told[0] == world.notifiers[0].told[1]


def test_a_late_start_passes_over_what_is_settled() -> None:
    world = World()
    job = world.requests.job()
    answered, withdrawn, waiting = (world.requests.ask(job) for _ in range(3))
    world.requests.answer(answered)
    world.requests.withdraw(withdrawn)
    (teller,) = world.tellers()

    world.work(teller)

    assert world.told() == [waiting]
    assert (teller.tally.told, teller.tally.passed_over) == (1, 2)


def test_from_now_begins_after_the_log_the_first_time_only() -> None:
    world = World()
    job = world.requests.job()
    world.requests.ask(job)
    (teller,) = world.tellers(from_now=True)
    world.work(teller)

    while_away = world.requests.ask(job)
    world.work(*world.tellers(from_now=True))

    assert world.told() == [while_away]


def test_from_now_is_remembered_even_if_nothing_was_told() -> None:
    world = World()
    world.requests.ask(world.requests.job())
    world.tellers(from_now=True)

    world.work(*world.tellers())

    assert world.told() == []


def test_a_position_of_another_log_is_set_to_the_end_of_this_one() -> None:
    world = World()
    job = world.requests.job()
    world.requests.ask(job)
    world.positions.save("notifier/kept", 1_000_000)
    (teller,) = world.tellers()

    asked = world.requests.ask(job)
    world.work(teller)

    assert world.told() == [asked]


# --- failures ---------------------------------------------------------------------------------


def test_a_delayed_notification_is_tried_again_with_growing_pauses() -> None:
    failures = [NotificationDelayed("busy")] * 4
    world = World(KeptNotifier("kept", *failures))
    asked = world.requests.ask(world.requests.job())
    (teller,) = world.tellers()
    pauses = []

    world.work(teller)
    while not world.told():
        tries = len(world.notifiers[0].tries)
        pauses.append(0)
        while len(world.notifiers[0].tries) == tries:
            world.clock.advance(1)
            pauses[-1] += 1
            world.work(teller)

    assert world.told() == [asked]
    assert pauses == [1, 3, 9, 27]


def test_the_other_side_may_ask_for_a_longer_pause_within_a_bound() -> None:
    patience = Patience()

    assert patience.pause(1, None) == 1
    assert patience.pause(1, 0.0) == 1
    assert patience.pause(1, 120.0) == 120
    assert patience.pause(1, 1e9) == patience.pause_seconds_max
    assert patience.pause(8, None) == patience.pause_seconds_max


def test_a_notification_that_fails_for_good_does_not_hold_up_the_next() -> None:
    world = World(KeptNotifier("kept", NotificationRefused("no")))
    job = world.requests.job()
    _refused, fine = world.requests.ask(job), world.requests.ask(job)
    (teller,) = world.tellers()

    with structlog.testing.capture_logs() as logged:
        world.work(teller)

    assert world.told() == [fine]
    assert (teller.tally.told, teller.tally.given_up) == (1, 1)
    (entry,) = [line for line in logged if line["event"] == "notification.given_up"]
    assert (entry["reason"], entry["by"], entry["log_level"]) == ("no", "kept", "error")


def test_a_notification_is_given_up_after_so_many_tries() -> None:
    world = World(KeptNotifier("kept", *[NotificationDelayed("busy")] * 3))
    job = world.requests.job()
    _lost, fine = world.requests.ask(job), world.requests.ask(job)
    (teller,) = world.tellers(Patience(tries_max=3))

    for _ in range(4):
        world.work(teller)
        world.clock.advance(HOUR)

    assert world.told() == [fine]
    assert len(world.notifiers[0].tries) == 4
    assert teller.tally.given_up == 1


def test_a_notification_that_was_given_up_is_not_tried_by_the_next_process() -> None:
    world = World(KeptNotifier("kept", NotificationRefused("no")))
    world.requests.ask(world.requests.job())
    world.work(*world.tellers())

    world.work(*world.tellers())

    assert len(world.notifiers[0].tries) == 1


def test_a_fault_of_a_notifier_gives_up_one_notification_and_its_words_are_not_logged() -> None:
    world = World(KeptNotifier("kept", ValueError("https://h/hunter2")))
    job = world.requests.job()
    _lost, fine = world.requests.ask(job), world.requests.ask(job)

    with structlog.testing.capture_logs() as logged:
        world.work(*world.tellers())

    assert world.told() == [fine]
    assert "ValueError at" in str(logged)
    assert "hunter2" not in str(logged)


def test_a_request_that_is_answered_while_the_other_side_is_away_is_not_told() -> None:
    world = World(KeptNotifier("kept", NotificationDelayed("busy")))
    request = world.requests.ask(world.requests.job())
    (teller,) = world.tellers()
    world.work(teller)

    world.requests.answer(request)
    world.clock.advance(HOUR)
    world.work(teller)

    assert world.told() == []
    assert teller.tally.passed_over == 1


def test_one_way_that_fails_does_not_hold_up_the_other() -> None:
    world = World(KeptNotifier("a", *[NotificationDelayed("busy")] * 99), KeptNotifier("b"))
    job = world.requests.job()
    asked = [world.requests.ask(job) for _ in range(3)]
    tellers = world.tellers()

    world.work(*tellers)

    assert (world.told(0), world.told(1)) == ([], asked)


def test_each_way_has_a_position_of_its_own() -> None:
    world = World(KeptNotifier("a", *[NotificationDelayed("busy")] * 2), KeptNotifier("b"))
    asked = world.requests.ask(world.requests.job())
    world.work(*world.tellers())

    world.clock.advance(HOUR)
    world.work(*world.tellers())  # another process, which tries anew
    world.clock.advance(HOUR)
    world.work(*world.tellers())

    assert (world.told(0), world.told(1)) == ([asked], [asked])


def test_a_long_log_with_nothing_to_tell_is_passed_in_batches_and_remembered() -> None:
    world = World()
    job = world.requests.job()
    for _ in range(13 * BATCH_EVENTS):
        world.requests.history.start(job)
    (teller,) = world.tellers()

    turns = 0
    while teller.turn(START):
        turns += 1

    assert turns == 14
    assert world.positions.get("notifier/kept") >= 5_000


# --- the daemon -------------------------------------------------------------------------------


def daemon(world: World, **options: object) -> NotifierDaemon:
    notices = Notices(world.log, KINDS)
    tellers = [Teller(each, world.log, world.positions, notices) for each in world.notifiers]
    return NotifierDaemon(tellers, world.clock, **options)


def test_once_tells_what_is_there_and_ends() -> None:
    world = World(KeptNotifier("a"), KeptNotifier("b"))
    job = world.requests.job()
    asked = [world.requests.ask(job) for _ in range(3)]

    daemon(world).run(once=True)

    assert (world.told(0), world.told(1)) == (asked, asked)
    assert world.positions.get("notifier/a") == world.log.head()


def test_once_waits_for_what_is_delayed() -> None:
    world = World(KeptNotifier("kept", NotificationDelayed("busy")))
    asked = world.requests.ask(world.requests.job())

    daemon(world, on_turn=lambda: world.clock.advance(10)).run(once=True)

    assert world.told() == [asked]


def test_once_says_what_was_given_up() -> None:
    world = World(KeptNotifier("kept", NotificationRefused("no")))
    world.requests.ask(world.requests.job())
    made = daemon(world)

    made.run(once=True)

    assert made.given_up == 1


def test_an_empty_log_is_at_its_end() -> None:
    daemon(World()).run(once=True)


def test_a_daemon_that_is_stopped_finishes_what_it_is_at_and_keeps_its_place() -> None:
    world = World()
    job = world.requests.job()
    first = world.requests.ask(job)
    world.requests.ask(job)
    made = daemon(world)
    notifier = world.notifiers[0]
    tell = notifier.tell

    def stopping(notification: object) -> None:
        made.stop()
        tell(notification)  # type: ignore[arg-type]

    notifier.tell = stopping  # type: ignore[method-assign]
    made.run()

    assert world.told() == [first]
    assert world.positions.get("notifier/kept") == world.log.head() - 1


def test_a_store_that_is_away_for_a_while_is_waited_for() -> None:
    world = World()
    asked = world.requests.ask(world.requests.job())
    made = daemon(world)
    read, failures = world.log.read, [StoreUnavailable("locked")] * 2

    def failing(after: int, limit: int) -> object:
        if failures:
            raise failures.pop()
        if world.told():
            made.stop()
        return read(after, limit)

    world.log.read = failing  # type: ignore[method-assign,assignment]
    with structlog.testing.capture_logs() as logged:
        made.run()

    assert world.told() == [asked]
    assert [line["event"] for line in logged].count("notifier.trouble") == 2
