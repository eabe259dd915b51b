"""Drawings of definitions and jobs, in every format and with hostile names."""

from __future__ import annotations

import itertools
import json
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.histories import REPORT, definition

from warrener.domain.errors import UsageError
from warrener.projections.drawing import draw, to_json
from warrener.projections.drawing_model import LOOKS, Edge, Graph, Node, bare, safe
from warrener.projections.drawing_svg import columns, to_svg, wrapped
from warrener.projections.drawing_text import to_dot, to_mermaid
from warrener.projections.layout import BENDS_MAX, Box, Link, Size, lay_out

SVG = "{http://www.w3.org/2000/svg}"
FORMATS = ("mermaid", "dot", "svg", "json")
CONDITIONAL = definition(
    a={"call": "x.a"},
    b={"call": "x.b", "needs": {"a": {"when": "${{ params.b != null }}"}}},
    c={"set": {"v": 1}, "after": ["b"], "when": "${{ params.c }}", "join": "all_done"},
    d={"job": "other", "for_each": "${{ params.list }}"},
)
ANSWERED = definition(
    a={"call": "x.a", "compensate": "x.undo", "catch": [{"on": "late", "go": "h"}, {"go": "g"}]},
    b={"wait": {"for": "approval"}, "after": ["a"]},
    c={"sleep": 129600.0, "after": ["b"]},
    d={"sleep": "${{ params.until }}"},
    g={"call": "x.g", "with": {"why": "${{ steps.a.error }}"}},
    h={"call": "x.h"},
    z={"call": "x.z", "always": True},
    z2={"call": "x.z", "always": True, "after": ["a", "z"]},
)
HOSTILE = [
    '"><script>alert(1)</script>',
    "</title><script>x</script>",
    'quote " and \' and ` and \\" \\',
    "line\nbreak\r\n\u2028 tab\t",
    "\u202egnirts\u2066 \u200f",
    "]]> &amp; &#60; #60; ; | {} [] <!-- -->",
    "\x00\x1b\ud800",
    "漢字 שלום é",
]


def hostile(text: str) -> Graph:
    common = {"fan_out": False, "join": "all_ok", "state": None, "items": None}
    nodes = (
        Node(name="a", kind="call", target=text, when=None, compensate=safe(text), **common),
        Node(name="b", kind="job", target=text, when=bare(text), **common),
    )
    edges = (Edge("a", "b", bare(text), safe(text)),)
    return Graph(job=text, version=1, nodes=nodes, edges=edges)


def texts(svg: str) -> list[str]:
    return ["".join(each.itertext()) for each in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("format", FORMATS)
def test_every_step_and_edge_is_in_the_drawing(format: str) -> None:
    drawn = draw(REPORT, format=format)

    for name, step in REPORT.steps.items():
        assert name in drawn
        assert (step.call or step.job or "") in drawn


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="mermaid, dot, svg, json"):
        draw(REPORT, format="png")


def test_json_tells_nodes_and_edges() -> None:
    drawn = json.loads(draw(CONDITIONAL, {"a": "failed"}, "json", {"d": {"succeeded": 2}}))

    nodes = {node["name"]: node for node in drawn["nodes"]}
    assert (nodes["a"]["state"], nodes["b"]["state"]) == ("failed", "pending")
    assert (nodes["c"]["kind"], nodes["c"]["when"]) == ("set", "params.c")
    assert (nodes["d"]["fan_out"], nodes["d"]["items"]) == (True, {"succeeded": 2})
    assert {"from": "a", "to": "b", "condition": "params.b != null"} in drawn["edges"]
    assert {"from": "b", "to": "c", "condition": None} in drawn["edges"]


def test_mermaid_marks_conditional_edges_fan_outs_and_states() -> None:
    drawn = draw(CONDITIONAL, {"a": "failed"}, "mermaid", {"d": {"succeeded": 2, "ready": 1}})

    ids = dict(re.findall(r"^ +(n\d)\W+(\w+)<br", drawn, re.MULTILINE))
    by_name = {name: number for number, name in ids.items()}
    assert f'{by_name["a"]} -.->|"params.b != null"| {by_name["b"]}'.replace("!", "#33;") in drawn
    assert f"{by_name['b']} --> {by_name['c']}" in drawn
    assert f'{by_name["d"]}{{{{"d<br/>each: job other' in drawn
    assert "2 of 3 items ended" in drawn
    assert f"class {by_name['a']} state_failed" in drawn
    assert "✗ failed" in drawn.replace("#10007;", "✗")


