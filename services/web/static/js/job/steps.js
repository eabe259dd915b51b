// All steps as a table, and the items of a fan-out page by page.

import { html, useState } from "../../vendor/preact.js";
import { concerns } from "../live.js";
import { jobLink } from "../router.js";
import { Ago, Empty, Fault, Progress, STEP_ENDED, Said, State, StateFilter, Table, clean, duration, secondsBetween, useNow } from "../ui.js";
import { KINDS, itemsProgress, of, useSlowly } from "./data.js";

const ROWS = 200;
const ITEMS = 50;

/** What there is to say about a step in one line: why it waits, or what went wrong. */
function Remark({ step }) {
  if (step.error) {
    return html`<span class="bad-text"><code>${clean(step.error.code, 40)}</code> <${Said} text=${step.error.message} most=${140} /></span>`;
  }
  if (step.waiting) {
    return html`<span class="soft"><${Said} text=${step.waiting.sentence} most=${160} /></span>`;
  }
  const said = step.note || step.reason;
  return said ? html`<span class="soft"><${Said} text=${said} most=${140} /></span>` : null;
}

/** How long a step ran, or runs, in its newest attempt. */
export function Took({ step, now }) {
  const from = step.started_at || step.released_at;
  if (!from) {
    return null;
  }
  return step.ended_at ? duration(Math.max(0, secondsBetween(from, step.ended_at))) : html`<${Ago} at=${from} now=${now} />`;
}

function columns(here, now) {
  return [
    { name: "Step", cell: (step) => html`<a href=${here({ step: step.path })}><${Said} text=${step.path} most=${80} /></a>` },
    { name: "State", cell: (step) => html`<${State} state=${step.state} />` },
    { name: "Kind", cell: (step) => KINDS[step.kind] || step.kind, wide: true },
    { name: "Attempts", number: true, cell: (step) => step.attempts || "" },
    { name: "Took", number: true, cell: (step) => html`<${Took} step=${step} now=${now} />` },
    { name: "What about it", cell: (step) => html`${step.items && html`<${Progress} progress=${itemsProgress(step.items, STEP_ENDED)} label=${`items of ${step.name} ended`} />`} <${Remark} step=${step} />` },
    { name: "Worker", cell: (step) => step.worker && html`<${Said} text=${step.worker} most=${40} />`, wide: true },
  ];
}

export function StepsTab({ shown, at, query, here }) {
  const present = useNow();
  const now = at ? Date.parse(shown.at) : present;
  const [most, setMost] = useState(ROWS);
  const [name, setName] = useState("");
  const all = Object.values(shown.steps);
  const counts = {};
  for (const step of all) {
    counts[step.state] = (counts[step.state] || 0) + 1;
  }
  const rows = all.filter((step) => (!query.state || step.state === query.state) && (!name || step.name.includes(name)));
  return html`<section class="card steps" aria-label="Steps">
    <header><h2>Steps</h2><${StateFilter} counts=${counts} state=${query.state} href=${(state) => here({ state })} label="Steps by state" />
      <span class="side"><input type="search" aria-label="Name of a step" placeholder="name" value=${name} onInput=${(event) => setName(event.target.value)} /></span></header>
    <${Table} caption="Steps of the job" columns=${columns(here, now)} rows=${rows.slice(0, most)} keyOf=${(step) => step.path} empty=${all.length ? "No step fits." : "This job has no steps."} />
    ${rows.length > most && html`<p class="pad"><button onClick=${() => setMost(most + ROWS)}>Show more of ${rows.length.toLocaleString("en")} steps</button></p>`}
  </section>`;
}

/** The items of a fan-out that began or ended, a page at a time. `step` is the fan-out. */
export function Items({ job, step, here }) {
  const [state, setState] = useState("");
  const [trail, setTrail] = useState([]); // where the pages before this one began
  const after = trail.length ? trail[trail.length - 1] : null;
  const page = useSlowly(of(job.job, ["items", step.name], { state, after, limit: ITEMS }), concerns(job.root), 1000);
  const now = useNow();
  const choose = (event, wanted) => {
    event.preventDefault();
    setTrail([]);
    setState(wanted);
  };
  const rows = page.value ? page.value.items : [];
  const shown = [
    { name: "Item", cell: (item) => html`<a href=${here({ step: item.path })}><${Said} text=${item.path} most=${60} /></a>` },
    { name: "State", cell: (item) => html`<${State} state=${item.state} />` },
    { name: "Took", number: true, cell: (item) => html`<${Took} step=${item} now=${now} />` },
    { name: "What about it", cell: (item) => html`${item.child && html`<a href=${jobLink(item.child)}>its job</a> `}<${Remark} step=${item} />` },
  ];
  return html`<div class="items">
    <div class="chips" role="group" aria-label="Items by state">${Object.entries(step.items || {}).filter(([each, count]) => count || each === state).map(([each, count]) => html`<button key=${each} class="chip" aria-pressed=${each === state} onClick=${(event) => choose(event, each === state ? "" : each)}><${State} state=${each} /> ${count.toLocaleString("en")}</button>`)}</div>
    <${Fault} error=${page.error} />
    ${page.value ? (rows.length ? html`<${Table} caption=${`Items of ${step.name}`} columns=${shown} rows=${rows} keyOf=${(item) => item.path} />` : html`<${Empty}>No item of this kind has begun.</${Empty}>`) : !page.error && html`<p class="empty">Loading items…</p>`}
    <div class="pager">${trail.length > 0 && html`<button class="small" onClick=${() => setTrail(trail.slice(0, -1))}>Earlier items</button>`}
      ${page.value && page.value.next !== null && page.value.next !== undefined && html`<button class="small" onClick=${() => setTrail([...trail, page.value.next])}>Later items</button>`}</div>
  </div>`;
}
