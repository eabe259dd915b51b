"""Layered layout of a directed graph without cycles, from left to right, in the way of Sugiyama.

Ranks by longest path; an edge over several ranks gets a bend in each rank between, unless there
are too many of them; the order in the ranks comes from barycentres; positions from least squares
under minimal distances. Sizes and positions are in the drawing's own units, with the origin at the
top left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate, pairwise

import msgspec

SWEEPS = 12
SPACE_X = 56.0
SPACE_Y = 22.0
SPACE_BEND = 12.0
BENDS_MAX = 10_000  # of a graph; in one with more nobody can follow the longest links anyway
BEND_WEIGHT = 4.0  # long edges rather straight than nodes centred

Cell = tuple[int, int]  # (node, -1), or (edge, number of the bend)


class Size(msgspec.Struct, frozen=True):
    """Width and height."""

    width: float
    height: float


class Box(msgspec.Struct, frozen=True):
    """A placed rectangle; `x` and `y` are its left upper corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Return the vertical centre."""
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        """Return the right border."""
        return self.x + self.width


class Link(msgspec.Struct, frozen=True):
    """An edge between numbered nodes; `label` is the room that its label takes."""

    source: int
    target: int
    label: Size | None = None


class Layout(msgspec.Struct, frozen=True):
    """Where everything is. A link's bends lead from source to target; its label sits in one."""

    size: Size
    nodes: Sequence[Box]
    bends: Sequence[Sequence[Box]]
    labels: Sequence[Box | None]


NO_SIZE = Size(0.0, 6.0)


def lay_out(
    nodes: Sequence[Size], links: Sequence[Link], last: Collection[int] = frozenset()
) -> Layout:
    """Place nodes, which must come in topological order, and the bends of their links.

    Those that are `last` stand to the right of all others; no other is linked from them.
    """
    ranks = _ranks(len(nodes), links, last)
    routed = _routed(links, ranks)
    layers, sizes, neighbours = _layers(nodes, links, ranks, routed)
    _order(layers, neighbours)
    heights = {cell: sizes[cell].height for layer in layers for cell in layer}
    ys = _positions(layers, neighbours, heights)
    boxes = _boxes(layers, sizes, ys)
    bends = [
        [boxes[number, bend] for bend in range(_span(link, ranks) if number in routed else 0)]
        for number, link in enumerate(links)
    ]
    labels = [
        bends[number][_label_bend(link, ranks)] if link.label else None
        for number, link in enumerate(links)
    ]
    placed = [boxes[-1 - number, -1] for number in range(len(nodes))]
    width = max((box.right for box in boxes.values()), default=0.0)
    height = max((box.y + box.height for box in boxes.values()), default=0.0)
    return Layout(Size(width, height), placed, bends, labels)


def _ranks(count: int, links: Sequence[Link], last: Collection[int]) -> list[int]:
    """Return the longest distance from the left; a labelled link keeps a rank for its label."""
    ranks = [0] * count
    within = [link for link in links if link.target not in last]
    _push(ranks, within)
    entered = {link.target for link in links}
    ends: dict[int, int] = {}  # of nodes that nothing leads to: where they may stand at most
    for link in within:
        if link.source not in entered:
            furthest = ranks[link.target] - _length(link)
            ends[link.source] = min(furthest, ends.get(link.source, furthest))
    for node, rank in ends.items():
        ranks[node] = rank
    end = 1 + max((rank for node, rank in enumerate(ranks) if node not in last), default=-1)
    for node in last:
        ranks[node] = end
    _push(ranks, [link for link in links if link.target in last])
    return ranks


def _push(ranks: list[int], links: Sequence[Link]) -> None:
    """Move the targets of links to the right of their sources."""
    for link in sorted(links, key=lambda each: each.target):
        ranks[link.target] = max(ranks[link.target], ranks[link.source] + _length(link))


def _routed(links: Sequence[Link], ranks: Sequence[int]) -> set[int]:
    """Return the links that are led around what is between their ends: the shorter ones.

    Of those with a label that is all.
    """
    order = sorted(range(len(links)), key=lambda each: _span(links[each], ranks))
    bends = accumulate(_span(links[each], ranks) for each in order)
    short = {each for each, used in zip(order, bends, strict=True) if used <= BENDS_MAX}
    return short.union(each for each in order if links[each].label)


def _span(link: Link, ranks: Sequence[int]) -> int:
    """Return how many ranks are between the ends of a link."""
    return ranks[link.target] - ranks[link.source] - 1


def _length(link: Link) -> int:
    return 2 if link.label else 1


def _label_bend(link: Link, ranks: Sequence[int]) -> int:
    """Return the number of the bend that carries the label: the one before the target."""
    return _span(link, ranks) - 1


Neighbours = dict[Cell, tuple[list[Cell], list[Cell]]]  # left, right