def test_dot_dashes_conditional_edges_and_gives_fan_outs_depth() -> None:
    drawn = draw(CONDITIONAL, format="dot")

    assert 'style=dashed, label="params.b != null"' in drawn
    assert drawn.count("shape=box3d") == 1


def test_json_tells_what_waits_who_answers_and_what_is_undone() -> None:
    drawn = json.loads(draw(ANSWERED, format="json"))

    nodes = {node["name"]: node for node in drawn["nodes"]}
    assert (nodes["b"]["kind"], nodes["b"]["target"]) == ("wait", "approval")
    assert (nodes["c"]["kind"], nodes["c"]["target"]) == ("sleep", "1d12h")
    assert nodes["d"]["target"] == "params.until"
    assert [name for name, node in nodes.items() if node["always"]] == ["z", "z2"]
    assert (nodes["a"]["compensate"], nodes["b"]["compensate"]) == ("x.undo", None)
    caught = {(edge["from"], edge["to"]): edge for edge in drawn["edges"] if "catch" in edge}
    assert caught == {
        ("a", "h"): {"from": "a", "to": "h", "condition": None, "catch": "late"},
        ("a", "g"): {"from": "a", "to": "g", "condition": None, "catch": "*"},
    }


def test_mermaid_marks_what_waits_who_answers_and_what_is_undone() -> None:
    drawn = draw(ANSWERED, format="mermaid")

    ids = dict(re.findall(r"^ +(n\d)\W+(\w+)<br", drawn, re.MULTILINE))
    by_name = {name: number for number, name in ids.items()}
    assert f'{by_name["b"]}(["b<br/>wait approval"])' in drawn
    assert f'{by_name["c"]}(["c<br/>sleep 1d12h"])' in drawn
    assert f'{by_name["a"]}["a<br/>call x.a<br/>↶ x.undo"]' in drawn
    assert f'{by_name["z"]}["z<br/>call x.z<br/>always, at the end"]' in drawn
    assert f'{by_name["a"]} -.->|"on late"| {by_name["h"]}' in drawn
    assert f'{by_name["a"]} -.->|"on #42;"| {by_name["g"]}' in drawn
    lines = [line for line in drawn.splitlines() if "->" in line]
    red = re.findall(r"linkStyle ([\d,]+) stroke:#dc2626", drawn)
    assert [lines[int(number)].count('"on ') for number in red[0].split(",")] == [1, 1]


@pytest.mark.parametrize("format", FORMATS)
def test_what_undoes_a_step_is_a_mark_on_it_with_its_state(format: str) -> None:
    states = {"a": "succeeded", "a.compensate": "cancelled"}

    drawn = draw(ANSWERED, states, format)

    assert "a.compensate" not in drawn
    assert drawn.count("cancelled") == (2 if format == "svg" else 1)


def test_dot_marks_what_waits_who_answers_and_what_is_undone() -> None:
    drawn = draw(ANSWERED, format="dot")

    assert drawn.count("shape=oval") == 3
    assert '[style=dashed, label="on late", color="#dc2626"]' in drawn
    assert "↶ x.undo" in drawn


def test_svg_marks_what_waits_who_answers_and_what_is_undone() -> None:
    root = ET.fromstring(draw(ANSWERED, {"b": "waiting"}, "svg"))

    groups = {group.findtext(f"{SVG}title", "").split("\n")[0]: group for group in root}
    answered = groups["a to h on late"]
    assert answered.find(f"{SVG}path[@stroke-dasharray]").get("stroke") == "#dc2626"  # type: ignore[union-attr]
    assert "on late" in "".join(answered.itertext())
    assert "a to g on *" in groups
    assert groups["b"].find(f"{SVG}rect").get("rx") == "24"  # type: ignore[union-attr]
    assert "a (pending); " in root.findtext(f"{SVG}desc", "")
    assert "h (pending) after a on late" in root.findtext(f"{SVG}desc", "")


def test_who_answers_for_a_step_stands_to_the_right_of_it_whatever_its_name() -> None:
    answered = definition(a={"call": "x.a"}, b={"call": "x.b", "catch": [{"go": "a"}]})

    nodes = json.loads(draw(answered, format="json"))["nodes"]

    assert [node["name"] for node in nodes] == ["b", "a"]


