// The list of jobs: search, filters, live counts.

import { html, useEffect, useState } from "../../vendor/preact.js";
import { get, path } from "../api.js";
import { useApi, useIsLive } from "../live.js";
import { go, jobLink, link } from "../router.js";
import { Ago, Card, Fault, JOB_ENDED, JOB_STATES, Labels, Progress, Said, State, StateFilter, Table, Time, duration, secondsBetween, useNow } from "../ui.js";

const PAGE = 50;
const ID = /^[0-9a-f-]{4,36}$/i;

function columns(now) {
  return [
    { name: "Job", cell: (job) => html`<a class="mono" href=${jobLink(job.job)}>${job.job.slice(0, 8)}</a>` },
    { name: "Name", cell: (job) => html`<${Said} text=${`${job.name} v${job.version}`} most=${60} />` },
    { name: "State", cell: (job) => html`<${State} state=${job.state} />` },
    { name: "Progress", cell: (job) => html`<${Progress} progress=${job.progress} />` },
    { name: "Submitted", cell: (job) => html`<${Time} at=${job.submitted_at} />`, wide: true },
    { name: "Took", number: true, cell: (job) => (JOB_ENDED.has(job.state) ? duration(secondsBetween(job.submitted_at, job.ended_at)) : html`<${Ago} at=${job.submitted_at} now=${now} />`) },
    { name: "Labels", cell: (job) => html`<${Labels} labels=${job.labels} />`, wide: true },
  ];
}

function Counts({ counts, query }) {
  const ordered = Object.fromEntries(JOB_STATES.map((state) => [state, counts[state] || 0]));
  return html`<${StateFilter} counts=${ordered} state=${query.state} href=${(state) => link(["jobs"], { ...query, state })} label="Jobs by state" />`;
}

function Filters({ query }) {
  const submit = (event) => {
    event.preventDefault();
    const form = Object.fromEntries(new FormData(event.target));
    const id = form.find.trim();
    const list = () => go(link(["jobs"], { state: form.state, name: id, label: form.label.trim(), roots: form.all ? "false" : "" }));
    if (ID.test(id)) {
      get(path(["jobs", "found"], { start: id })).then((found) => go(jobLink(found.job)), list); // else it may be a name
    } else {
      list();
    }
  };
  return html`<form class="filters" onSubmit=${submit} role="search">
    <label>Name or id<input name="find" defaultValue=${query.name || ""} placeholder="report, or 5f2c71e0" /></label>
    <label>State<select name="state"><option value="">any</option>${JOB_STATES.map((state) => html`<option key=${state} value=${state} selected=${state === query.state}>${state}</option>`)}</select></label>
    <label>Label<input name="label" defaultValue=${query.label || ""} placeholder="team=red" /></label>
    <label class="check"><input type="checkbox" name="all" defaultChecked=${query.roots === "false"} />sub-jobs, too</label>
    <button type="submit" class="primary">Show</button>
    ${Object.keys(query).length > 0 && html`<a class="button" href="#/jobs">Clear</a>`}
  </form>`;
}

export function Jobs({ query }) {
  const now = useNow();
  const isLive = useIsLive();
  const asked = { state: query.state, name: query.name, label: query.label, roots: query.roots, limit: PAGE };
  const matters = (change) => (change.roots || []).length > 0;
  const first = useApi(path(["jobs"], asked), matters);
  const counts = useApi(path(["jobs", "counts"]), matters);
  const [more, setMore] = useState({ items: [], next: null, error: null });
  const restart = JSON.stringify(asked);
  useEffect(() => setMore({ items: [], next: null, error: null }), [restart]);

  const next = more.items.length ? more.next : first.value && first.value.next;
  const load = () => get(path(["jobs"], { ...asked, cursor: next })).then(
    (page) => setMore((old) => ({ items: [...old.items, ...page.items], next: page.next, error: null })),
    (error) => setMore((old) => ({ ...old, error })),
  );
  const seen = new Set();
  const rows = [...(first.value ? first.value.items : []), ...more.items].filter((job) => !seen.has(job.job) && seen.add(job.job));
  return html`
    <div class="head"><h1>Jobs</h1>${counts.value && html`<${Counts} counts=${counts.value} query=${query} />`}</div>
    <${Card} title="Find"><${Filters} query=${query} key=${restart} /></${Card}>
    <${Fault} error=${first.error} />
    <section class="card" aria-label="Jobs" aria-busy=${first.loading}>
      ${first.value && html`<${Table} caption="Jobs, the newest first" columns=${columns(now)} rows=${rows} keyOf=${(job) => job.job}
        empty=${Object.keys(query).length ? "No job fits these filters." : "No job has been submitted yet. Try: warrener demo"} />`}
    </section>
    <${Fault} error=${more.error} />
    ${next && html`<p><button onClick=${load}>Show older jobs</button></p>`}
    ${!isLive && html`<p class="soft">Changes do not arrive at the moment; what is shown may be old.</p>`}`;
}
