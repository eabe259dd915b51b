// Workers, the queues that they serve, and their beats.

import { html } from "../../vendor/preact.js";
import { path } from "../api.js";
import { useApi } from "../live.js";
import { link } from "../router.js";
import { Ago, Card, Fault, Said, Table, Time, clean, useNow } from "../ui.js";

const LATE_SECONDS = 30;
const ENDPOINTS_SHOWN = 60;

function Slots({ busy, slots, label }) {
  return html`<span class="progress" role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax=${slots} aria-valuenow=${busy}>
    <span class="bar"><i style=${{ width: `${slots ? Math.min(100, (100 * busy) / slots) : 0}%` }}></i></span><span class="nowrap">${busy} of ${slots} busy</span></span>`;
}

const Chips = ({ names, most }) => html`<span class="chips">${names.slice(0, most).map((name) => html`<span class="chip" key=${name}><${Said} text=${name} most=${60} /></span>`)}
  ${names.length > most && html`<span class="chip">and ${names.length - most} more</span>`}</span>`;

function Beat({ worker, now }) {
  const late = (now - Date.parse(worker.seen_at)) / 1000 > LATE_SECONDS;
  return html`<span class=${late ? "late" : ""}><${Ago} at=${worker.seen_at} now=${now} /> ago${late ? " (late)" : ""}</span>`;
}

const queueColumns = [
  { name: "Queue", cell: (row) => html`<a href=${link(["flow"], { queue: row.queue })}><${Said} text=${row.queue} most=${60} /></a>` },
  { name: "Workers", number: true, cell: (row) => row.workers.toLocaleString("en") },
  { name: "Slots", number: true, cell: (row) => row.slots.toLocaleString("en") },
  { name: "Out", number: true, cell: (row) => row.out.toLocaleString("en") },
  { name: "Ready", number: true, cell: (row) => (row.ready + row.held).toLocaleString("en") },
  { name: "In use", number: true, cell: (row) => `${Math.round(100 * row.utilisation)} %` },
];

const workerColumns = (now) => [
  { name: "Worker", cell: (worker) => html`<${Said} text=${worker.worker} most=${60} />` },
  { name: "Host", cell: (worker) => html`<${Said} text=${`${worker.host} (${worker.pid})`} most=${60} />`, wide: true },
  { name: "Queues", cell: (worker) => html`<${Chips} names=${worker.queues} most=${8} />` },
  { name: "Slots", cell: (worker) => html`<${Slots} busy=${worker.busy} slots=${worker.slots} label=${`Slots of ${clean(worker.worker, 60)}`} />` },
  { name: "Last beat", cell: (worker) => html`<${Beat} worker=${worker} now=${now} />` },
];

/** The queues as the flow has them; those that it does not know have slots alone. */
function queuesOf(flow, fleet) {
  const known = new Map((flow ? flow.queues : []).map((queue) => [queue.queue, queue]));
  const rest = Object.entries((fleet && fleet.slots) || {}).filter(([queue]) => !known.has(queue));
  return [...known.values(), ...rest.map(([queue, slots]) => ({ queue, slots, workers: 0, out: 0, ready: 0, held: 0, utilisation: 0 }))]
    .sort((a, b) => (a.queue < b.queue ? -1 : 1));
}

export function Fleet() {
  const now = useNow();
  const fleet = useApi(path(["fleet"]), (change) => change.fleet || change.flow);
  const flow = useApi(path(["flow"]), (change) => change.flow || change.fleet);
  const found = fleet.value;
  const workers = (found && found.workers) || [];
  return html`
    <div class="head"><h1>Fleet</h1>${found && found.since && html`<span class="soft">as it is since <${Time} at=${found.since} /></span>`}</div>
    <${Fault} error=${fleet.error || flow.error} />
    <${Card} title="Queues" bare><${Table} caption="Queues" columns=${queueColumns} rows=${queuesOf(flow.value, found)} keyOf=${(row) => row.queue}
      empty="No worker has come yet. Start one: warrener worker --endpoints MODULE" /></${Card}>
    <${Card} title="Workers" bare><${Table} caption="Workers" columns=${workerColumns(now)} rows=${workers} keyOf=${(worker) => worker.worker}
      empty=${found && found.workers === null ? "Without a broker nobody hears the beats of workers." : "No worker has been heard."} /></${Card}>
    ${found && found.endpoints && found.endpoints.length > 0 && html`<${Card} title="Endpoints"><${Chips} names=${found.endpoints} most=${ENDPOINTS_SHOWN} /></${Card}>`}`;
}
