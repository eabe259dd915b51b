"""The graph of a job as a page draws it: boxes of one size, laid out once for each definition."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from threading import Lock
from typing import Final
from uuid import UUID

import msgspec

from warrener.domain.ids import compensation
from warrener.domain.plan import build_plan
from warrener.domain.states import STEP_ENDED
from warrener.projections.drawing_model import Edge, Graph, Node, graph_of
from warrener.projections.drawing_svg import columns
from warrener.projections.layout import Box, Layout, Link, Size, lay_out
from warrener.services.queries import Queries
from warrener.services.shapes import Step
from warrener.services.web.shapes import GraphEdge, GraphNode, GraphNow, Spot

HEIGHT: Final = 56.0
WIDTH_MIN: Final = 150.0
WIDTH_MAX: Final = 280.0
COLUMN: Final = 7.5
LABEL: Final = Size(110.0, 20.0)
KEPT_MAX: Final = 64
CHILDREN_MAX: Final = 200  # sub-jobs whose progress is looked up


class Drawn(msgspec.Struct, frozen=True):
    """A graph and where everything is."""

    graph: Graph
    layout: Layout


_kept: OrderedDict[str, Drawn] = OrderedDict()
_lock = Lock()  # of what is kept
_drawing = Lock()


def graph_now(queries: Queries, job: UUID) -> GraphNow:
    """Return the graph of a job with the states of its steps."""
    shown = queries.show(job, whole=False)
    drawn = _drawn(queries, job, shown.definition)
    size = drawn.layout.size
    progress = {name: _progress(step) for name, step in shown.steps.items()}
    progress |= dict(islice(_of_children(queries, shown.steps.values()), CHILDREN_MAX))
    return GraphNow(
        job=job,
        name=shown.name,
        version=shown.version,
        width=round(size.width, 1),
        height=round(size.height, 1),
        nodes=tuple(
            _node(node, box, shown.steps, progress)
            for node, box in zip(drawn.graph.nodes, drawn.layout.nodes, strict=True)
        ),
        edges=tuple(_edges(drawn)),
    )


def _drawn(queries: Queries, job: UUID, definition: str) -> Drawn:
    """Lay a definition out, one at a time: it may take long, and it is kept."""
    found = _known(definition)
    if found is not None:
        return found
    with _drawing:
        found = _known(definition)  # somebody else may have drawn it meanwhile
        if found is None:
            graph = graph_of(build_plan(queries.definition(job)), None, None)
            found = Drawn(graph, _laid_out(graph))
            _keep(definition, found)
    return found


def _known(definition: str) -> Drawn | None:
    with _lock:
        if definition in _kept:
            _kept.move_to_end(definition)
        return _kept.get(definition)


def _keep(definition: str, drawn: Drawn) -> None:
    with _lock:
        _kept[definition] = drawn
        while len(_kept) > KEPT_MAX:
            _kept.popitem(last=False)


def _laid_out(graph: Graph) -> Layout:
    numbers = {node.name: number for number, node in enumerate(graph.nodes)}
    links = [
        Link(numbers[edge.dependency], numbers[edge.reader], LABEL if edge.label else None)
        for edge in graph.edges
    ]
    last = {number for number, node in enumerate(graph.nodes) if node.always}
    found = lay_out([_size(node) for node in graph.nodes], links, last)
    return _gathered(found, {each for link in links for each in (link.source, link.target)})


def _gathered(layout: Layout, linked: Collection[int]) -> Layout:
    """Bring a box that nothing is linked to, alone in its column, to the middle of the others."""
    columns_of: dict[float, list[int]] = {}
    for number, box in enumerate(layout.nodes):
        columns_of.setdefault(box.x + box.width / 2, []).append(number)
    alone = {each[0] for each in columns_of.values() if len(each) == 1} - set(linked)
    rest = [box for number, box in enumerate(layout.nodes) if number not in alone]
    if not alone or not rest:
        return layout
    bends = [bend for each in layout.bends for bend in each]
    top = min(box.y for box in (*rest, *bends))
    bottom = max(box.y + box.height for box in (*rest, *bends))

    def moved(number: int, box: Box) -> Box:
        y = (bottom - top - box.height) / 2 if number in alone else box.y - top
        return msgspec.structs.replace(box, y=y)

    def up(box: Box) -> Box:
        return msgspec.structs.replace(box, y=box.y - top)

    return Layout(
        size=Size(layout.size.width, bottom - top),
        nodes=[moved(number, box) for number, box in enumerate(layout.nodes)],
        bends=[[up(bend) for bend in each] for each in layout.bends],
        labels=[None if label is None else up(label) for label in layout.labels],
    )


def _size(node: Node) -> Size:
    text = max(columns(node.name), columns(node.target)) * COLUMN + 60.0
    return Size(min(WIDTH_MAX, max(WIDTH_MIN, text)), HEIGHT)


def _node(
    node: Node, box: Box, steps: Mapping[str, Step], progress: Mapping[str, float | None]
) -> GraphNode:
    step = steps.get(node.name)
    undone = steps.get(compensation(node.name))
    return GraphNode(
        name=node.name,
        kind=node.kind,
        target=node.target,
        fan_out=node.fan_out,
        join=node.join,
        when=node.when,
        always=node.always,
        compensate=node.compensate,
        undone=None if undone is None else undone.state,
        state="pending" if step is None else step.state,
        items=None if step is None else step.items,
        progress=progress.get(node.name),
        child=None if step is None else step.child,
        x=round(box.x, 1),
        y=round(box.y, 1),
        w=round(box.width, 1),
        h=round(box.height, 1),
    )


def _of_children(queries: Queries, steps: Iterable[Step]) -> Iterator[tuple[str, float]]:
    """Yield how far the open sub-jobs of steps are, with everything below them."""
    for step in steps:
        if step.child is not None and step.state not in STEP_ENDED:
            yield step.name, _share_ended(queries.counts(step.child))


def _progress(step: Step) -> float | None:
    return _share_ended(step.items) if step.items else step.progress


def _share_ended(counts: Mapping[str, int]) -> float:
    ended = sum(count for state, count in counts.items() if state in STEP_ENDED)
    return round(ended / max(1, sum(counts.values())), 4)


def _edges(drawn: Drawn) -> Sequence[GraphEdge]:
    boxes = {
        node.name: box for node, box in zip(drawn.graph.nodes, drawn.layout.nodes, strict=True)
    }
    return [
        _edge(edge, boxes, drawn.layout.bends[number], drawn.layout.labels[number])
        for number, edge in enumerate(drawn.graph.edges)
    ]


def _edge(
    edge: Edge, boxes: Mapping[str, Box], bends: Sequence[Box], label: Box | None
) -> GraphEdge:
    source, target = boxes[edge.dependency], boxes[edge.reader]
    points = [_point(source.right, source.middle)]
    for bend in bends:
        points.append(_point(bend.x, bend.middle))
        if bend.width:
            points.append(_point(bend.right, bend.middle))
    points.append(_point(target.x, target.middle))
    return GraphEdge(
        source=edge.dependency,
        target=edge.reader,
        condition=edge.condition,
        catch=edge.catch,
        points=tuple(points),
        label=None if label is None else _point(label.x + label.width / 2, label.middle),
    )


def _point(x: float, y: float) -> Spot:
    return Spot(x=round(x, 1), y=round(y, 1))
