// The chart over time: a row a step, a bar an attempt. Only the rows in sight are drawn.

import { html, useEffect, useRef, useState } from "../../vendor/preact.js";
import { jobLink } from "../router.js";
import { Empty, JOB_ENDED, MARKS, Said, State, Table, Time, clean, duration, useNow } from "../ui.js";
import { asOf, barOf, rowsOf, useAttempts, ITEMS_MAX } from "./attempts.js";
import { useWide } from "./data.js";

const ROW = 28; // pixels
const AXIS = 26;
const BORDER = 12; // rows drawn above and below those in sight
const ZOOM_MAX = 512;
const WIDTH_MAX = 200_000; // pixels of a drawing
const TICK = 84; // pixels between two marks, at least
const BAR_MIN = 2;
const TABLE_ROWS = 100;
const STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800, 2592000];

function tickText(seconds) {
  return seconds === 0 ? "0" : seconds < 60 ? `${Number(seconds.toFixed(3))} s` : duration(seconds).replace(/ 0 (s|min|h)$/, "");
}

function ticks(span, width, first, last) {
  const wanted = (span / 1000) * (TICK / width);
  const step = STEPS.find((each) => each >= wanted) || STEPS[STEPS.length - 1];
  const perSecond = (1000 * width) / span;
  const found = [];
  for (let index = Math.max(0, Math.floor(first / perSecond / step)); index * step * perSecond <= last && index * step * 1000 <= span; index += 1) {
    found.push({ x: index * step * perSecond, text: tickText(index * step) });
  }
  return found;
}

function barTitle(bar) {
  const { attempt, ready, from, to, state } = bar;
  const number = attempt.attempt ? `attempt ${attempt.attempt}` : attempt.kind.replace("_", "-");
  return clean(`${attempt.path}, ${number}: ${state.replaceAll("_", " ")}${from > ready ? `, waited ${duration((from - ready) / 1000)}` : ""}${to > from ? `, ran ${duration((to - from) / 1000)}` : ""}${attempt.worker ? `, worker ${attempt.worker}` : ""}${attempt.error_code ? `, ${attempt.error_code}: ${attempt.error_message}` : ""}`, 400);
}

function Bars({ row, y, scale, now, sight }) {
  const place = (at) => Math.max(0, scale(at));
  return row.attempts.map((attempt) => {
    const bar = barOf(attempt, now);
    const [ready, from, to] = [place(bar.ready), place(bar.from), place(bar.to)];
    if (Math.max(to, from) < sight[0] || ready > sight[1]) {
      return null;
    }
    const width = Math.max(BAR_MIN, to - from);
    const mark = width > 16 ? MARKS[bar.state] : "";
    return html`<g key=${`${attempt.generation} ${attempt.attempt} ${attempt.begun_at}`} class=${`bar s-${bar.state}${attempt.kind === "attempt" ? "" : " wait"}`}><title>${barTitle(bar)}</title>
      ${from > ready && html`<rect class="waited" x=${ready} y=${y + 9} width=${from - ready} height=${ROW - 18} />`}
      <rect class="ran" x=${from} y=${y + 5} width=${width} height=${ROW - 10} rx="3" />
      ${mark && html`<text x=${Math.max(from, Math.min(sight[0], to - 16)) + 5} y=${y + 18}>${mark}</text>`}</g>`;
  });
}

function RowName({ row, job, here, top, fold, rest, more }) {
  const style = { top: `${top}px`, "--level": row.level };
  if (row.rest) {
    return html`<div class="gantt-name" style=${style}><button class="small" onClick=${() => rest(row.rest)}>${row.left.toLocaleString("en")} more items</button></div>`;
  }
  if (row.moreOf) {
    return html`<div class="gantt-name" style=${style}><button class="small" onClick=${() => more(row.moreOf)}>Load more than ${row.shown.toLocaleString("en")} attempts</button></div>`;
  }
  if (row.note) {
    return html`<div class="gantt-name soft" style=${style}>${clean(row.note, 80)}</div>`;
  }
  const isHere = row.job === job.job;
  return html`<div class="gantt-name" style=${style}>
    ${row.foldable ? html`<button class="fold" aria-expanded=${row.unfolded} aria-label=${`${row.unfolded ? "Fold" : "Unfold"} ${clean(row.path, 60)}`} onClick=${() => fold(row)}>${row.unfolded ? "▾" : "▸"}</button>` : html`<span class="fold"></span>`}
    <a href=${isHere ? here({ step: row.path }) : jobLink(row.job, row.path)} data-step=${isHere ? row.path : undefined} title=${clean(row.path, 200)}>${clean(row.path, 60)}</a>${row.items > 0 && html`<span class="soft"> ×${row.items.toLocaleString("en")}</span>`}</div>`;
}