def test_steps_that_run_always_stand_to_the_right_of_all_others() -> None:
    root = ET.fromstring(draw(ANSWERED, format="svg"))

    places = {
        group.findtext(f"{SVG}title", "").split("\n")[0]: float(rect.get("x", "0"))
        for group in root
        if (rect := group.find(f"{SVG}rect")) is not None and group.find(f"{SVG}path") is None
    }
    others = [place for name, place in places.items() if name not in ("z", "z2")]
    assert len(places) == 8
    assert max(others) < places["z"] < places["z2"]


def test_a_step_that_only_what_runs_always_reads_stays_at_the_left() -> None:
    steps = {"a": {"call": "x.a"}, "z": {"call": "x.z", "always": True}}
    late = definition(**steps, y={"call": "x.y", "always": True, "after": ["a", "z"]})

    assert "<svg" in draw(late, format="svg")


def test_svg_has_title_description_and_words_beside_colours() -> None:
    drawn = draw(CONDITIONAL, {"a": "failed", "b": "skipped"}, "svg")

    root = ET.fromstring(drawn)
    title, description = root.findtext(f"{SVG}title"), root.findtext(f"{SVG}desc")
    assert title == "report version 1"
    assert description is not None
    assert "b (skipped) after a if params.b != null" in description
    assert {"✗ failed", "» skipped"} <= set(texts(drawn))
    assert LOOKS["failed"].fill in drawn


def test_svg_stacks_fan_outs_and_dashes_conditional_edges() -> None:
    root = ET.fromstring(draw(CONDITIONAL, format="svg"))

    groups = {group.findtext(f"{SVG}title", "").split("\n")[0]: group for group in root}
    fan_out, edge = groups["d"], groups["a to b if params.b != null"]
    assert len(fan_out.findall(f"{SVG}rect")) == 4  # two sheets behind, two borders
    assert edge.find(f"{SVG}path[@stroke-dasharray]") is not None
    assert groups["b to c"].find(f"{SVG}path[@stroke-dasharray]") is None


@pytest.mark.parametrize("state", sorted(LOOKS))
def test_every_state_has_a_sign_of_its_own(state: str) -> None:
    marks = [look.mark for look in LOOKS.values()]

    assert marks.count(LOOKS[state].mark) == 1
    assert LOOKS[state].mark in draw(definition(), {"only": state}, "svg")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_in_svg(text: str) -> None:
    drawn = to_svg(hostile(text))

    root = ET.fromstring(drawn)
    tags = {each.tag.removeprefix(SVG) for each in root.iter()}
    assert tags <= {"svg", "title", "desc", "g", "rect", "path", "text"}
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200f\x00\x1b]", drawn)
    assert not [each for each in texts(drawn) if "\n" in each]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_inside_its_label_in_mermaid(text: str) -> None:
    drawn = to_mermaid(hostile(text))

    plain = r"[\w .,:/=+()'\u2010-\u2fff-]|#\d+;|<br/>"
    line = re.compile(
        rf' {{4}}(acc(Title|Descr): [\w .,:()=!-]*|n\d\[+"({plain})*"\]+'
        rf'|n\d -\.->\|"({plain})*"\| n\d|linkStyle 0 stroke:#dc2626)'
    )
    for each in drawn.splitlines()[1:]:
        assert line.fullmatch(each), each


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_inside_its_string_in_dot(text: str) -> None:
    drawn = to_dot(hostile(text))

    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "S", drawn)
    assert re.fullmatch(r"[\w\s\[\]{}=,;>-]*", outside), outside


@pytest.mark.parametrize("text", HOSTILE)
def test_json_of_hostile_text_can_be_read(text: str) -> None:
    text = text.replace("\ud800", "")

    drawn = json.loads(to_json(hostile(text)))

    assert [node["target"] for node in drawn["nodes"]] == [text, text]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("${{ a }}", "a"),
        (" ${{a}} ", "a"),
        ("${{ a }} and ${{ b }}", "${{ a }} and ${{ b }}"),
        ("plain", "plain"),
    ],
)
def test_an_expression_is_shown_without_its_braces(expression: str, expected: str) -> None:
    assert bare(expression) == expected


@given(st.text(max_size=200), st.integers(4, 40))
def test_wrapped_text_never_exceeds_its_columns(text: str, wide: int) -> None:
    lines = wrapped(text, wide)

    assert len(lines) <= 3
    assert all(columns(line) <= wide for line in lines)


