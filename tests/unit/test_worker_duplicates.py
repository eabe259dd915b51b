"""An attempt that is delivered again runs no second time, and one that is cancelled not at all."""

from __future__ import annotations

import msgspec
import pytest
from support.by_hand import HandChannel, HandRunner
from support.endpoints_orders import SteppingClock, order

from warrener.domain.messages import CancelStep
from warrener.domain.ports import Outgoing
from warrener.services.runners import attempt_of
from warrener.services.worker import Worker
from warrener.services.worker_memory import Cancellations, ReportCache


@pytest.fixture
def channel():
    return HandChannel()


@pytest.fixture
def runner():
    return HandRunner()


@pytest.fixture
def worker(channel, runner):
    made = Worker(channel, runner, ["default"], 4, name="w", clock=SteppingClock())
    made.turn()  # says hello
    return made


def done(channel, runner, worker, tag=1, run=None):
    """Have an order performed, reported, confirmed and acknowledged."""
    channel.deliver(tag, run or order("any"))
    worker.turn()
    runner.finish(runner.running[0])
    worker.turn()
    channel.confirm_all()
    worker.turn()


def cancel_of(run):
    return CancelStep(job=run.job, step=run.step, attempt=run.attempt)


# --- delivered again ---------------------------------------------------------------------------


def test_an_attempt_delivered_again_while_it_runs_joins_it(channel, runner, worker):
    for tag in (1, 2, 3):
        channel.deliver(tag, order("any"))
        worker.turn()
    assert len(runner.submitted) == 1

    runner.finish(runner.running[0])
    worker.turn()
    assert channel.acked == []
    channel.confirm_all()
    worker.turn()

    assert channel.acked == [1, 2, 3]
    assert len(channel.published) == 1


def test_an_attempt_delivered_again_while_its_report_is_on_the_way_joins_it(
    channel, runner, worker
):
    channel.deliver(1, order("any"))
    worker.turn()
    runner.finish(runner.running[0])
    worker.turn()

    channel.deliver(2, order("any"))
    worker.turn()
    channel.confirm_all()
    worker.turn()

    assert channel.acked == [1, 2]
    assert len(channel.published) == 1


def test_an_attempt_delivered_again_after_its_report_is_answered_with_the_same(
    channel, runner, worker
):
    done(channel, runner, worker)

    channel.deliver(2, order("any"))
    worker.turn()
    assert channel.acked == [1]
    channel.confirm_all()
    worker.turn()

    assert len(runner.submitted) == 1
    assert channel.published[0] == channel.published[1]
    assert channel.acked == [1, 2]


@pytest.mark.parametrize("change", [{"attempt": 3}, {"token": "another"}])
def test_another_attempt_of_the_same_step_runs(channel, runner, worker, change):
    done(channel, runner, worker)

    channel.deliver(2, msgspec.structs.replace(order("any"), **change))
    worker.turn()

    assert len(runner.submitted) == 2


# --- cancelled ---------------------------------------------------------------------------------


def test_a_cancelled_order_that_has_not_begun_is_acknowledged_without_a_report(channel, worker):
    worker.runner.slots = 0
    channel.deliver(1, order("any"))
    channel.deliver(2, order("any", _path="other"))
    worker.turn()

    channel.control(cancel_of(order("any")))
    worker.turn()
    worker.runner.slots = 4
    worker.turn()

    assert channel.acked == [1]
    assert [task.order.path for task in worker.runner.submitted] == ["other"]


def test_a_cancelled_order_that_runs_is_told_and_acknowledged_once_it_ends(channel, runner, worker):
    channel.deliver(1, order("any"))
    channel.deliver(2, order("any"))
    worker.turn()

    channel.control(cancel_of(order("any")))
    worker.turn()
    assert runner.cancelled == runner.running
    assert channel.acked == []
    runner.finish(runner.running[0])
    worker.turn()

    assert channel.acked == [1, 2]
    assert channel.published == []
    assert worker.cancelled == 1


def test_a_cancellation_of_another_attempt_changes_nothing(channel, runner, worker):
    channel.deliver(1, order("any"))
    worker.turn()

    channel.control(CancelStep(job=order("any").job, step=order("any").step, attempt=1))
    worker.turn()

    assert runner.cancelled == []


def test_an_order_that_comes_after_its_cancellation_is_dropped(channel, runner, worker):
    channel.control(cancel_of(order("any")))
    worker.turn()

    channel.deliver(1, order("any"))
    worker.turn()

    assert channel.acked == [1]
    assert runner.submitted == []


def test_a_report_on_its_way_is_not_called_back(channel, runner, worker):
    channel.deliver(1, order("any"))
    worker.turn()
    runner.finish(runner.running[0])
    worker.turn()

    channel.control(cancel_of(order("any")))
    worker.turn()
    assert channel.acked == []
    channel.confirm_all()
    worker.turn()

    assert channel.acked == [1]
    assert worker.cancelled == 0


@pytest.mark.parametrize("body", [b"", b"nonsense", b'{"type":"Unknown"}', b"[" * 100_000])
def test_a_control_message_that_cannot_be_understood_is_counted_and_ignored(channel, worker, body):
    channel.control(body)

    worker.turn()

    assert worker.quarantined == 1
    assert channel.rejected == []


# --- what is remembered has bounds ---------------------------------------------------------------


def report_for(number, size=10):
    run = order("any", _path=f"s{number}")
    return attempt_of(run), Outgoing("results", b"x" * size, f"m{number}")


def test_the_newest_reports_are_kept_up_to_their_number():
    cache = ReportCache(count_max=3)
    for number in range(5):
        cache.add(*report_for(number))

    kept = [number for number in range(5) if cache.get(report_for(number)[0]) is not None]

    assert kept == [2, 3, 4]


def test_a_report_that_was_asked_for_counts_as_new():
    cache = ReportCache(count_max=2)
    cache.add(*report_for(0))
    cache.add(*report_for(1))

    cache.get(report_for(0)[0])
    cache.add(*report_for(2))

    assert cache.get(report_for(0)[0]) is not None
    assert cache.get(report_for(1)[0]) is None


def test_reports_are_kept_up_to_their_bytes_together_and_too_big_ones_not_at_all():
    cache = ReportCache(bytes_max=100)
    for number in range(3):
        cache.add(*report_for(number, size=40))
    cache.add(*report_for(3, size=101))

    kept = [number for number in range(4) if cache.get(report_for(number)[0]) is not None]

    assert kept == [1, 2]


def test_a_report_added_again_counts_once():
    cache = ReportCache(bytes_max=100)
    for _ in range(10):
        cache.add(*report_for(0, size=40))
    cache.add(*report_for(1, size=40))

    assert len(cache) == 2


def test_cancellations_are_remembered_up_to_their_number():
    cancelled = Cancellations(count_max=2)
    orders = [order("any", _path=f"s{number}") for number in range(3)]
    for each in orders:
        cancelled.add(cancel_of(each))

    assert [each in cancelled for each in orders] == [False, True, True]
