// What is drawn of a graph: nodes by state, edges with their conditions. Far away one path stands
// for all boxes of a state, so that thousands of steps are a few elements.

import { Fragment, html } from "../../vendor/preact.js";
import { MARKS, STEP_ENDED, clean, stateClass, words } from "../ui.js";
import { KINDS, itemsProgress } from "./data.js";

const NODE_PADDING = 10;
const CHAR = 7.6; // width of a character of a name, in units of the drawing
const SMALL_CHAR = 6.6;
const LARGER = 1.28; // texts, where there are fewer of them
const LABEL_WIDTH = 118; // of the condition at an edge
const STACK = 4;
const NODES_MAX = 600; // with more in sight each is only a box

const cut = (text, width, char = CHAR) => clean(text, Math.max(4, Math.floor(width / char)));

/** A line through points: level at its ends, curved between. */
function pathOf(points) {
  const [[x, y], ...rest] = points;
  let text = `M${x.toFixed(1)},${y.toFixed(1)}`;
  let [before, height] = [x, y];
  for (const [right, middle] of rest) {
    const half = ((before + right) / 2).toFixed(1);
    text += Math.abs(middle - height) < 0.1 ? `H${right.toFixed(1)}` : `C${half},${height.toFixed(1)} ${half},${middle.toFixed(1)} ${right.toFixed(1)},${middle.toFixed(1)}`;
    [before, height] = [right, middle];
  }
  return text;
}

const arrowAt = ([x, y]) => `M${x.toFixed(1)},${y.toFixed(1)}l-8,-4v8z`;

/** The graph with what is asked of it often: places, neighbours, paths and boxes of edges. */
export function prepared(graph) {
  const nodes = graph.nodes.map((node) => ({ ...node, after: [], before: [] }));
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const edges = graph.edges.map((edge) => {
    const [from, to] = [byName.get(edge.source), byName.get(edge.target)];
    from.after.push(to.name);
    to.before.push(from.name);
    const points = edge.points.map((point) => [point.x, point.y]);
    const ys = points.map((point) => point[1]);
    return { ...edge, points, path: pathOf(points), left: points[0][0], right: points[points.length - 1][0], top: Math.min(...ys), bottom: Math.max(...ys), arrow: arrowAt(points[points.length - 1]) };
  });
  const width = graph.width || Math.max(0, ...nodes.map((node) => node.x + node.w));
  const height = graph.height || Math.max(0, ...nodes.map((node) => node.y + node.h));
  return { nodes, edges, byName, width, height };
}

const isIn = (box, part) => box.x + box.w >= part.left && box.x <= part.right && box.y + box.h >= part.top && box.y - 2 * STACK <= part.bottom;
const crosses = (edge, part) => edge.right >= part.left && edge.left <= part.right && edge.bottom >= part.top && edge.top <= part.bottom;

/** The state of a step with how often it was tried, or how many of its items have ended. */
function stateText(state, step) {
  const items = step && step.items ? itemsProgress(step.items, STEP_ENDED) : null;
  if (items) {
    return `${items.done.toLocaleString("en")}/${items.total.toLocaleString("en")} ${words(state)}`;
  }
  return step && step.attempts > 1 ? `${words(state)} ×${step.attempts}` : words(state);
}

/** What a step is and what it calls, under which condition, and what undoes it. */
function kindText(node) {
  return [
    [KINDS[node.kind] || node.kind, node.target].filter(Boolean).join(" "), node.when && `when ${node.when}`,
    node.join && node.join !== "all_ok" && `join ${node.join}`, node.compensate && `↶ ${node.compensate}${node.undone ? `: ${node.undone}` : ""}`,
  ].filter(Boolean).join(" · ");
}

/** What is known of a step, for those who do not see the drawing; it begins as the drawn text. */
function spoken(node, step) {
  const after = node.before.slice(0, 6).join(", ");
  return clean([
    `${node.name}: ${stateText(step ? step.state : "pending", step)}`, kindText(node), node.fan_out && "fan-out",
    after && `after ${after}${node.before.length > 6 ? ` and ${node.before.length - 6} more` : ""}`,
  ].filter(Boolean).join(", "), 300);
}

function bars(node, step) {
  const width = node.w - 2 * NODE_PADDING;
  const y = node.h - 10;
  const track = html`<rect class="track" x=${NODE_PADDING} y=${y} width=${width} height="5" rx="2.5" />`;
  if (step.items) {
    const { total } = itemsProgress(step.items, STEP_ENDED);
    let x = NODE_PADDING;
    return html`${track}${total > 0 && Object.entries(step.items).filter(([state, count]) => count && (STEP_ENDED.has(state) || state === "running")).map(([state, count]) => {
      const wide = (width * count) / total;
      const part = html`<rect key=${state} class=${`fill ${stateClass(state)}`} x=${x} y=${y} width=${wide} height="5" />`;
      x += wide;
      return part;
    })}`;
  }
  const done = shareOf(node, step);
  return done !== null && html`${track}<rect class="fill" x=${NODE_PADDING} y=${y} width=${width * Math.min(1, done)} height="5" rx="2.5" />`;
}

/** How far a step is, from 0 to 1, null if nobody can say: of a sub-job, or as it says itself. */
function shareOf(node, step) {
  const said = STEP_ENDED.has(step.state) ? null : node.kind === "job" && !node.fan_out ? node.progress : step.progress;
  return said ?? null;
}