function Chart({ job, rows, zoom, here, now, isPast, onZoom, fold, rest, more }) {
  const frame = useRef(null);
  const wide = useWide(641);
  const [sight, setSight] = useState({ top: 0, left: 0, width: 900, height: 500 });
  const names = wide ? 230 : 128;
  const begin = Date.parse(job.submitted_at);
  const end = Math.max(JOB_ENDED.has(job.state) ? Date.parse(job.ended_at) : Date.now(), begin + 1);
  const span = end - begin;
  const room = Math.max(120, sight.width - names - 14);
  const width = Math.min(WIDTH_MAX, room * zoom);
  const scale = (at) => ((at - begin) / span) * width;
  const look = () => {
    const box = frame.current;
    const next = { top: Math.floor(box.scrollTop / (4 * ROW)) * 4 * ROW, left: Math.floor(box.scrollLeft / 200) * 200, width: box.clientWidth, height: box.clientHeight };
    setSight((old) => (JSON.stringify(old) === JSON.stringify(next) ? old : next));
  };
  useEffect(() => {
    look();
    const observer = new ResizeObserver(look);
    observer.observe(frame.current);
    return () => observer.disconnect();
  }, []);
  const before = useRef(zoom);
  useEffect(() => { // the middle of what is in sight stays there
    const box = frame.current;
    const middle = box.scrollLeft + room / 2;
    box.scrollLeft = (middle * zoom) / before.current - room / 2;
    before.current = zoom;
    look();
  }, [zoom]);
  useEffect(() => {
    const wheel = (event) => {
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        onZoom(event.deltaY < 0 ? 2 : 0.5);
      }
    };
    const box = frame.current;
    box.addEventListener("wheel", wheel, { passive: false });
    return () => box.removeEventListener("wheel", wheel);
  }, []);
  const first = Math.max(0, Math.floor(sight.top / ROW) - BORDER);
  const last = Math.min(rows.length, Math.ceil((sight.top + sight.height) / ROW) + BORDER);
  const shown = rows.slice(first, last).map((row, index) => ({ row, top: (first + index) * ROW }));
  const seen = [sight.left - 300, sight.left + sight.width + 500];
  const height = rows.length * ROW;
  const marks = ticks(span, width, seen[0], seen[1]);
  const nowAt = JOB_ENDED.has(job.state) && !isPast ? null : scale(now);
  return html`<div class="gantt" ref=${frame} onScroll=${look} tabindex="0" role="group" aria-label="Chart over time; the attempts are in the table below, too">
    <div class="gantt-in" style=${{ width: `${names + width + 12}px`, height: `${AXIS + height}px` }}>
      <div class="gantt-axis" aria-hidden="true" style=${{ height: `${AXIS}px` }}><span class="gantt-corner" style=${{ width: `${names}px` }}></span>
        <svg width=${width + 12} height=${AXIS}>${marks.map((tick) => html`<text key=${tick.x} x=${tick.x + 3} y="17">${tick.text}</text>`)}</svg></div>
      <div class="gantt-body">
        <div class="gantt-names" style=${{ width: `${names}px`, height: `${height}px` }}>${shown.map(({ row, top }) => html`<${RowName} key=${row.key} row=${row} job=${job} top=${top} here=${here} fold=${fold} rest=${rest} more=${more} />`)}</div>
        <svg class="gantt-bars" width=${width + 12} height=${height} role="img" aria-label="Bars of the attempts">
          ${marks.map((tick) => html`<line key=${tick.x} class="tick" x1=${tick.x} x2=${tick.x} y1="0" y2=${height} />`)}
          ${shown.map(({ row, top }) => html`<line key=${`l${row.key}`} class="line" x1="0" x2=${width + 12} y1=${top + ROW - 0.5} y2=${top + ROW - 0.5} />`)}
          ${shown.filter(({ row }) => row.attempts).map(({ row, top }) => html`<${Bars} key=${row.key} row=${row} y=${top} scale=${scale} now=${now} sight=${seen} />`)}
          ${nowAt !== null && html`<line class="now" x1=${nowAt} x2=${nowAt} y1="0" y2=${height} />`}
        </svg></div></div></div>`;
}

