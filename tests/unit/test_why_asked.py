"""Asking why: about which moment, about which place, and how much is read for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from support.asking import why_at
from support.driving import START
from support.situations import CALL, Estate, after, definition

from warrener.adapters.memory_events import MemoryEventStore
from warrener.adapters.memory_leases import MemoryLeases
from warrener.domain import ids
from warrener.domain.errors import Conflict, StoreUnavailable, UnknownJob, UsageError
from warrener.domain.flow.lanes import Flow
from warrener.domain.messages import PauseJob, SignalJob
from warrener.domain.ports import EventStore, Positioned
from warrener.domain.step_events import StepReleased
from warrener.projections.why.explain import LOOKS_MAX
from warrener.projections.why.model import Place
from warrener.services.controller import Controller
from warrener.services.log_at import LogAt
from warrener.services.shapes import Waiting
from warrener.services.turn import Chance
from warrener.services.why import LogPast, ask, moment_at, unreadable


def two_steps() -> tuple[Estate, UUID]:
    driver = Estate()
    job = driver.begin({"a": CALL, "b": after("a")})
    driver.now += timedelta(seconds=10)
    driver.succeed(driver.order("a"))
    return driver, job


def released_at(store: EventStore, path: str) -> int:
    """Return the position at which a step was released."""
    return next(
        each.position
        for each in store.read(0, store.head())
        if isinstance(each.recorded.event, StepReleased) and each.recorded.event.path == path
    )


# --- moments -------------------------------------------------------------------------------------


def test_a_time_stands_for_the_last_event_at_or_before_it() -> None:
    driver, job = two_steps()

    for seconds, state in ((0, "pending"), (9.999, "pending"), (10, "released")):
        at = START + timedelta(seconds=seconds)
        assert driver.why(job, "b", at=at).state == state


def test_a_position_may_be_asked_about_and_what_came_after_it_is_not_known_there() -> None:
    driver, job = two_steps()
    released = released_at(driver.store, "b")

    before, then = (driver.why(job, "b", at=position) for position in (released - 1, released))

    assert (before.state, before.waiting.kind) == ("ready", "reactor")
    assert "nothing holds it back: the reactor has to release it" in before.waiting.sentence
    assert (then.state, then.position) == ("released", released)


def test_a_window_with_room_holds_nothing_back() -> None:
    driver = Estate(fleet=True)
    driver.hire(slots=2)
    job = driver.begin({"a": CALL, "b": CALL})

    then = driver.why(job, "b", at=released_at(driver.store, "b") - 1)

    assert (then.state, then.waiting.kind) == ("ready", "reactor")
    assert driver.why(job, "a", at=then.position).state == "released"


@pytest.mark.parametrize(
    ("at", "hint"),
    [
        (0, "the log has the positions 1 to"),
        (10_000, "the log has the positions 1 to"),
        (START - timedelta(days=1), "it begins at 2030-01-01T00:00:00.000000Z"),
        (START + timedelta(days=1), "is yet to come"),
    ],
)
def test_a_moment_that_the_log_does_not_have_is_refused_with_those_it_has(
    at: Any, hint: str
) -> None:
    driver, job = two_steps()

    with pytest.raises(UsageError, match=hint):
        driver.why(job, at=at)


# --- places --------------------------------------------------------------------------------------


def a_tree() -> tuple[Estate, UUID]:
    driver = Estate()
    steps = {"groups": {"for_each": [0, 1], "job": "group"}, "use": after("groups")}
    job = driver.begin(steps, library={"group": {"fetch": {**CALL, "compensate": "undo"}}})
    return driver, job


@pytest.mark.parametrize(
    ("path", "state"),
    [
        ("groups", "waiting"),
        ("groups[1]", "waiting"),
        ("groups[1]/fetch", "released"),
        ("groups[1]/fetch.compensate", "pending"),
        ("use", "pending"),
    ],
)
def test_a_place_is_found_by_its_path_in_the_log_alone(path: str, state: str) -> None:
    driver, job = a_tree()

    assert driver.why(job, path).state == state


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("gruops", "did you mean 'groups'"),
        ("groups[2]", "has no item 2: it has 2"),
        ("use[0]", "has no item 0: it has 0"),
        ("use/fetch", "has started no job"),
        ("groups/fetch", "has started no job"),
        ("groups[1]/ftech", "did you mean 'fetch'"),
        ("groups[x]", "is not the path of a step"),
        ("groups[1]/", "is not the path of a step"),
        ("//", "is not the path of a step"),
    ],
)
def test_a_place_that_is_not_there_is_refused_with_a_hint(path: str, hint: str) -> None:
    driver, job = a_tree()

    with pytest.raises(UnknownJob, match=hint.replace("[", r"\[")):
        driver.why(job, path)


def test_a_job_is_not_known_before_it_was_submitted() -> None:
    driver, _ = two_steps()
    driver.now += timedelta(seconds=1)
    later = driver.begin({"a": CALL}, key="later")

    assert driver.why(later).state == "running"
    with pytest.raises(UnknownJob, match=f"no job has the id {later} at 2030-01-01T00:00:05"):
        driver.why(later, at=START + timedelta(seconds=5))
    with pytest.raises(UnknownJob):
        driver.why(uuid4())


# --- the reactor ---------------------------------------------------------------------------------


def overdue() -> tuple[Estate, UUID]:
    driver = Estate()
    job = driver.begin({"nap": {"sleep": 5}})
    driver.now += timedelta(seconds=60)
    return driver, job


def told(driver: Estate, job: UUID, leases: Any) -> str:
    past = LogPast(driver.store, moment_at(driver.store, None, driver.now), leases)
    return ask(past, Place(job, "nap")).waiting.sentence


def test_where_the_reactor_does_not_act_it_is_told_since_when_and_who_should() -> None:
    driver, job = overdue()
    leases = MemoryLeases()

    assert "silent since 2030-01-01 00:00:00Z; no reactor holds its lease" in told(
        driver, job, lambda: leases
    )
    leases.take(0, "r-1", driver.now, 15)
    assert "; reactor r-1 holds its lease until 2030-01-01T00:01:15" in told(
        driver, job, lambda: leases
    )
    driver.now += timedelta(seconds=20)
    assert "no reactor holds its lease" in told(driver, job, lambda: leases)


def test_leases_that_cannot_be_read_do_not_spoil_the_answer() -> None:
    driver, job = overdue()

    def away() -> Any:
        raise StoreUnavailable("gone")

    assert "who holds its lease cannot be read" in told(driver, job, away)


def test_a_store_that_cannot_be_read_is_an_answer_of_its_own() -> None:
    found = unreadable(StoreUnavailable("the disk is gone"), START)

    assert (found.waiting.kind, found.job) == ("store", None)
    assert "the disk is gone" in found.waiting.sentence


# --- how much is read ----------------------------------------------------------------------------


class CountingStore(MemoryEventStore):
    """Counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.streams = self.pages = 0

    def stream(self, stream: UUID, after_version: int = 0) -> Any:
        self.streams += 1
        return super().stream(stream, after_version)

    def read(self, after_position: int, limit: int) -> Any:
        self.pages += limit > 1
        return super().read(after_position, limit)


