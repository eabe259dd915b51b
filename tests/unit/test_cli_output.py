"""What commands print for people."""

from __future__ import annotations

from warrener.services.cli.output import number_of


def test_one_of_a_kind_is_told_as_one() -> None:
    assert [number_of(count, "step") for count in (0, 1, 2, 12_000)] == [
        "0 steps",
        "1 step",
        "2 steps",
        "12,000 steps",
    ]
