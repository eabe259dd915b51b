"""Graphs as standalone SVG: no script, no style sheet, no ids, so it may stand in any page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final
from unicodedata import combining, east_asian_width

from warrener.projections.drawing_model import CATCH_LINE, INK, LINE, Graph, Node, shortened
from warrener.projections.layout import Box, Layout, Link, Size, lay_out

FONT: Final = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
CHAR: Final = 7.9  # width of a character of 13 units, a little generous
SMALL_CHAR: Final = 6.8
LINE_HEIGHT: Final = 17.0
PADDING: Final = 12.0
CORNERS: Final = {"set": 14.0, "wait": 24.0, "sleep": 24.0}
MARGIN: Final = 24.0
STACK: Final = 5.0  # how far the sheets behind a fan-out stick out
COLUMNS_MAX: Final = 32
LABEL_COLUMNS_MAX: Final = 26
LINES_MAX: Final = 3
ARROW: Final = 8.0


def to_svg(graph: Graph) -> str:
    """Return the drawing. Colours come with words, and everything is said in `title` and `desc`."""
    texts = [_node_text(node) for node in graph.nodes]
    labels = [wrapped(edge.label, LABEL_COLUMNS_MAX) for edge in graph.edges]
    layout = _layout(graph, texts, labels)
    width, height = layout.size.width + 2 * MARGIN, layout.size.height + 2 * MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:.0f}"'
        f' height="{height:.0f}" viewBox="{-MARGIN:.0f} {-MARGIN:.0f} {width:.0f} {height:.0f}"'
        f' font-family="{FONT}" font-size="13">'
    )
    title, text = escape(graph.title), escape(graph.description())
    parts = [head, f"<title>{title}</title>", f"<desc>{text}</desc>"]
    parts += _edges(graph, layout, labels)
    for node, lines, box in zip(graph.nodes, texts, layout.nodes, strict=True):
        parts.append(_node(node, lines, box))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _layout(graph: Graph, texts: Sequence[list[str]], labels: Sequence[list[str]]) -> Layout:
    numbers = {node.name: number for number, node in enumerate(graph.nodes)}
    links = [
        Link(
            numbers[edge.dependency],
            numbers[edge.reader],
            _room(label, SMALL_CHAR, 6.0) if edge.label else None,
        )
        for edge, label in zip(graph.edges, labels, strict=True)
    ]
    last = {number for number, node in enumerate(graph.nodes) if node.always}
    return lay_out([_room(lines, CHAR, PADDING) for lines in texts], links, last)


def _node_text(node: Node) -> list[str]:
    return [part for line in node.lines() for part in wrapped(line, COLUMNS_MAX)]


def _room(lines: Sequence[str], char: float, padding: float) -> Size:
    widest = max((columns(line) for line in lines), default=0)
    return Size(widest * char + 2 * padding, len(lines) * LINE_HEIGHT + 2 * padding - 4)


def columns(text: str) -> int:
    """Return how many columns of a monospaced font text takes; wide characters take two."""
    return sum(
        0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text
    )


def wrapped(text: str, columns_max: int) -> list[str]:
    """Break text into at most `LINES_MAX` lines, at spaces where there are any."""
    lines: list[str] = []
    rest = shortened(text, columns_max * LINES_MAX)
    while columns(rest) > columns_max and len(lines) < LINES_MAX - 1:
        cut = _cut(rest, columns_max)
        space = rest.rfind(" ", columns_max // 2, cut + 1)
        cut = space if space > 0 else cut
        lines.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    if columns(rest) > columns_max:
        rest = rest[: _cut(rest, columns_max - 1)] + "…"
    return [line for line in (*lines, rest) if line]


def _cut(text: str, columns_max: int) -> int:
    """Return how many characters fit into so many columns."""
    taken = 0
    for index, char in enumerate(text):
        taken += columns(char)
        if taken > columns_max:
            return index
    return len(text)


def _node(node: Node, lines: Sequence[str], box: Box) -> str:
    look = node.look
    dashes = ' stroke-dasharray="5 3"' if look.dashed else ""
    ink = f'fill="{look.fill}" stroke="{look.stroke}" stroke-width="1.5"{dashes}'
    shapes = []
    if node.fan_out:
        shapes += [_rect(box, shift, 5, ink) for shift in (2 * STACK, STACK)]
    shapes.append(_rect(box, 0, CORNERS.get(node.kind, 5), ink))
    if node.kind == "job":
        shapes.append(_rect(box, 0, 3, f'fill="none" stroke="{look.stroke}"', inset=4))
    top = box.y + PADDING + 9
    texts = [
        _text(line, box.x + box.width / 2, top + number * LINE_HEIGHT, bold=number == 0)
        for number, line in enumerate(lines)
    ]
    title = escape("\n".join(node.lines()))
    return f"<g><title>{title}</title>{''.join(shapes)}{''.join(texts)}</g>"


def _rect(box: Box, shift: float, radius: float, ink: str, inset: float = 0) -> str:
    x, y = box.x + shift + inset, box.y - shift + inset
    width, height = box.width - 2 * inset, box.height - 2 * inset
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        f' rx="{radius:g}" {ink}/>'
    )


def _text(line: str, x: float, y: float, *, bold: bool = False, small: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    size = ' font-size="11"' if small else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" direction="ltr"'
        f' unicode-bidi="isolate" fill="{INK}"{weight}{size}>{escape(line)}</text>'
    )


def _edges(graph: Graph, layout: Layout, labels: Sequence[list[str]]) -> Iterable[str]:
    numbers = {node.name: number for number, node in enumerate(graph.nodes)}
    leaving = _ports(graph, layout, numbers, leaving=True)
    entering = _ports(graph, layout, numbers, leaving=False)
    for number, edge in enumerate(graph.edges):
        source = layout.nodes[numbers[edge.dependency]]
        target = layout.nodes[numbers[edge.reader]]
        start, end = (source.right, leaving[number]), (target.x, entering[number])
        title = f"{edge.dependency} to {edge.reader}{edge.words}"
        dashes = ' stroke-dasharray="6 4"' if edge.label else ""
        colour = CATCH_LINE if edge.catch else LINE
        path = _path(start, layout.bends[number], end)
        yield (
            f"<g><title>{escape(title)}</title>"
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dashes}/>'
            f'<path d="{_arrow(end)}" fill="{colour}"/>'
            f"{_label(labels[number], layout.labels[number])}</g>"
        )


def _ports(
    graph: Graph, layout: Layout, numbers: dict[str, int], *, leaving: bool
) -> dict[int, float]:
    """Return where each edge touches its node: spread over the side, in the order of its way."""
    sides: dict[int, list[tuple[float, int]]] = {}
    for number, edge in enumerate(graph.edges):
        own, other = numbers[edge.dependency], numbers[edge.reader]
        own, other = (own, other) if leaving else (other, own)
        bends = layout.bends[number]
        near = bends[0 if leaving else -1] if bends else layout.nodes[other]
        sides.setdefault(own, []).append((near.middle, number))
    ports = {}
    for own, ends in sides.items():
        box = layout.nodes[own]
        step = min(12.0, (box.height - 2 * PADDING) / max(1, len(ends) - 1))
        for place, (_, number) in enumerate(sorted(ends)):
            ports[number] = box.middle + (place - (len(ends) - 1) / 2) * step
    return ports


def _path(start: tuple[float, float], bends: Sequence[Box], end: tuple[float, float]) -> str:
    """Return a line that is level in the columns and curves between them."""
    x, y = start
    parts = [f"M{x:.1f},{y:.1f}"]
    stops = [(bend.x, bend.middle, bend.right) for bend in bends]
    for left, middle, right in [*stops, (end[0] - ARROW + 1, end[1], end[0] - ARROW + 1)]:
        half = (x + left) / 2
        parts.append(f"C{half:.1f},{y:.1f} {half:.1f},{middle:.1f} {left:.1f},{middle:.1f}")
        if right > left:
            parts.append(f"H{right:.1f}")
        x, y = right, middle
    return "".join(parts)


def _arrow(end: tuple[float, float]) -> str:
    x, y = end
    return f"M{x:.1f},{y:.1f}l{-ARROW:.1f},-4v8z"


def _label(lines: Sequence[str], box: Box | None) -> str:
    if box is None:
        return ""
    room = _room(lines, SMALL_CHAR, 6.0)
    middle = box.x + box.width / 2
    plate = Box(middle - room.width / 2, box.y, room.width, room.height)
    ink = f'fill="#f8fafc" stroke="{LINE}" stroke-dasharray="3 3"'
    texts = [
        _text(line, middle, box.y + 15 + number * LINE_HEIGHT, small=True)
        for number, line in enumerate(lines)
    ]
    return _rect(plate, 0, 4, ink) + "".join(texts)