def test_the_log_is_passed_over_only_where_something_concerns_everybody() -> None:
    driver = Estate()
    driver.store = driver.controller._store = CountingStore()
    driver.controller.forget()
    limits = [{"name": "api", "slots": 1}]
    job = driver.begin(
        {"a": {**CALL, "limits": limits}, "b": {**CALL, "limits": limits}, "c": CALL}
    )

    driver.store.pages = 0
    assert driver.why(job, "c").waiting.kind == "worker"
    assert driver.store.pages == 0
    assert driver.why(job, "b").waiting.kind == "limit"
    assert driver.store.pages > 0


def test_the_pass_over_the_log_begins_with_the_oldest_job_that_is_open() -> None:
    driver = Estate()
    old = driver.begin({"a": CALL}, key="old")
    driver.succeed(driver.order("a"))
    limits = [{"name": "api", "slots": 1}]
    job = driver.begin({"a": {**CALL, "limits": limits}, "b": {**CALL, "limits": limits}})
    seen: list[Positioned] = []

    class Listening(LogPast):
        def out(self, whole: bool) -> Iterator[Positioned]:
            for each in super().out(whole):
                seen.append(each)
                yield each

    past = Listening(driver.store, moment_at(driver.store, None, driver.now))
    assert ask(past, Place(job, "b")).waiting.kind == "limit"

    assert seen[0].recorded.originator_id == job
    assert old not in {each.recorded.originator_id for each in seen}


