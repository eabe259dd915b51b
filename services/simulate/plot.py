"""Draws simulations: distributions of waits and completions, and queues by stage over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from warrener.domain.errors import UsageError
from warrener.domain.simulation.record import Record
from warrener.domain.text import clean, one_line

KINDS: Final = (".svg", ".png")
STAGES_MAX: Final = 10  # in one picture: those that waited most
POINTS_MAX: Final = 400  # of a curve
TEXT_CHARACTERS_MAX: Final = 60
WIDTH_INCHES: Final = 4.5
HEIGHT_INCHES: Final = 3.2


def check_plot(path: Path) -> None:
    """Raise `UsageError` if a picture cannot be drawn into this file."""
    if path.suffix.lower() not in KINDS:
        raise UsageError(f"{path.name} has no name of a picture: it must end in .svg or .png")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"{path} cannot be written: it is a folder, or there is none to put it in")
    _figures()


def draw(path: Path, records: Mapping[str, Record], title: str = "") -> None:
    """Draw simulations, by policy, into an SVG or PNG file."""
    check_plot(path)
    columns = max(2, len(records))
    figure = _figures().Figure(figsize=(WIDTH_INCHES * columns, 2 * HEIGHT_INCHES))
    grid = figure.subplots(2, columns, squeeze=False)
    _distributions(grid[0], records)
    top = max((_highest(record) for record in records.values()), default=0)
    last = max((record.seconds for record in records.values()), default=0.0)
    for axes in grid[1][len(records) :]:
        axes.set_axis_off()
    for axes, (policy, record) in zip(grid[1], records.items(), strict=False):
        _queues(axes, policy, record)
        axes.set_ylim(0, max(1, top * 1.05))
        axes.set_xlim(0, last or 1.0)
    if title:
        figure.suptitle(_text(title))
    figure.tight_layout()
    try:
        figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def _figures() -> Any:
    """Return the library's module of figures; it needs no display."""
    try:
        from matplotlib import figure
    except ImportError as error:
        raise UsageError(
            "--plot needs matplotlib, which is not installed: pip install 'warrener[plot]'"
        ) from error
    return figure


def _distributions(row: Sequence[Any], records: Mapping[str, Record]) -> None:
    columns = (("wait until a worker begins", "wait"), ("time to completion", "completion"))
    for axes, (title, column) in zip(row, columns, strict=False):
        for policy, record in records.items():
            values = sorted(getattr(record, column))
            if not values:
                continue
            picked = [values[place] for place in _places(len(values))]
            shares = [100 * (place + 1) / len(values) for place in _places(len(values))]
            axes.plot(picked, shares, label=_text(policy))
        axes.set_title(title)
        axes.set_xlabel("seconds")
        axes.set_ylabel("% of jobs")
        if records:
            axes.legend(fontsize="small")
    for axes in row[len(columns) :]:
        axes.set_axis_off()


def _queues(axes: Any, policy: str, record: Record) -> None:
    stages = sorted(record.stages, key=lambda stage: -max(record.stages[stage].waiting, default=0))
    most = set(stages[:STAGES_MAX])
    shown = [stage for stage in record.stages if stage in most]  # the first seen first
    if shown:
        picked = _places(len(record.times))
        times = [record.times[place] for place in picked]
        waiting = [[record.stages[stage].waiting[place] for place in picked] for stage in shown]
        axes.stackplot(times, waiting, labels=[_text(str(stage)) for stage in shown])
        axes.legend(fontsize="x-small", loc="upper right")
    axes.set_title(f"{_text(policy)}: steps that wait")
    axes.set_xlabel("seconds")


def _highest(record: Record) -> int:
    columns = [series.waiting for series in record.stages.values()]
    return max(map(sum, zip(*columns, strict=True)), default=0)


def _places(count: int) -> list[int]:
    """Return the places of so many values that are drawn, first and last among them."""
    if count <= POINTS_MAX:
        return list(range(count))
    return [place * (count - 1) // (POINTS_MAX - 1) for place in range(POINTS_MAX)]


def _text(text: str) -> str:
    """Return text that the library takes for nothing else: `$` begins a formula."""
    return one_line(clean(text), TEXT_CHARACTERS_MAX).replace("$", r"\$")