const COLUMNS = [
  { name: "Step", cell: (each) => html`<a href=${jobLink(each.job, each.path)}><${Said} text=${each.path} most=${60} /></a>` },
  { name: "Attempt", number: true, cell: (each) => each.attempt || each.kind.replace("_", "-") },
  { name: "Outcome", cell: (each) => html`<${State} state=${barOf(each, 0).state} />` },
  { name: "Began", cell: (each) => html`<${Time} at=${each.started_at || each.begun_at} />` },
  { name: "Waited", number: true, cell: (each) => duration(each.seconds_waited) },
  { name: "Ran", number: true, cell: (each) => duration(each.seconds_ran) },
  { name: "Worker", cell: (each) => each.worker && html`<${Said} text=${each.worker} most=${40} />`, wide: true },
];

function AsTable({ attempts }) {
  const [open, setOpen] = useState(false);
  const [from, setFrom] = useState(0);
  return html`<details class="as-table" onToggle=${(event) => setOpen(event.target.open)}><summary>The same as a table (${attempts.length.toLocaleString("en")} attempts and waits)</summary>
    ${open && html`<${Table} caption="Attempts and waits" columns=${COLUMNS} rows=${attempts.slice(from, from + TABLE_ROWS)} keyOf=${(each) => `${each.path} ${each.generation} ${each.attempt} ${each.begun_at}`} />
      <div class="pager">${from > 0 && html`<button class="small" onClick=${() => setFrom(from - TABLE_ROWS)}>Earlier</button>`}${from + TABLE_ROWS < attempts.length && html`<button class="small" onClick=${() => setFrom(from + TABLE_ROWS)}>Later</button>`}</div>`}</details>`;
}

export function TimelineTab({ job, shown, at, here }) {
  const present = useNow(JOB_ENDED.has(job.state) ? 60_000 : 1000);
  const now = at === null ? present : Date.parse(shown.at);
  const [open, setOpen] = useState({}); // key of a row -> the job below it, or true
  const [counts, setCounts] = useState({});
  const [zoom, setZoom] = useState(1);
  const jobs = [...new Set([job.job, ...Object.values(open).filter((each) => typeof each === "string")])];
  const { all: newest, more } = useAttempts(job.root, jobs);
  const all = at === null ? newest : asOf(newest, shown.at);
  const loaded = all[job.job];
  const rows = rowsOf({ job: job.job, names: Object.keys(job.steps), all, open, counts });
  const fold = (row) => setOpen((old) => ({ ...old, [row.key]: row.unfolded ? false : row.child || true }));
  const rest = (key) => setCounts((old) => ({ ...old, [key]: (old[key] || ITEMS_MAX) + ITEMS_MAX }));
  const changeZoom = (factor) => setZoom((old) => Math.min(ZOOM_MAX, Math.max(1, old * factor)));
  const keys = (event) => {
    const factor = { "+": 2, "=": 2, "-": 0.5 }[event.key];
    if (factor || event.key === "0") {
      setZoom((old) => (factor ? Math.min(ZOOM_MAX, Math.max(1, old * factor)) : 1));
    }
  };
  const side = html`<span class="legend-bars soft"><span class="sample waited"></span>waiting <span class="sample ran"></span>running</span>
    <span class="graph-tools" role="group" aria-label="Zoom"><button class="small" onClick=${() => changeZoom(2)} aria-label="Zoom in">+</button><button class="small" onClick=${() => changeZoom(0.5)} aria-label="Zoom out">−</button><button class="small" onClick=${() => setZoom(1)}>Fit</button></span>`;
  return html`<section class="card" aria-label="Timeline" onKeyDown=${keys}>
    <header><h2>Timeline</h2><span class="side">${side}</span></header>
    ${loaded && !loaded.attempts.length && !loaded.error ? html`<${Empty}>${at === null ? "No step has begun yet." : "No step had begun by then."}</${Empty}>` : html`<${Chart} job=${job} rows=${rows} zoom=${zoom} here=${here} now=${now} isPast=${at !== null} onZoom=${changeZoom} fold=${fold} rest=${rest} more=${more} />`}
    ${loaded && html`<${AsTable} attempts=${loaded.attempts} />`}
  </section>`;
}