def of_three_partitions(driver: Estate, job: UUID, path: str) -> Waiting:
    moment = moment_at(driver.store, None, driver.now)
    waiting = ask(LogPast(driver.store, moment, partitions=3), Place(job, path)).waiting
    assert waiting is not None
    return waiting


def test_of_a_limit_that_partitions_share_nothing_is_said_about_what_is_not_known() -> None:
    driver = Estate()
    chance = Chance(token=lambda: "0" * 32, jitter=lambda: 0.5)
    driver.controller = Controller(
        driver.store, lambda: Flow(lambda _: 9), chance, "results", shares_limits=True
    )
    job = driver.begin({"a": {**CALL, "limits": [{"name": "api", "slots": 4}]}})

    assert not driver.orders
    waiting = of_three_partitions(driver, job, "a")

    assert waiting.kind == "limit"
    assert (
        "is ready and may wait for its share: limit api has 4 slots for all 3" in waiting.sentence
    )
    assert "0 of its 4 slots are taken in this one" in waiting.sentence
    assert "nothing holds it back" not in waiting.sentence


def test_the_next_token_of_a_rate_that_partitions_share_may_come_later() -> None:
    driver = Estate()
    limits = [{"name": "api", "rate": [1, 10]}]
    job = driver.begin({"a": {**CALL, "limits": limits}, "b": {**CALL, "limits": limits}})

    sentence = of_three_partitions(driver, job, "b").sentence

    assert "lets 1 in 10 s go out of all 3 partitions together, the next not before" in sentence


def test_a_limit_that_was_changed_before_the_oldest_open_job_counts() -> None:
    from warrener.domain.messages import ChangeLimit

    driver = Estate()
    driver.command(ChangeLimit(name="api", slots=2))
    limits = [{"name": "api", "slots": 1}]
    job = driver.begin({name: {**CALL, "limits": limits} for name in "abc"})

    assert "2 of 2 slots taken" in driver.why(job, "c").waiting.sentence


def test_a_large_fan_out_is_looked_at_in_part_and_counted_as_a_whole() -> None:
    driver = Estate()
    driver.store = driver.controller._store = CountingStore()
    driver.controller.forget()
    job = driver.begin({"items": {"for_each": list(range(900)), "call": "work"}})

    driver.store.streams = 0
    found = driver.why(job, "items")

    assert "waits for 900 of 900 items (100 released, 800 more)" in found.waiting.sentence
    assert driver.store.streams < LOOKS_MAX
    assert len(found.waiting.blockers) <= 11


def test_a_chain_of_a_thousand_steps_is_followed_to_its_root_and_told_in_brief() -> None:
    driver = Estate()
    steps: dict[str, Any] = {"s0": CALL}
    steps |= {f"s{n}": after(f"s{n - 1}") for n in range(1, 1_000)}
    job = driver.begin(steps)

    waiting = driver.why(job, "s999").waiting

    assert waiting.blockers[-1].path == "s0"
    assert len(waiting.sentence) < 500
    assert "waits for s998, which waits for s997, which waits for s996" in waiting.sentence
    assert "995 more in a row, the last of them s0, which waits for a worker" in waiting.sentence


