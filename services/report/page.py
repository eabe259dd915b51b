"""The run report as one page that needs nothing else: no network, no script.

Whatever comes from users is escaped by the templates, and told by `shown` before: that is the one
place where text becomes fit for a page. A content security policy says the same to the browser.
"""

from __future__ import annotations

import os
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup

from warrener.domain.definition.model import JobDefinition
from warrener.domain.text import clean
from warrener.projections.drawing import draw
from warrener.projections.drawing_model import LOOKS, PLAIN
from warrener.projections.report.model import CHILDREN
from warrener.services.report.shapes import Bar, Report
from warrener.services.report.words import LABELS, label

CHARACTERS_MAX: Final = 2_000  # of any text on the page
SEGMENTS_MAX: Final = 200  # rows of the table of the critical path
UNITS: Final = 10_000  # the width of the chart over time
TICKS: Final = 5
AREA_LOW, AREA_HEIGHT = 14, 11  # of a fan-out's row, in which it is drawn how many items work


def page(
    report: Report,
    definition: JobDefinition,
    states: Mapping[str, str],
    items: Mapping[str, Mapping[str, int]],
) -> str:
    """Return the page: HTML that may be opened from a file, sent around, and printed."""
    style = _text("page.css")
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            bars=list(_nested(report.bars)),
            critical=_rows(report),
            graph=Markup(draw(definition, states, "svg", items)),
            data=Markup(embedded(report)),
            style=Markup(style),
            style_hash=b64encode(sha256(style.encode()).digest()).decode(),
            kinds=[kind for kind in LABELS if any(each.kind == kind for each in report.totals)],
        )
    )


def write(path: Path, text: str) -> None:
    """Write a file as a whole or not at all; raises `OSError`."""
    folder = path.absolute().parent
    handle, name = tempfile.mkstemp(prefix=".report-", suffix=".html", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def shown(value: object) -> object:
    """Return what stands on the page for a value: what hides or turns text around is spelt out."""
    if isinstance(value, Markup):
        return value
    text = clean(value)
    return (
        text
        if len(text) <= CHARACTERS_MAX
        else f"{text[:CHARACTERS_MAX]}… ({len(text):,} characters)"
    )


def embedded(report: Report) -> str:
    """Return the report as JSON that may stand in a page: nothing in it ends or begins markup."""
    text = msgspec.json.encode(report).decode()
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


# --- what the template needs ---------------------------------------------------------------------


class Row(msgspec.Struct):
    """A row of the chart with those below it."""

    bar: Bar
    below: list[Row]


def _nested(bars: Sequence[Bar]) -> Iterator[Row]:
    rows = [Row(bar, []) for bar in bars]
    for row in rows:
        if row.bar.above is None:
            yield row
        else:
            rows[row.bar.above].below.append(row)


def _rows(report: Report) -> list[Any]:
    """Return the longest segments of the critical path, in order."""
    path = report.critical_path
    if len(path) <= SEGMENTS_MAX:
        return list(path)
    least = sorted((each.seconds for each in path), reverse=True)[SEGMENTS_MAX - 1]
    return [each for each in path if each.seconds >= least][:SEGMENTS_MAX]


@cache
def _environment() -> Environment:
    made = Environment(
        loader=_Beside(),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "duration": duration,
        "percent": percent,
        "moment": moment,
        "units": lambda seconds, whole: round(UNITS * seconds / whole, 2) if whole else 0,
        "number": lambda value: f"{value:,}",
    }
    made.globals |= {"label": label, "mark": _mark, "UNITS": UNITS, "ticks": _ticks}
    made.globals |= {"marks": _marks, "area": _area}
    return made


class _Beside(BaseLoader):
    """Loads templates that lie beside this module."""

    def get_source(self, _environment: Environment, template: str) -> tuple[str, None, Any]:
        """Return a template's text, which never changes."""
        return _text(template), None, lambda: True


def _text(name: str) -> str:
    return resources.files(__package__ or "").joinpath(name).read_text(encoding="utf-8")


def duration(seconds: float) -> str:
    """Return a length of time such as `4.2 ms`, `0.25 s`, `12.3 s`, `4 min 05 s`."""
    if seconds == 0:
        return "0 s"
    if seconds < 0.1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def percent(share: float) -> str:
    """Return a share as people read it; what is there is never nothing."""
    return "<1 %" if 0 < share < 0.01 else f"{share * 100:.0f} %"


def moment(at: str) -> str:
    """Return a time for people, in UTC to the second."""
    return f"{at[:10]} {at[11:19]}Z"


def _mark(state: str) -> str:
    """Return the sign beside a state."""
    return LOOKS.get(state, PLAIN).mark


def _ticks(elapsed: float) -> list[str]:
    """Return what stands below the chart, evenly from its beginning to its end."""
    return [duration(elapsed * place / (TICKS - 1)) if place else "0" for place in range(TICKS)]


def _area(bar: Bar, whole: float) -> str:
    """Return how many items of a fan-out were at work, as the path of an area; "" if none were."""
    values = bar.in_flight or ()
    spans = [span for span in bar.spans if span.kind == CHILDREN]
    top = max(values, default=0.0)
    if not spans or top <= 0 or whole <= 0:
        return ""
    left, right = spans[0].from_seconds * UNITS / whole, spans[-1].to_seconds * UNITS / whole
    width = (right - left) / len(values)
    parts = [f"M{left:.1f},{AREA_LOW}"]
    for place, value in enumerate(values):
        parts.append(
            f"V{AREA_LOW - AREA_HEIGHT * value / top:.2f}H{left + (place + 1) * width:.1f}"
        )
    return f"{''.join(parts)}V{AREA_LOW}Z"


def _marks(report: Report) -> Mapping[str, list[tuple[float, float]]]:
    """Return when each step was on the critical path, by path; what touches is one stretch."""
    found: dict[str, list[tuple[float, float]]] = {}
    for path, group in groupby(report.critical_path, key=lambda each: each.path):
        segments = list(group)
        found.setdefault(path, []).append((segments[0].from_seconds, segments[-1].to_seconds))
    return found
