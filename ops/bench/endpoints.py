"""The endpoints that the benchmarks call: as little work as there can be."""

from __future__ import annotations

import time

from warrener import endpoint


@endpoint("bench.echo")
def echo(x: int) -> int:
    return x


@endpoint("bench.count")
def count(xs: list[int]) -> int:
    return len(xs)


@endpoint("bench.text")
def text(x: str) -> str:
    return x


@endpoint("bench.join")
def join(x: str, y: str) -> str:
    return x or y


@endpoint("bench.length")
def length(xs: list[str]) -> int:
    return len(xs)


@endpoint("bench.sleep")
def sleep(seconds: float) -> None:
    time.sleep(seconds)
