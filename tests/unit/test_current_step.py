"""What an endpoint can tell and learn about its own step while it runs."""

from __future__ import annotations

import math
import sys
import threading

import pytest
from support.endpoints_orders import SteppingClock, order, result_of, task
from support.endpoints_waiting import reports, wait_until

from warrener import current_step, endpoint
from warrener.services.endpoints import Registry
from warrener.services.perform import NOTE_CHARACTERS_MAX, Pulse, perform
from warrener.services.runners import InlineRunner
from warrener.services.worker_threads import ThreadRunner


def pulse_after(work):
    registry, pulse = Registry(), Pulse()
    endpoint("work", registry=registry)(work)
    report = perform(order("work"), "w", SteppingClock(), registry, pulse)
    return pulse, report


@pytest.mark.parametrize(
    ("share", "kept"), [(0.5, 0.5), (1, 1.0), (-3, 0.0), (7.5, 1.0), (math.inf, 1.0)]
)
def test_progress_is_a_share_from_0_to_1(share, kept):
    pulse, _ = pulse_after(lambda: current_step().progress(share))

    assert pulse.share == kept


def test_share_and_note_stay_until_there_is_a_newer_one():
    def work():
        step = current_step()
        step.progress(0.25, "reading")
        step.progress(0.75)
        step.progress(note="writing")

    pulse, _ = pulse_after(work)

    assert (pulse.share, pulse.note) == (0.75, "writing")


def test_a_note_is_bounded_and_clean():
    pulse, _ = pulse_after(lambda: current_step().progress(note="\ud800" + "x" * 1_000))

    assert len(pulse.note) == NOTE_CHARACTERS_MAX
    assert pulse.note.startswith("\\ud800xxx")


@pytest.mark.parametrize("share", [math.nan, "much", [1]])
def test_a_share_that_is_no_number_is_the_endpoints_fault(share):
    _, report = pulse_after(lambda: current_step().progress(share))

    assert report.error.type in {"ValueError", "TypeError"}


def test_an_attempt_cancelled_before_it_begins_is_not_begun():
    registry, seen = Registry(), []
    endpoint("work", registry=registry)(lambda: seen.append(1))

    report = perform(order("work"), "w", SteppingClock(), registry, Pulse(cancelled=True))

    assert (report.outcome, report.error.code, seen) == ("failed", "cancelled", [])


def test_a_thread_sees_that_its_step_is_cancelled():
    registry, begun = Registry(), threading.Event()

    @endpoint("work", registry=registry)
    def work() -> str:
        step = current_step()
        step.progress(0.5)
        begun.set()
        while not step.cancelled:
            threading.Event().wait(0.001)
        return "stopped by myself"

    runner = ThreadRunner(1, SteppingClock(), registry=registry)
    given = task(1, order("work"))
    runner.submit(given)
    assert begun.wait(10)
    assert (given.pulse.share, given.pulse.cancelled) == (0.5, False)

    runner.cancel(given)

    assert result_of(reports(runner, 1)[1]) == "stopped by myself"
    runner.close()


def test_tasks_that_no_thread_has_taken_can_be_withdrawn():
    registry, gate = Registry(), threading.Event()
    endpoint("work", registry=registry)(lambda: gate.wait(10) and None)
    runner = ThreadRunner(1, SteppingClock(), registry=registry)
    first, second = task(1, order("work")), task(2, order("work", _path="second"))
    runner.submit(first)
    wait_until(lambda: first.pulse.begun is not None)
    runner.submit(second)

    assert list(runner.withdraw()) == [second]
    assert runner.busy() == 1
    gate.set()
    reports(runner, 1)
    runner.close()


def test_a_task_performed_in_line_knows_when_it_began():
    registry = Registry()
    endpoint("work", registry=registry)(lambda: None)
    runner = InlineRunner(SteppingClock(), registry=registry)
    given = task(1, order("work"))

    runner.submit(given)

    assert given.pulse.begun is not None
    assert not runner.withdraw()


def test_a_performed_step_leaves_no_reference_to_its_pulse():
    pulse, _ = pulse_after(lambda: None)

    assert sys.getrefcount(pulse) == 2
