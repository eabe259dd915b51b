// The graph of a job, coloured by state; it can be walked along its edges by keyboard.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../../vendor/preact.js";
import { concerns } from "../live.js";
import { jobLink } from "../router.js";
import { Card, Empty, Fault, MARKS, State } from "../ui.js";
import { never, of, useSlowly } from "./data.js";
import { Drawing, prepared } from "./drawing.js";
import { useViewport } from "./viewport.js";

/** The node in a direction: along an edge, or beside it. */
function neighbour(graph, name, key) {
  const node = graph.byName.get(name);
  const nearest = (names) => names.map((each) => graph.byName.get(each)).sort((one, other) => Math.abs(one.y - node.y) - Math.abs(other.y - node.y))[0];
  if (key === "ArrowRight") {
    return nearest(node.after);
  }
  if (key === "ArrowLeft") {
    return nearest(node.before);
  }
  const side = graph.nodes.filter((each) => each !== node && each.x < node.x + node.w && each.x + each.w > node.x && (key === "ArrowDown" ? each.y > node.y : each.y < node.y));
  return side.sort((one, other) => Math.abs(one.y - node.y) - Math.abs(other.y - node.y))[0];
}

function Legend({ steps }) {
  const counts = {};
  for (const step of Object.values(steps)) {
    counts[step.state] = (counts[step.state] || 0) + 1;
  }
  return html`<span class="chips legend" aria-label="Steps by state">${Object.keys(MARKS).filter((state) => counts[state]).map((state) => html`<span key=${state} class="nowrap"><${State} state=${state} /> ${counts[state].toLocaleString("en")}</span>`)}</span>`;
}

const LARGE = 260; // nodes: a larger graph is first shown whole
const READABLE = 0.55; // a scale

/** Where one looks first: at what failed or is under way. */
function firstOf(graph, steps) {
  const found = ["failed", "waiting_user", "running", "retrying", "released", "waiting", "ready"].map((state) => graph.nodes.find((node) => steps[node.name] && steps[node.name].state === state));
  return found.find(Boolean) || graph.nodes[0];
}

function Canvas({ graph, steps, selected, hrefOf, title }) {
  const view = useViewport(graph.width, graph.height, { least: graph.nodes.length > LARGE ? 0 : READABLE, first: graph.byName.get(selected) || firstOf(graph, steps) });
  const [focused, setFocused] = useState(selected && graph.byName.has(selected) ? selected : graph.nodes[0].name);
  const owner = useRef(null); // the node that has the focus, or gets it once it is drawn
  const focus = (node) => {
    owner.current = node.name;
    setFocused(node.name);
    view.show(node);
    seize();
  };
  // Whatever is drawn anew may have been moved, and loses the focus then.
  const seize = () => {
    const found = owner.current && view.layer.current.querySelector(`[data-step="${CSS.escape(owner.current)}"]`);
    const now = document.activeElement;
    if (owner.current && !found && now === document.body) {
      view.frame.current.focus({ preventScroll: true }); // from afar nodes are only boxes
    } else if (found && now !== found && (now === document.body || view.frame.current.contains(now))) {
      found.focus({ preventScroll: true });
    }
  };
  const left = (event) => {
    if (event.relatedTarget && event.relatedTarget.closest("a.node") === null) {
      owner.current = null;
    }
  };
  useEffect(() => {
    const pressed = () => { owner.current = null; };
    document.addEventListener("pointerdown", pressed, true);
    return () => document.removeEventListener("pointerdown", pressed, true);
  }, []);
  useEffect(() => {
    if (selected && graph.byName.has(selected)) {
      setFocused(selected);
      view.show(graph.byName.get(selected), graph.nodes.length > LARGE ? 0.7 : 0);
    }
  }, [selected, graph]);
  useLayoutEffect(seize);
  const keys = (event) => {
    if (view.key(event)) {
      return;
    }
    const at = owner.current || (event.target.dataset && event.target.dataset.step); // keys may come faster than nodes are drawn
    const ends = { Home: graph.nodes[0], End: graph.nodes[graph.nodes.length - 1] };
    if (event.key.startsWith("Arrow") || event.key in ends) {
      const next = ends[event.key] || (at ? neighbour(graph, at, event.key) : graph.byName.get(focused));
      event.preventDefault();
      if (next) {
        focus(next);
      }
    } else if (event.key === "Enter" && !at) {
      focus(graph.byName.get(focused));
    }
  };
  const click = (event) => {
    if (!event.target.closest(".node")) {
      const at = view.at(event);
      const hit = graph.nodes.find((node) => at.x >= node.x - 20 && at.x <= node.x + node.w + 20 && at.y >= node.y - 20 && at.y <= node.y + node.h + 20);
      if (hit) {
        focus(hit);
      }
    }
  };
  const drawn = useMemo(() => view.part && html`<${Drawing} graph=${graph} steps=${steps} part=${view.part} selected=${selected} focused=${focused} hrefOf=${hrefOf} />`, [graph, steps, view.part, selected, focused, hrefOf]);
  return html`<div class="graph">
    <div class="graph-tools" role="group" aria-label="Zoom"><button class="small" onClick=${() => view.zoom(1.25)} aria-label="Zoom in">+</button><button class="small" onClick=${() => view.zoom(0.8)} aria-label="Zoom out">−</button><button class="small" onClick=${view.fit}>Fit</button></div>
    <svg ref=${view.frame} class="graph-frame" style=${{ height: `min(62vh, ${Math.max(280, Math.round(graph.height) + 90)}px)` }} role="group" tabindex="0" aria-label=${`${title}. Arrow keys walk along the edges, Enter opens a step, plus and minus zoom, 0 fits, shift with arrow keys moves.`} onKeyDown=${keys} onFocusOut=${left} onClick=${click}>
      <g ref=${view.layer}>${drawn}</g>
    </svg></div>`;
}

