"""The tables of moves follow the machines, and ended states absorb."""

from __future__ import annotations

import pytest

from warrener.domain.states import (
    JOB_ENDED,
    JOB_MOVES,
    STEP_ENDED,
    STEP_MOVES,
    job_machine,
    step_machine,
)


@pytest.mark.parametrize("ended", sorted(JOB_ENDED))
def test_an_ended_job_has_no_move_but_a_rerun(ended: str) -> None:
    assert [move for move in JOB_MOVES if move[0] == ended] == [(ended, "rerun")]


@pytest.mark.parametrize("ended", sorted(STEP_ENDED))
def test_an_ended_step_has_no_move_but_a_new_generation(ended: str) -> None:
    assert [move for move in STEP_MOVES if move[0] == ended] == [(ended, "renew")]


@pytest.mark.parametrize(
    ("move", "target"),
    [
        (("pending", "make_ready"), "ready"),
        (("ready", "release"), "released"),
        (("retrying", "release"), "released"),
        (("released", "start"), "running"),
        (("running", "schedule_retry"), "retrying"),
        (("running", "succeed"), "succeeded"),
        (("pending", "skip"), "skipped"),
        (("pending", "not_need"), "not_needed"),
        (("pending", "fail_upstream"), "upstream_failed"),
        (("waiting", "succeed"), "succeeded"),
        (("retrying", "cancel"), "cancelled"),
    ],
)
def test_a_step_moves_as_the_table_of_states_says(move: tuple[str, str], target: str) -> None:
    assert STEP_MOVES[move] == target


@pytest.mark.parametrize(
    "move", [("pending", "release"), ("ready", "succeed"), ("retrying", "succeed")]
)
def test_a_move_that_makes_no_sense_is_not_in_the_table(move: tuple[str, str]) -> None:
    assert move not in STEP_MOVES


def test_every_state_is_reached_by_some_move_or_is_the_first() -> None:
    for machine, moves in ((job_machine(), JOB_MOVES), (step_machine(), STEP_MOVES)):
        assert {*moves.values(), machine.initial} == set(machine.states)
