"""Live progress of a run on stderr: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from warrener.services.cli.output import Output, duration

if TYPE_CHECKING:
    from warrener.services.embedded import Progress

LINE_SECONDS: Final = 10.0
QUIET_SECONDS: Final = 0.5

Report = Callable[["Progress"], None]


@contextmanager
def live(output: Output) -> Iterator[Report | None]:
    """Give what takes the progress of a run; nothing with `--json`."""
    if output.as_json:
        yield None
    elif output.err.is_terminal:
        with _bar(output, "steps") as bar:
            yield _on(bar)
    else:
        yield _lines(output)


@contextmanager
def catching_up(output: Output) -> Iterator[Callable[[int, int], None] | None]:
    """Give what takes how far the read models are; shown on a terminal if it takes a while."""
    if output.as_json or not output.err.is_terminal:
        yield None
        return
    began = time.monotonic()
    with _bar(output, "events") as bar:
        task = bar.add_task("", visible=False, note="reading the log")

        def report(position: int, head: int) -> None:
            visible = time.monotonic() - began > QUIET_SECONDS
            bar.update(task, completed=position, total=head, visible=visible)

        yield report


@contextmanager
def working(output: Output, unit: str, note: str) -> Iterator[Callable[[int, int], None]]:
    """Give what takes how much of a long work is done; shown to people only."""
    if not output.as_json and output.err.is_terminal:
        with _bar(output, unit) as bar:
            task = bar.add_task("", total=None, note=note)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    began = said = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= LINE_SECONDS:
            said = now
            output.note(f"{duration(now - began)}: {note}, {done} of {total} {unit}")

    yield report


def _bar(output: Output, unit: str) -> Bar:
    return Bar(
        SpinnerColumn(),
        TextColumn(f"{{task.completed}}/{{task.total}} {unit}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        console=output.err,
        transient=True,
        redirect_stdout=False,
        expand=True,
    )


def _on(bar: Bar) -> Report:
    task = bar.add_task("", total=0, note="")

    def report(progress: Progress) -> None:
        bar.update(task, completed=progress.done, total=progress.total, note=_note(progress))

    return report


def _lines(output: Output) -> Report:
    began = said = time.monotonic()

    def report(progress: Progress) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= LINE_SECONDS:
            said = now
            done = f"{progress.done} of {progress.total} steps done"
            output.note(f"{duration(now - began)}: {done}, {_note(progress)}")

    return report


def _note(progress: Progress) -> str:
    parts = [f"running {progress.running}", f"ready {progress.ready}"]
    if progress.retrying:
        parts.append(f"retrying {progress.retrying}")
    if progress.jobs > 1:
        parts.append(f"jobs {progress.jobs}")
    return " · ".join(parts)
