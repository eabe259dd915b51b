// The jobs below this one, as a tree that is read and walked by keyboard, too.

import { html, useRef, useState } from "../../vendor/preact.js";
import { concerns } from "../live.js";
import { jobLink } from "../router.js";
import { Card, Empty, Fault, Progress, Said, State } from "../ui.js";
import { never, of, useSlowly } from "./data.js";

const JOBS_MAX = 500;
const CHILDREN = 50; // shown of one job, and so many more each time

function lines(node, open, counts, level = 1, place = [1, 1], above = null) {
  const unfolded = node.children.length > 0 && (open[node.job] ?? level < 2);
  const found = [{ node, level, place, above, unfolded }];
  if (unfolded) {
    const most = counts[node.job] || CHILDREN;
    const shown = node.children.slice(0, most);
    shown.forEach((child, index) => found.push(...lines(child, open, counts, level + 1, [index + 1, node.children.length], node.job)));
    const left = node.children.length - shown.length;
    if (left > 0 || node.more) {
      found.push({ rest: node, left, level: level + 1, above: node.job });
    }
  }
  return found;
}

const idOf = (line) => (line.rest ? `more-${line.rest.job}` : line.node.job);

export function TreeTab({ job, at }) {
  const url = at === null ? of(job.job, ["tree"], { jobs_max: JOBS_MAX }) : of(job.job, ["replay", "tree"], { at, jobs_max: JOBS_MAX });
  const found = useSlowly(url, at === null ? concerns(job.root) : never, 1500);
  const [open, setOpen] = useState({});
  const [counts, setCounts] = useState({});
  const [current, setCurrent] = useState(job.job);
  const place = useRef(null);
  if (found.error && !found.value) {
    return html`<${Fault} error=${found.error} />`;
  }
  if (!found.value) {
    return html`<p class="empty" aria-busy="true">Loading the tree…</p>`;
  }
  if (!found.value.children.length) {
    return html`<${Card} title="Sub-jobs"><${Empty}>This job ${at === null ? "has started no other jobs" : "had started no other jobs by then"}.</${Empty}></${Card}>`;
  }
  const rows = lines(found.value, open, counts);
  const focused = rows.some((line) => idOf(line) === current) ? current : job.job;
  const focus = (line) => {
    if (line) {
      setCurrent(idOf(line));
      requestAnimationFrame(() => {
        const found = place.current && place.current.querySelector(`[data-node="${CSS.escape(idOf(line))}"]`);
        if (found) {
          found.focus();
        }
      });
    }
  };
  const fold = (line, unfolded) => setOpen((old) => ({ ...old, [line.node.job]: unfolded }));
  const more = (line) => (line.left > 0 ? setCounts((old) => ({ ...old, [line.rest.job]: (old[line.rest.job] || CHILDREN) + CHILDREN })) : (location.hash = jobLink(line.rest.job, null, { tab: "tree" })));
  const keys = (event) => {
    const index = rows.findIndex((line) => idOf(line) === focused);
    const line = rows[index];
    const steps = { ArrowDown: rows[index + 1], ArrowUp: rows[index - 1], Home: rows[0], End: rows[rows.length - 1] };
    if (event.key in steps) {
      focus(steps[event.key]);
    } else if (event.key === "ArrowRight" && line.node && line.node.children.length) {
      if (line.unfolded) {
        focus(rows[index + 1]);
      } else {
        fold(line, true);
      }
    } else if (event.key === "ArrowLeft") {
      if (line.unfolded) {
        fold(line, false);
      } else {
        focus(rows.find((each) => each.node && each.node.job === line.above));
      }
    } else if (event.key === "Enter" || event.key === " ") {
      if (line.rest) {
        more(line);
      } else {
        location.hash = jobLink(line.node.job);
      }
    } else {
      return;
    }
    event.preventDefault();
  };
  return html`<${Card} title="Sub-jobs" side=${html`<span class="soft wide-only">arrow keys walk and unfold, Enter opens</span>`} bare>
    <div class="scroll" tabindex="-1"><div role="tree" aria-label="Jobs below this one" class="tree" ref=${place} onKeyDown=${keys}>${rows.map((line) => (line.rest
    ? html`<div key=${idOf(line)} role="treeitem" aria-level=${line.level} tabindex=${focused === idOf(line) ? 0 : -1} data-node=${idOf(line)} class="tree-row" style=${{ "--level": line.level }} onClick=${() => more(line)}><span class="fold"></span><span class="as-link">${line.left > 0 ? `Show more of ${line.rest.children.length.toLocaleString("en")}` : "There are more: open this job's own tree"}</span></div>`
    : html`<div key=${idOf(line)} role="treeitem" aria-level=${line.level} aria-posinset=${line.place[0]} aria-setsize=${line.place[1]} aria-expanded=${line.node.children.length ? line.unfolded : undefined} tabindex=${focused === idOf(line) ? 0 : -1} data-node=${idOf(line)} class=${line.node.superseded ? "tree-row old" : "tree-row"} style=${{ "--level": line.level }} onFocus=${() => setCurrent(line.node.job)}>
        <span class="fold" aria-hidden="true" onClick=${() => line.node.children.length && fold(line, !line.unfolded)}>${line.node.children.length ? (line.unfolded ? "▾" : "▸") : ""}</span>
        <a href=${jobLink(line.node.job)} tabindex="-1"><${Said} text=${line.level === 1 ? line.node.name : line.node.path.split("/").slice(-1)[0]} most=${60} /></a>
        ${line.level > 1 && html`<span class="soft"><${Said} text=${line.node.name} most=${40} /></span>`}
        <${State} state=${line.node.state} />${line.node.superseded && html`<span class="soft">of an earlier run</span>`}
        <${Progress} progress=${line.node.progress} />
        ${line.node.error && html`<span class="bad-text wide-only"><${Said} text=${line.node.error.message} most=${100} /></span>`}
      </div>`))}</div></div></${Card}>`;
}