function Node({ node, step, href, selected, focused, near }) {
  const state = step ? step.state : "pending";
  const inner = node.w - 2 * NODE_PADDING;
  const radius = { set: 14, wait: 20, sleep: 20 }[node.kind] || 6;
  const hasBar = step && (step.items || shareOf(node, step) !== null);
  const size = near ? 1 : LARGER;
  const drawn = [cut(node.name, inner, CHAR * size), cut(stateText(state, step), inner - 16, SMALL_CHAR * size), near && !hasBar ? cut(kindText(node), inner, SMALL_CHAR) : ""];
  const said = spoken(node, step);
  const isCut = !drawn.every((text) => said.includes(text));
  const label = isCut ? [said, ...drawn].join(" ") : said;
  return html`<a href=${href} class=${`node ${stateClass(state)}${selected ? " selected" : ""}${near ? "" : " larger"}`} data-step=${node.name} tabindex=${focused ? 0 : -1} aria-label=${label} aria-current=${selected ? "true" : undefined} transform=${`translate(${node.x} ${node.y})`}>
    ${near && isCut && html`<title>${said}</title>`}
    ${node.fan_out && [2, 1].map((sheet) => html`<rect key=${sheet} class="box" x=${sheet * STACK} y=${-sheet * STACK} width=${node.w} height=${node.h} rx="6" />`)}
    <rect class="box main" width=${node.w} height=${node.h} rx=${radius} />
    ${node.kind === "job" && html`<rect class="inner" x="3" y="3" width=${node.w - 6} height=${node.h - 6} rx="4" />`}
    <text class="name" x=${NODE_PADDING} y=${near ? 18 : 22}>${`${drawn[0]} `}</text>
    <text x=${NODE_PADDING} y=${near ? 34 : 42} class="state-text">${`${MARKS[state] || "·"} ${drawn[1]} `}</text>
    ${near && !hasBar && html`<text x=${NODE_PADDING} y="49" class="small-text">${drawn[2]}</text>`}
    ${step && bars(node, step)}
  </a>`;
}

function Edge({ edge, lit, near }) {
  const label = edge.catch ? `on ${edge.catch}` : edge.condition;
  return html`<g class=${`edge${edge.catch ? " catch" : ""}${label ? " with-condition" : ""}${lit ? " lit" : ""}`}>
    ${label && html`<title>${clean(`${edge.source} to ${edge.target}: ${label}`, 300)}</title>`}
    <path d=${edge.path} /><path class="arrow" d=${edge.arrow} />
    ${near && label && edge.label && html`<text class="label" x=${edge.label.x} y=${edge.label.y + 4} text-anchor="middle">${cut(label, LABEL_WIDTH, SMALL_CHAR)}</text>`}
  </g>`;
}

/** All boxes of a state as one path. */
function FarNodes({ nodes, steps, selected }) {
  const boxes = new Map();
  for (const node of nodes) {
    const state = steps[node.name] ? steps[node.name].state : "pending";
    boxes.set(state, `${boxes.get(state) || ""}M${node.x.toFixed(0)},${node.y.toFixed(0)}h${node.w}v${node.h}h${-node.w}z`);
  }
  const marked = nodes.find((node) => node.name === selected);
  return html`${[...boxes].map(([state, path]) => html`<path key=${state} class=${`far ${stateClass(state)}`} d=${path}><title>${words(state)}</title></path>`)}
    ${marked && html`<rect class="far-selected" x=${marked.x - 20} y=${marked.y - 20} width=${marked.w + 40} height=${marked.h + 40} />`}`;
}

/** Edges without labels: two paths for all of them. */
const FarEdges = ({ edges, arrows }) => html`<path class="far-edges" d=${edges.map((edge) => edge.path).join("")} />
  ${arrows && html`<path class="far-arrows" d=${edges.map((edge) => edge.arrow).join("")} />`}`;

/** The part of the graph that is in sight. */
export function Drawing({ graph, steps, part, selected, focused, hrefOf }) {
  const nodes = graph.nodes.filter((node) => isIn(node, part));
  const edges = graph.edges.filter((edge) => crosses(edge, part));
  if (part.detail === "far" || nodes.length > NODES_MAX) {
    return html`<${FarEdges} edges=${edges} /><${FarNodes} nodes=${nodes} steps=${steps} selected=${selected} />`;
  }
  const near = part.detail === "near";
  // The one that may have the focus is always there, and always the last: moved, it would lose it.
  const shown = [...nodes.filter((node) => node.name !== focused), graph.byName.get(focused)].filter(Boolean);
  const drawn = near ? edges : edges.filter((edge) => edge.source === selected || edge.target === selected || edge.catch || edge.condition);
  return html`<${Fragment}>${!near && html`<${FarEdges} edges=${edges} arrows />`}
    ${drawn.map((edge) => html`<${Edge} key=${`${edge.source}>${edge.target}`} edge=${edge} near=${near} lit=${selected !== null && (edge.source === selected || edge.target === selected)} />`)}
    ${shown.map((node) => html`<${Node} key=${node.name} node=${node} step=${steps[node.name]} href=${hrefOf(node.name)} selected=${node.name === selected} focused=${node.name === focused} near=${near} />`)}</${Fragment}>`;
}