def _layers(
    nodes: Sequence[Size], links: Sequence[Link], ranks: Sequence[int], routed: Collection[int]
) -> tuple[list[list[Cell]], dict[Cell, Size], Neighbours]:
    """Return the cells by rank, their sizes and who is linked to whom."""
    layers: list[list[Cell]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    sizes: dict[Cell, Size] = {}
    neighbours: Neighbours = {}

    def add(cell: Cell, rank: int, size: Size) -> None:
        layers[rank].append(cell)
        sizes[cell] = size
        neighbours[cell] = ([], [])

    for number, size in enumerate(nodes):
        add((-1 - number, -1), ranks[number], size)
    for number, link in enumerate(links):
        if number not in routed:
            continue
        left: Cell = (-1 - link.source, -1)
        for bend, rank in enumerate(range(ranks[link.source] + 1, ranks[link.target])):
            carries = link.label is not None and bend == _label_bend(link, ranks)
            cell = (number, bend)
            add(cell, rank, link.label if carries and link.label else NO_SIZE)
            _join(neighbours, left, cell)
            left = cell
        _join(neighbours, left, (-1 - link.target, -1))
    return layers, sizes, neighbours


def _join(neighbours: Neighbours, left: Cell, right: Cell) -> None:
    neighbours[left][1].append(right)
    neighbours[right][0].append(left)


def _order(layers: list[list[Cell]], neighbours: Neighbours) -> None:
    """Sort the layers, forth and back, by the mean place of neighbours; keep the best found."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers, neighbours)
    for sweep in range(SWEEPS):
        side = sweep % 2
        path = layers if side == 0 else list(reversed(layers))
        for before, layer in pairwise(path):
            places = {cell: place for place, cell in enumerate(before)}
            _sort_by_mean(layer, places, neighbours, side)
        crossings = _crossings(layers, neighbours)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
        if not fewest:
            break
    layers[:] = best


def _sort_by_mean(
    layer: list[Cell], places: Mapping[Cell, int], neighbours: Neighbours, side: int
) -> None:
    own = {cell: float(place) for place, cell in enumerate(layer)}
    for cell in layer:
        near = [places[each] for each in neighbours[cell][side]]
        own[cell] = sum(near) / len(near) if near else own[cell]
    layer.sort(key=own.__getitem__)


def _crossings(layers: Sequence[Sequence[Cell]], neighbours: Neighbours) -> int:
    """Count the pairs of lines that cross between adjacent layers."""
    total = 0
    for left, right in pairwise(layers):
        places = {cell: place for place, cell in enumerate(right)}
        seen = [0] * len(right)
        for cell in left:
            targets = [places[each] for each in neighbours[cell][1]]
            total += sum(sum(seen[target + 1 :]) for target in targets)
            for target in targets:
                seen[target] += 1
    return total


def _positions(
    layers: Sequence[Sequence[Cell]], neighbours: Neighbours, heights: Mapping[Cell, float]
) -> dict[Cell, float]:
    """Return the vertical centres: as near to their neighbours as the distances allow."""
    ys: dict[Cell, float] = {}
    for layer in layers:
        ys.update(zip(layer, _spread([0.0] * len(layer), layer, heights), strict=True))
    for sweep in range(SWEEPS):
        sides = [0, 1] if sweep >= SWEEPS - 2 else [sweep % 2]
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted = [_mean_near(cell, ys, neighbours, sides) for cell in layer]
            ys.update(zip(layer, _spread(wanted, layer, heights), strict=True))
    return ys


def _mean_near(
    cell: Cell, ys: Mapping[Cell, float], neighbours: Neighbours, sides: Sequence[int]
) -> float | None:
    """Return where a cell would best be; None if nothing is linked to it."""
    near = [ys[each] for side in sides for each in neighbours[cell][side]]
    if near:
        return sum(near) / len(near)
    return ys[cell] if any(neighbours[cell]) else None


def _spread(
    wanted: Sequence[float | None], layer: Sequence[Cell], heights: Mapping[Cell, float]
) -> list[float]:
    """Return the positions nearest to the wanted ones that keep order and distances.

    Least squares under `y[i+1] - y[i] >= distance[i]`: with the distances taken out it is an
    isotonic regression, solved by pooling neighbours that violate the order. A cell that wants
    nothing joins the one before it.
    """
    offsets = _offsets(layer, heights)
    pools: list[tuple[float, float, int]] = []  # mean, weight, members
    for cell, want, offset in zip(layer, wanted, offsets, strict=True):
        if want is None:
            mean, weight, members = pools.pop() if pools else (0.0, 0.0, 0)
            pools.append((mean, weight, members + 1))
            continue
        mean, weight, members = want - offset, BEND_WEIGHT if cell[0] >= 0 else 1.0, 1
        while pools and (pools[-1][0] > mean or pools[-1][1] == 0):
            other, other_weight, more = pools.pop()
            mean = (mean * weight + other * other_weight) / (weight + other_weight)
            weight, members = weight + other_weight, members + more
        pools.append((mean, weight, members))
    means = [mean for mean, _, members in pools for _ in range(members)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _offsets(layer: Sequence[Cell], heights: Mapping[Cell, float]) -> list[float]:
    """Return the centres of a layer's cells when they stand as close as they may."""
    offsets = [0.0]
    for above, below in pairwise(layer):
        space = SPACE_Y if above[0] < 0 and below[0] < 0 else SPACE_BEND
        offsets.append(offsets[-1] + (heights[above] + heights[below]) / 2 + space)
    return offsets[: len(layer)]


def _boxes(
    layers: Sequence[Sequence[Cell]], sizes: Mapping[Cell, Size], ys: Mapping[Cell, float]
) -> dict[Cell, Box]:
    """Return the rectangles: each layer is a column, as wide as the widest of its cells."""
    top = min((ys[cell] - sizes[cell].height / 2 for cell in ys), default=0.0)
    boxes: dict[Cell, Box] = {}
    left = 0.0
    for layer in layers:
        wide = max(sizes[cell].width for cell in layer)
        for cell in layer:
            size = sizes[cell]
            width = wide if cell[0] >= 0 else size.width
            x = left + (wide - width) / 2
            boxes[cell] = Box(x, ys[cell] - size.height / 2 - top, width, size.height)
        left += wide + SPACE_X
    return boxes
