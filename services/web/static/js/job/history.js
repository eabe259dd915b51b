// The events of the job, in order, with who or what caused each.

import { html, useEffect, useRef, useState } from "../../vendor/preact.js";
import { get } from "../api.js";
import { concerns, useChanges } from "../live.js";
import { jobLink } from "../router.js";
import { Card, Empty, Fault, Json, Said, Time } from "../ui.js";
import { of } from "./data.js";
import { causeInWords, inWords } from "./words.js";

const PAGE = 100;
const ROWS_MAX = 2000; // a page that is open all day keeps no more

/** Events after a position, page by page; past the end they follow as they come. */
function useHistory(job, tree, from) {
  const [state, setState] = useState({ items: [], next: null, begun: false, cut: 0, error: null });
  const latest = useRef(state);
  const running = useRef(false);
  const wanted = useRef(false);
  const set = (value) => { latest.current = value; setState(value); };
  const load = () => {
    if (running.current) {
      wanted.current = true;
      return;
    }
    running.current = true;
    const { items } = latest.current;
    const after = items.length ? items[items.length - 1].position : from;
    get(of(job.job, ["history"], { tree: tree ? "true" : "", after, limit: PAGE })).then((page) => {
      const all = [...latest.current.items, ...page.items];
      const cut = Math.max(0, all.length - ROWS_MAX);
      set({ items: cut ? all.slice(cut) : all, next: page.next, begun: true, cut: latest.current.cut + cut, error: null });
    }, (error) => set({ ...latest.current, begun: true, error })).finally(() => {
      running.current = false;
      if (wanted.current) {
        wanted.current = false;
        follow();
      }
    });
  };
  const follow = () => !latest.current.next && load(); // whoever has not read up to the end is not led on
  useEffect(load, []);
  useChanges((change) => (change.reset || concerns(job.root)(change)) && latest.current.begun && follow());
  return { ...state, more: load };
}

function Row({ job, event, paths, at, here }) {
  const [open, setOpen] = useState(false);
  const isAt = at !== null && String(event.position) === at;
  const name = `${event.path || "the job"}, position ${event.position}`;
  return html`<tr role="row" class=${[isAt && "is-at", at !== null && event.position > Number(at) && "later"].filter(Boolean).join(" ")}>
      <td role="cell" class="number" data-name="Position"><a href=${here({ at: String(event.position) })} title="the job as it was then" aria-label=${`The job as it was at position ${event.position}`}>${event.position.toLocaleString("en")}</a></td>
      <td role="cell"><${Time} at=${event.at} /></td>
      <td role="cell" class="what"><div>${event.path && html`<a href=${jobLink(job.job, event.path)}><${Said} text=${event.path} most=${60} /></a> `}${inWords({ ...event, path: "" })}<div class="soft cause">${causeInWords(event, paths)}</div></div></td>
      <td role="cell" class="end"><button class="small" aria-expanded=${open} aria-label=${`Data of ${name}`} onClick=${() => setOpen(!open)}>${open ? "Hide" : "Data"}</button></td>
    </tr>
    ${open && html`<tr role="row" class="unfolded"><td role="cell" colspan="4"><code class="soft">${event.type}</code><${Json} value=${event.data} most=${20000} label=${`data of ${name}`} /></td></tr>`}`;
}

function Rows({ job, tree, from, at, here }) {
  const found = useHistory(job, tree, from);
  const paths = new Map(found.items.filter((event) => event.stream === "step").map((event) => [event.id, event.path]));
  if (found.begun && !found.items.length && !found.error) {
    return html`<${Empty}>No events after this one yet.</${Empty}>`;
  }
  return html`<${Fault} error=${found.error} />
    ${found.cut > 0 && html`<p class="soft pad">The first ${found.cut.toLocaleString("en")} rows are left out here: begin again to see them, or <code>warrener history ${job.job.slice(0, 8)}</code></p>`}
    ${!found.begun && html`<p class="empty">Reading the events…</p>`}
    ${found.items.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Events by position"><table class="history rows" role="table">
      <caption class="visually-hidden">Events in order of position</caption>
      <thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader" class="number">Position</th><th scope="col" role="columnheader">Time</th><th scope="col" role="columnheader">What, and why</th><th scope="col" role="columnheader"><span class="visually-hidden">Data</span></th></tr></thead>
      <tbody role="rowgroup">${found.items.map((event) => html`<${Row} key=${event.position} job=${job} event=${event} paths=${paths} at=${at} here=${here} />`)}</tbody>
    </table></div>`}
    <p class="pad">${found.next ? html`<button onClick=${found.more}>Show more events</button>` : found.begun && html`<span class="soft">${found.items.length.toLocaleString("en")} events: these are all so far; new ones follow here.</span>`}</p>`;
}

export function HistoryTab({ job, at, query, here }) {
  const tree = query.all === "true";
  const from = /^\d+$/.test(query.from || "") ? Number(query.from) : 0;
  const side = html`<span class="chips">
    <a class="chip" href=${here({ all: tree ? "" : "true" })} aria-current=${tree ? "true" : undefined}>sub-jobs, too</a>
    ${from > 0 && html`<a class="chip" href=${here({ from: "" })}>from the beginning</a>`}</span>`;
  return html`<${Card} title="Events" side=${side} bare><${Rows} key=${`${tree} ${from}`} job=${job} tree=${tree} from=${from} at=${at} here=${here} /></${Card}>`;
}