def test_jobs_in_jobs_are_followed_as_deep_as_they_go() -> None:
    driver = Estate()
    inner = definition("j0", {"gate": {"wait": {"for": "go"}}})
    library = {"j0": inner}
    for depth in range(1, 60):
        library[f"j{depth}"] = definition(f"j{depth}", {"sub": {"job": f"j{depth - 1}"}})
    top = definition("main", {"sub": {"job": "j59"}, "use": after("sub")}, budget={"depth": 100})
    job = driver.submit(top, {}, library)

    waiting = driver.why(job, "use").waiting

    assert waiting.blockers[-1].path == "/".join(["sub"] * 60 + ["gate"])
    assert "which waits for signal go" in waiting.sentence
    place = driver.why(job, waiting.blockers[-1].path)
    assert place.waiting.kind == "signal"


def test_of_several_causes_the_one_that_only_people_can_move_is_followed() -> None:
    driver = Estate()
    steps = {"a": CALL, "b": {"wait": {"for": "go"}}, "c": {"sleep": 5}, "d": after("a", "b", "c")}
    job = driver.begin(steps)

    waiting = driver.why(job, "d").waiting
    assert waiting.blockers[-1].path == "b"
    assert {each.path for each in waiting.blockers if each.depth == 1} == {"a", "b", "c"}

    driver.command(SignalJob(job=job, name="go", key="k"))
    assert driver.why(job, "d").waiting.blockers[-1].path == "c"
    driver.wait(5)
    assert driver.why(job, "d").waiting.blockers[-1].path == "a"


def test_holders_are_named_as_they_can_be_asked_about() -> None:
    driver = Estate()
    call = {**CALL, "limits": [{"name": "api", "slots": 1}]}
    other = driver.begin({"sub": {"job": "sub"}}, key="other", library={"sub": {"deep": call}})
    job = driver.begin({"a": call})

    (holder,) = driver.why(job, "a").waiting.blockers

    assert (holder.job, holder.path) == (other, "sub/deep")
    assert driver.why(other, holder.path).state == holder.state == "released"


# --- the log as it was ---------------------------------------------------------------------------


def test_the_log_at_a_position_is_the_log_without_what_came_later() -> None:
    driver, job = two_steps()
    driver.command(PauseJob(job=job))
    events = driver.store.read(0, driver.store.head())
    streams = {each.recorded.originator_id for each in events}

    for position in range(len(events) + 1):
        then = LogAt(driver.store, position)
        shown = events[:position]
        assert then.read(0, 1_000) == shown or not shown
        assert then.head() == position
        for stream in streams:
            own = [each.recorded for each in shown if each.recorded.originator_id == stream]
            assert list(then.stream(stream)) == own
            assert list(then.stream(stream, 2)) == own[2:]
            assert then.last(stream) == (own[-1] if own else None)
            for version in range(len(own) + 2):
                found = driver.store.position(stream, version)
                expected = found if found and found <= position else None
                assert then.position(stream, version) == expected


def test_the_log_at_a_position_takes_nothing_and_knows_what_was_open_then() -> None:
    driver, job = two_steps()
    submitted = driver.store.position(job, 1)
    assert submitted is not None
    driver.succeed(driver.order("b"))

    assert list(driver.store.open_roots()) == []
    assert list(LogAt(driver.store, submitted).open_roots()) == [job]
    with pytest.raises(Conflict):
        LogAt(driver.store, submitted).commit([], {})


def test_an_answer_does_not_change_while_the_log_grows() -> None:
    driver, job = two_steps()
    moment = moment_at(driver.store, None, driver.now)
    before = why_at(driver.store, Place(job, "b"), moment)

    driver.succeed(driver.order("b"))

    assert why_at(driver.store, Place(job, "b"), moment) == before
    assert ids.step_id(job, "b") == Place(job, "b").id