@given(st.text("ab ", max_size=60))
def test_wrapping_loses_no_letter_that_fits(text: str) -> None:
    kept = "".join("".join(wrapped(text, 24)).split())

    assert kept == "".join(text.split()) or kept.endswith("…")


def test_a_label_is_as_wide_as_its_letters() -> None:
    assert [columns(text) for text in ("abc", "漢字", "e\u0301")] == [3, 4, 1]


@st.composite
def graphs(pick: st.DrawFn) -> tuple[list[Size], list[Link]]:
    count = pick(st.integers(1, 25))
    sides = st.sampled_from([30.0, 70.0, 200.0])
    nodes = [Size(pick(sides), pick(sides)) for _ in range(count)]
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    wanted = pick(st.sets(pairs.filter(lambda pair: pair[0] < pair[1]), max_size=40))
    rooms = st.sampled_from([None, Size(120.0, 40.0)])
    return nodes, [Link(*pair, pick(rooms)) for pair in sorted(wanted)] if count > 1 else []


def overlap(one: Box, other: Box) -> bool:
    """Tell whether two boxes leave less room than a line between needs."""
    apart_x = one.right + 30 <= other.x or other.right + 30 <= one.x
    apart_y = one.y + one.height + 10 <= other.y or other.y + other.height + 10 <= one.y
    return not (apart_x or apart_y)


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_nothing_in_a_layout_overlaps_and_all_lines_lead_to_the_right(
    graph: tuple[list[Size], list[Link]],
) -> None:
    nodes, links = graph

    layout = lay_out(nodes, links)

    boxes = [*layout.nodes, *itertools.chain.from_iterable(layout.bends)]
    for one, other in itertools.combinations(boxes, 2):
        assert not overlap(one, other)
    for link, bends, label in zip(links, layout.bends, layout.labels, strict=True):
        stops = [layout.nodes[link.source], *bends, layout.nodes[link.target]]
        assert all(left.right < right.x for left, right in itertools.pairwise(stops))
        assert (label is None) == (link.label is None)
    for box in boxes:
        assert box.x >= -1e-6
        assert box.y >= -1e-6
        assert box.right <= layout.size.width + 1e-6
        assert box.y + box.height <= layout.size.height + 1e-6


def test_a_layout_draws_a_tree_without_crossings() -> None:
    links = [Link(0, 2), Link(0, 1), Link(1, 6), Link(2, 3), Link(2, 5), Link(1, 4)]

    layout = lay_out([Size(50, 20)] * 7, links)

    ys = [box.middle for box in layout.nodes]
    upper, lower = sorted((1, 2), key=ys.__getitem__)
    leaves = {1: (4, 6), 2: (3, 5)}
    assert max(ys[leaf] for leaf in leaves[upper]) < min(ys[leaf] for leaf in leaves[lower])


def test_unlinked_steps_stand_as_close_as_linked_ones() -> None:
    layout = lay_out([Size(50, 20)] * 6, [Link(0, 1), Link(0, 2), Link(0, 3)])

    assert layout.size.height < 4 * 45


def test_a_chain_is_a_straight_line() -> None:
    layout = lay_out([Size(50, 20)] * 9, [Link(each, each + 1) for each in range(8)])

    assert {round(box.middle, 3) for box in layout.nodes} == {10.0}


def test_texts_fit_their_boxes() -> None:
    long = definition(**{"a_very_long_name_" * 5: {"call": "x" * 90}, "b": {"call": "y"}})

    root = ET.fromstring(draw(long, format="svg"))

    for group in root.findall(f"{SVG}g"):
        room = float(group.find(f"{SVG}rect").get("width", "0"))  # type: ignore[union-attr]
        for text in group.findall(f"{SVG}text"):
            assert columns(text.text or "") * 13 * 0.602 < room


def test_in_a_dense_graph_the_longest_links_are_led_straight() -> None:
    ends = [(max(0, node - back), node) for node in range(1, 400) for back in range(1, 40)]
    links = [Link(source, target) for source, target in ends]
    links[-1] = Link(0, 399, Size(20.0, 10.0))

    drawn = lay_out([Size(100.0, 40.0)] * 400, links)

    count = [len(bends) for bends in drawn.bends]
    led = [bends for bends in count[:-1] if bends]
    assert BENDS_MAX / 2 < sum(led) <= BENDS_MAX
    assert max(led) < 10
    assert count[-1] == 398
    assert drawn.labels[-1] is not None
