"""What `replay --step-through` draws: an event, what it changed, and the steps after it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from rich.console import Console, Group
from rich.text import Text

from warrener.domain.ids import joined_path
from warrener.services.cli import job_notes
from warrener.services.cli.output import clean, counts_text, one_line, plain, state_text

if TYPE_CHECKING:
    from warrener.services.shapes import HistoryLine, Show, Step
    from warrener.services.walk import Change

CHANGES_SHOWN_MAX: Final = 4
STEP_COLUMN_MAX: Final = 28
_KEYS: Final = "n/p next, previous  s step  f failure  g go to  w why  d data  ? help  q quit"
_HELP: Final = """\
n  right  down  space   the next event
p  left  up             the event before
Home  End               the first event, the last one
s                       the next event of the same step (or job)
f                       the next failure
g                       go to a position of the log, a version (v12), a time or an age
w                       why a step, or the job, is in its state
d                       all data of the event
?                       this page
q                       quit
"""


class Page(msgspec.Struct, frozen=True):
    """A text of any length under a title."""

    title: str
    text: str


class Scene(msgspec.Struct, frozen=True):
    """An event and the state after it. `show` is its job, `above` where that is."""

    number: int
    count: int
    line: HistoryLine
    cause: str
    above: str
    show: Show
    changes: Sequence[Change]


class Screen:
    """Draws on the alternate screen of a terminal, as large as that is at the time."""

    def __init__(self, console: Console, update: Callable[[Any], None]) -> None:
        """Take the console, for its size, and what puts something on its screen."""
        self._console = console
        self._update = update
        self._last: list[Text] = []

    @property
    def lines_of_page(self) -> int:
        """Return how many lines of a page there is room for."""
        return max(1, self._console.size.height - 3)

    def show(self, scene: Scene, note: str) -> None:
        """Draw an event; a note comes in the place of the keys."""
        height, width = self._console.size.height, self._console.size.width
        above = [*_head(scene), *_changes(scene.changes), *_job(scene)]
        room = max(1, height - len(above) - 1)
        changed = {each.path for each in scene.changes}
        lines = [*above, *_steps(scene, changed, room, width)]
        footer = plain(one_line(note), "bold yellow") if note else plain(_KEYS, "dim")
        self._draw(lines, footer)

    def page(self, page: Page, first: int) -> int:
        """Draw a page from a line on; return that line, which is one that the page has."""
        width = max(20, self._console.size.width - 1)
        lines = [part for line in clean(page.text).splitlines() for part in _wrapped(line, width)]
        first = min(max(0, first), max(0, len(lines) - self.lines_of_page))
        shown = lines[first : first + self.lines_of_page]
        where = f" lines {first + 1} to {first + len(shown)} of {len(lines)}"
        footer = plain(f"arrows move, any other key goes back;{where}", "dim")
        self._draw([plain(page.title, "bold"), Text(), *map(Text, shown)], footer)
        return first

    def help(self) -> Page:
        """Return the page of the keys."""
        return Page("Keys", _HELP)

    def ask(self, text: str) -> None:
        """Draw a question in the place of the keys, over what is shown."""
        self._draw(self._last, plain(text, "bold"))

    def _draw(self, lines: Sequence[Text], footer: Text) -> None:
        height = self._console.size.height
        self._last = list(lines)
        shown = [*lines[: height - 1]]
        shown += [Text()] * (height - 1 - len(shown))
        for line in (*shown, footer):
            line.no_wrap, line.overflow = True, "ellipsis"
        self._update(Group(*shown, footer))


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, drop_whitespace=False, break_on_hyphens=False) or [""]


def _head(scene: Scene) -> list[Text]:
    line = scene.line
    return [
        Text.assemble(
            (f"event {scene.number} of {scene.count}", "bold"),
            f"  position {line.position}  {line.at}",
        ),
        Text.assemble(
            plain(f"{line.path or '.'} ", "cyan"),
            plain(f"{line.type} ", "bold"),
            plain(f"v{line.version}", "dim"),
        ),
        plain(f"because: {one_line(scene.cause)}"),
    ]


def _changes(changes: Sequence[Change]) -> list[Text]:
    lines = []
    for change in changes[:CHANGES_SHOWN_MAX]:
        fields = ", ".join(
            f"{name}: {_value(old)} → {_value(new)}" for name, (old, new) in change.fields.items()
        )
        name = change.path or "the job"
        lines.append(Text.assemble(plain(f"  {name} ", "bold"), plain(one_line(fields))))
    more = len(changes) - CHANGES_SHOWN_MAX
    return [*lines, plain(f"  and {more} more changes", "dim")] if more > 0 else lines


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{count} {state}" for state, count in sorted(value.items()))
    return "-" if value in (None, "") else str(value)


def _job(scene: Scene) -> list[Text]:
    show = scene.show
    where = plain(f"{scene.above} ", "cyan") if scene.above else Text()
    head = Text.assemble(
        where, plain(f"{show.name} v{show.version} ", "bold"), state_text(show.state), "  "
    )
    return [Text(), head + counts_text(show.counts)]


def _steps(scene: Scene, changed: set[str], room: int, width: int) -> Iterable[Text]:
    """Return as many steps as there is room for, those around the first that changed."""
    steps = list(scene.show.steps.values())
    marked = [_is_changed(scene, step, changed) for step in steps]
    first = 0
    if len(steps) > room:
        middle = marked.index(True) if any(marked) else 0
        first = min(max(0, middle - room // 2), len(steps) - room)
    column = min(STEP_COLUMN_MAX, max((len(step.path) for step in steps), default=0))
    for step, mark in list(zip(steps, marked, strict=True))[first : first + room]:
        yield _row(step, mark, column, width)


def _is_changed(scene: Scene, step: Step, changed: set[str]) -> bool:
    place = joined_path(scene.above, step.path)
    return any(path == place or path.startswith((f"{place}[", f"{place}/")) for path in changed)


def _row(step: Step, mark: bool, column: int, width: int) -> Text:
    path = one_line(step.path)
    path = path if len(path) <= column else f"{path[: column - 1]}…"
    row = Text.assemble(
        "▶ " if mark else "  ",
        plain(f"{path:<{column}} ", "bold" if mark else ""),
        state_text(f"{step.state:<16}"),
        f"{step.attempts or '':>3} ",
        job_notes.note(step),
    )
    row.truncate(width, overflow="ellipsis")
    if mark:
        row.stylize("reverse")
    return row
