"""Graphs as text for other programs: Mermaid and DOT. Steps are numbered, so no name is syntax."""

from __future__ import annotations

import re

from warrener.projections.drawing_model import (
    CATCH_LINE,
    INK,
    LINE,
    LOOKS,
    PLAIN,
    Graph,
    Look,
    Node,
    shortened,
)

LABEL_CHARS_MAX = 60

_MERMAID_SPECIAL = re.compile(r"[^\w .,:/=+()'\u2010-\u2fff-]", re.ASCII)
_MERMAID_SHAPES = {
    "call": ('["', '"]'),
    "job": ('[["', '"]]'),
    "set": ('("', '")'),
    "wait": ('(["', '"])'),
    "sleep": ('(["', '"])'),
}
_MERMAID_FAN_OUT = ('{{"', '"}}')


def to_mermaid(graph: Graph) -> str:
    """Return a Mermaid flowchart; fan-outs are hexagons, sub-jobs have a double border.

    What waits has round ends; the ways to steps that answer for failures are red.
    """
    ids = _ids(graph)
    lines = [
        "flowchart LR",
        f"    accTitle: {_mermaid_plain(graph.title)}",
        f"    accDescr: {_mermaid_plain(graph.description())}",
    ]
    lines += [f"    {ids[node.name]}{_mermaid_shape(node)}" for node in graph.nodes]
    for edge in graph.edges:
        label = f'|"{_mermaid(edge.label)}"|' if edge.label else ""
        arrow = "-.->" if edge.label else "-->"
        lines.append(f"    {ids[edge.dependency]} {arrow}{label} {ids[edge.reader]}")
    caught = [str(number) for number, edge in enumerate(graph.edges) if edge.catch]
    if caught:
        lines.append(f"    linkStyle {','.join(caught)} stroke:{CATCH_LINE}")
    return "\n".join([*lines, *_mermaid_classes(graph)]) + "\n"


def _mermaid_shape(node: Node) -> str:
    left, right = _MERMAID_FAN_OUT if node.fan_out else _MERMAID_SHAPES[node.kind]
    return left + "<br/>".join(_mermaid(line) for line in node.lines()) + right


def _mermaid_classes(graph: Graph) -> list[str]:
    ids = _ids(graph)
    lines = []
    for state in sorted({node.state for node in graph.nodes if node.state}):
        look = LOOKS.get(state, PLAIN)
        dashes = ",stroke-dasharray:4 3" if look.dashed else ""
        colours = f"fill:{look.fill},stroke:{look.stroke},color:{INK}{dashes}"
        members = ",".join(ids[node.name] for node in graph.nodes if node.state == state)
        name = f"state_{re.sub('[^a-z_]', '_', state)}"
        lines += [f"    classDef {name} {colours}", f"    class {members} {name}"]
    return lines


def _mermaid(text: str) -> str:
    """Escape a label: whatever might be syntax or markup becomes a numbered entity."""
    short = shortened(text, LABEL_CHARS_MAX)
    return _MERMAID_SPECIAL.sub(lambda found: f"#{ord(found.group())};", short)


def _mermaid_plain(text: str) -> str:
    """Return text for the accessible title, which knows no entities."""
    return re.sub(r"[^\w .,:()=!-]", " ", text)


def to_dot(graph: Graph) -> str:
    """Return a Graphviz digraph; fan-outs are boxes with depth, sub-jobs have two borders.

    What waits is an oval; the ways to steps that answer for failures are red.
    """
    ids = _ids(graph)
    lines = [
        f"digraph {_dot(graph.title)} {{",
        f"    graph [rankdir=LR, label={_dot(graph.title)}, tooltip={_dot(graph.description())}];",
        f'    node [fontname="monospace", fontcolor="{INK}", style="filled,rounded", shape=box];',
        f'    edge [color="{LINE}", fontname="monospace", fontcolor="{LINE}"];',
    ]
    for node in graph.nodes:
        label = "\\n".join(_dot_text(shortened(line, LABEL_CHARS_MAX)) for line in node.lines())
        lines.append(f'    {ids[node.name]} [label="{label}", {_dot_look(node, node.look)}];')
    for edge in graph.edges:
        label = f"style=dashed, label={_dot(shortened(edge.label, LABEL_CHARS_MAX))}"
        colour = f', color="{CATCH_LINE}"' if edge.catch else ""
        style = f" [{label}{colour}]" if edge.label else ""
        lines.append(f"    {ids[edge.dependency]} -> {ids[edge.reader]}{style};")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_look(node: Node, look: Look) -> str:
    border = f'fillcolor="{look.fill}", color="{look.stroke}"'
    style = ', style="filled,dashed"' if look.dashed else ', style="filled"'
    if node.fan_out:
        return f"{border}, shape=box3d{style}"
    if node.kind == "job":
        return f"{border}, peripheries=2{style}"
    shape = ", shape=oval" if node.kind in ("wait", "sleep") else ""
    return border + shape + (style if look.dashed else "")


def _dot(text: str) -> str:
    return f'"{_dot_text(text)}"'


def _dot_text(text: str) -> str:
    """Escape text inside a quoted DOT string, which knows backslashes and HTML entities."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")


def _ids(graph: Graph) -> dict[str, str]:
    return {node.name: f"n{number}" for number, node in enumerate(graph.nodes)}
