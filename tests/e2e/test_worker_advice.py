"""A worker daemon on a real broker is moved to another queue by advice, and goes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.controller_side import ControllerSide
from support.daemons import Daemon, Daemons
from support.endpoints_waiting import content, wait_until
from support.relay import Relay

from warrener.domain.messages import WorkerBeat, WorkerHello

TESTS = Path(__file__).parents[1]
MODES = pytest.mark.parametrize("mode", ["--processes", "--threads", "--asyncio"])
OWN, OTHER = "default", "work"  # where the steps of either module go


def start(daemons: Daemons, *more: object) -> Daemon:
    """Start a worker that serves one queue and could serve another."""
    modules = ("--endpoints", "support.endpoints_basic", "--endpoints", "support.endpoints_chaos")
    return daemons.worker(*modules, "--queues", OWN, "--name", "w", "--slots", 1, *more)


def serves(side: ControllerSide, *queues: str) -> Any:
    """Wait until the worker says that it serves these queues; return all that it says then."""
    side.until(lambda: side.fleet and side.fleet[-1].queues == queues, f"the queues {queues}")
    return side.fleet[-1]


@MODES
def test_a_moved_worker_finishes_what_it_has_begun_serves_the_other_queue_and_goes_back(
    side: ControllerSide, daemons: Daemons, tmp_path: Path, mode: str
) -> None:
    daemon = start(daemons, mode)
    hello = serves(side, OWN)
    assert (type(hello), hello.able) == (WorkerHello, (OTHER,))
    begun = side.send_to(OWN, "basic.hold_for_file", "begun", file=str(tmp_path / "pid"))
    wait_until(lambda: bool(content(tmp_path / "pid")))
    left = side.send_to(OWN, "basic.double", "left", number=1)
    moved = side.send_to(OTHER, "basic.double", "moved", number=2)

    side.advise("w", OTHER)
    beat = serves(side, OTHER)
    assert (type(beat), beat.able) == (WorkerBeat, (OWN,))
    (tmp_path / "pid.go").touch()
    assert side.results(2) == {begun.step: "held", moved.step: 4}
    assert side.waiting(1) == ["left"]
    side.send_again(left)

    side.advise("w", OTHER, seconds=0.3)
    assert serves(side, OWN).able == (OTHER,)
    assert side.results(3) == {begun.step: "held", moved.step: 4, left.step: 2}
    assert daemon.stop() == 0
    assert len(side.reports) == 3


def test_advice_is_taken_back_and_a_fixed_worker_follows_none(
    side: ControllerSide, daemons: Daemons
) -> None:
    daemon = start(daemons, "--threads", "--beat-seconds", 0.2)
    side.advise("w", OTHER)
    serves(side, OTHER)
    side.advise("w")
    serves(side, OWN)
    assert daemon.stop() == 0

    fixed = start(daemons, "--threads", "--beat-seconds", 0.2, "--fixed")
    side.advise("w", OTHER)
    fixed.logged("advice.ignored")
    mine = (fixed.pid, WorkerBeat)
    side.until(lambda: (side.fleet[-1].pid, type(side.fleet[-1])) == mine, "a beat")

    assert (side.fleet[-1].queues, side.fleet[-1].able) == ((OWN,), ())


def test_a_worker_that_has_lost_its_connection_goes_back_to_its_own_queue(
    side: ControllerSide, daemons: Daemons, broker_url: str
) -> None:
    with Relay(broker_url) as relay:
        daemon = start(daemons, "--threads", "--broker", relay.url)
        side.advise("w", OTHER)
        serves(side, OTHER)

        relay.cut()
        serves(side, OWN)

        run = side.send_to(OWN, "basic.double", "own", number=3)
        assert side.results(1) == {run.step: 6}
        assert daemon.stop() == 0