const shapeOf = (graph) => JSON.stringify([graph.width, graph.height, graph.nodes.map((node) => [node.name, node.x, node.y]), graph.edges.length]);

/** The graph that was prepared, kept while only states and progress change. */
function usePrepared(value) {
  const kept = useRef({ value: null, shape: "", graph: null });
  if (value && kept.current.value !== value) {
    const shape = shapeOf(value);
    if (shape !== kept.current.shape) {
      kept.current = { value, shape, graph: prepared(value) };
    } else {
      const progress = new Map(value.nodes.map((node) => [node.name, node.progress]));
      const nodes = kept.current.graph.nodes;
      const changed = nodes.some((node) => node.progress !== progress.get(node.name));
      nodes.forEach((node) => { node.progress = progress.get(node.name); });
      kept.current = { value, shape, graph: changed ? { ...kept.current.graph } : kept.current.graph };
    }
  }
  return value ? kept.current.graph : null;
}

export function GraphTab({ job, shown, step, at, here, large }) {
  const found = useSlowly(of(job.job, ["graph"]), concerns(job.root), large ? 5000 : 1500);
  const graph = usePrepared(found.value);
  const place = here({ step: "@" });
  const hrefOf = useMemo(() => (name) => place.replace("/%40", `/${encodeURIComponent(name)}`), [place]);
  const selected = step ? step.replace(/\[\d+\]$/, "") : null;
  if (!graph) {
    return found.error ? html`<${Fault} error=${found.error} />` : html`<p class="empty" aria-busy="true">Loading the graph…</p>`;
  }
  return html`<section class="card" aria-label="Graph">
    <header><${Legend} steps=${shown.steps} />${at && html`<span class="side soft">as it was</span>`}</header>
    ${graph.nodes.length ? html`<${Canvas} graph=${graph} steps=${shown.steps} selected=${selected} hrefOf=${hrefOf} title=${`Graph of ${graph.nodes.length} steps`} />` : html`<${Empty}>This job has no steps.</${Empty}>`}
  </section>`;
}

/** The graph of a sub-job inside the page of another. */
export function GraphCard({ id }) {
  const job = useSlowly(of(id), (change) => (change.roots || []).some((each) => each.jobs.includes(id)), 800);
  const found = useSlowly(of(id, ["graph"]), never);
  const graph = usePrepared(found.value);
  const hrefOf = useMemo(() => (name) => jobLink(id, name), [id]);
  const error = job.error || found.error;
  if (error) {
    return html`<${Fault} error=${error} />`;
  }
  return graph && job.value ? html`<${Card} title=${`Graph of ${job.value.name}`} bare><${Canvas} graph=${graph} steps=${job.value.steps} selected=${null} hrefOf=${hrefOf} title=${`Graph of ${graph.nodes.length} steps of the sub-job`} /></${Card}>` : html`<p class="soft">Loading…</p>`;
}
