"""Pairs of runs that differ in one thing that is known, each with where they first differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from warrener.domain.errors import PermanentError, RetryLater, UserActionRequired
from warrener.services.diff import Compared, Side, compare_runs
from warrener.services.perform import current_step
from warrener.services.places import Place
from warrener.testing import LocalRun

Endpoints = Mapping[str, Callable[..., Any]]


class Played(msgspec.Struct):
    """A run, by what it is asked about."""

    run: LocalRun
    step: str = ""

    def side(self) -> Side:
        """Return it as one side of a comparison."""
        assert self.run.job is not None
        parts = self.run._parts
        text = f"{self.run.job}/{self.step}" if self.step else str(self.run.job)
        place = parts.queries().locate(text) if self.step else Place(self.run.job)
        return Side(parts.store, place, self.step or "job")


def play(
    folder: Path,
    text: str,
    endpoints: Endpoints,
    *,
    step: str = "",
    then: Callable[[LocalRun], Any] | None = None,
    **params: Any,
) -> Played:
    """Run a job written in YAML; `then` is what people do."""
    file = folder / "job.yaml"
    file.write_text(text)
    run = LocalRun(str(file), endpoints)
    run.start(params)
    if then is not None:
        then(run)
    return Played(run, step)


def differ(a: Played, b: Played, **options: Any) -> Compared:
    """Compare two runs."""
    return compare_runs(a.side(), b.side(), **options)


# --- endpoints -----------------------------------------------------------------------------------


def give(value: Any) -> Callable[..., Any]:
    """Return an endpoint that gives a value, whatever it is given."""
    return lambda **_: value


def fail(code: str, on: Callable[..., bool] = lambda **_: True) -> Callable[..., Any]:
    """Return an endpoint that fails for good, for some arguments."""

    def work(**args: Any) -> str:
        if on(**args):
            raise PermanentError(code)
        return "done"

    return work


def late(code: str = "busy", attempts: int = 1) -> Callable[..., Any]:
    """Return an endpoint that asks to be called again at first."""

    def work(**_: Any) -> str:
        if current_step().attempt <= attempts:
            raise RetryLater(10, code=code)
        return "done"

    return work


def ask(**_: Any) -> str:
    """Ask a person for help once."""
    if current_step().answer is None:
        raise UserActionRequired("approve")
    return "done"
