// What goes on in the queues: backlog, shares, starvation, and what people set about it.

import { html, useState } from "../../vendor/preact.js";
import { path, send } from "../api.js";
import { useApi } from "../live.js";
import { link } from "../router.js";
import { useMay } from "../session.js";
import { Shares, Spark } from "../spark.js";
import { Ago, Ask, Card, Empty, Facts, Fault, Json, Said, State, Table, Time, clean, duration, toast, useNow } from "../ui.js";

const POINTS = 60;
const STAGES_SHOWN = 60;
const INCIDENTS = 50;
const VICTIMS = 20; // shown of an incident
const KEYS = 5; // shown of a limit
const POLICIES = ["finish-first", "fair", "deadline", "weighted", "fifo"];
const MODES = { off: "starvation is not looked for", observe: "it is told", advise: "a person is asked what to do", act: "something is done about it" };
const INTAKES = { accept: "every job starts", queue: "jobs beyond @jobs wait", refuse: "jobs beyond @jobs are refused" };
const count = (number) => Math.round(number).toLocaleString("en");
const rate = (number) => `${number < 10 ? number.toFixed(2) : Math.round(number).toLocaleString("en")}/s`;

// --- what is set -------------------------------------------------------------------------------

function ChangeFlow({ flow, onClose }) {
  const known = POLICIES.includes(flow.policy) ? POLICIES : [flow.policy, ...POLICIES];
  const run = (form) => {
    const weights = {};
    for (const line of form.get("weights").split("\n").map((each) => each.trim()).filter(Boolean)) {
      const [key, value] = [line.slice(0, line.lastIndexOf("=")).trim(), Number(line.slice(line.lastIndexOf("=") + 1))];
      if (!key || !Number.isFinite(value)) {
        throw new Error(`${line}: write KEY=NUMBER`);
      }
      weights[key] = value;
    }
    const body = { policy: form.get("policy"), mode: form.get("mode"), intake: form.get("intake"), bound_seconds: Number(form.get("bound")), weights, reason: form.get("reason") };
    return send("PATCH", path(["flow"]), body).then(() => toast("The flow was changed."));
  };
  return html`<${Ask} title="Change the flow" action="Change it" text="It holds for all jobs, from now on." onClose=${onClose} run=${run}>
    <label>Policy of release<select name="policy">${known.map((each) => html`<option key=${each} selected=${each === flow.policy}>${each}</option>`)}</select></label>
    <label>Starvation<select name="mode">${Object.entries(MODES).map(([name, text]) => html`<option key=${name} value=${name} selected=${name === flow.mode}>${name}: ${text}</option>`)}</select></label>
    <label>Steps starve after so many seconds<input name="bound" type="number" min="0.1" step="any" required defaultValue=${flow.bound_seconds} /></label>
    <label>Intake<select name="intake">${Object.entries(INTAKES).map(([name, text]) => html`<option key=${name} value=${name} selected=${name === flow.intake}>${name}: ${text}</option>`)}</select></label>
    <label>Weights of fairness keys, KEY=NUMBER a line<textarea name="weights" defaultValue=${Object.entries(flow.weights).map(([key, value]) => `${key}=${value}`).join("\n")}></textarea></label>
    <label>Why<input name="reason" maxlength="500" /></label>
  </${Ask}>`;
}

function Settings({ flow, onChange }) {
  const may = useMay("operator");
  const side = html`<button disabled=${!may} title=${may ? undefined : "Needs the role operator"} onClick=${onChange}>Change</button>`;
  const weights = Object.entries(flow.weights).map(([key, value]) => `${key}=${value}`).join(", ");
  return html`<${Card} title="What is set" side=${side}><${Facts} rows=${[
    ["policy", html`<strong>${clean(flow.policy, 60)}</strong>`],
    ["starvation", `after ${duration(flow.bound_seconds)}: ${MODES[flow.mode] || flow.mode} (${flow.mode})`],
    ["intake", `${flow.intake}: ${INTAKES[flow.intake] || ""}`],
    ["weights", weights && html`<${Said} text=${weights} />`],
    ["set", flow.since && html`<${Time} at=${flow.since} />${flow.by && html` by <${Said} text=${flow.by} most=${60} />`}${flow.reason && html`: <${Said} text=${flow.reason} />`}`],
    ["commit", flow.commit_seconds > 0 && duration(flow.commit_seconds)],
    ["confirm", flow.confirm_seconds > 0 && duration(flow.confirm_seconds)],
    ["figures of", flow.as_of && html`<${Time} at=${flow.as_of} />`],
  ]} /></${Card}>`;
}

// --- queues ------------------------------------------------------------------------------------

const held = (stage) => Object.values(stage.held).reduce((sum, each) => sum + each, 0);

const stageColumns = [
  { name: "Stage", cell: (stage) => html`<${Said} text=${`${stage.job}/${stage.step}`} most=${70} />${stage.incidents.length > 0 && html` <a class="chip starves" href=${link(["flow"], { incident: stage.incidents[0] })}>starves</a>`}` },
  { name: "Ready", number: true, cell: (stage) => count(stage.ready) },
  { name: "Course", cell: (stage) => html`<${Spark} values=${stage.series && stage.series.ready} label="Ready" />`, wide: true },
  { name: "Held back", number: true, cell: (stage) => html`<span title=${Object.entries(stage.held).slice(0, 10).map(([why, many]) => `${clean(why, 60)}: ${many}`).join("\n")}>${count(held(stage))}</span>` },
  { name: "Out", number: true, cell: (stage) => count(stage.out) },
  { name: "Running", number: true, cell: (stage) => count(stage.running) },
  { name: "Oldest wait", number: true, cell: (stage) => duration(Math.max(stage.oldest_wait, stage.held_wait)) },
  { name: "Waits p50 / p95", number: true, cell: (stage) => `${duration(stage.wait_p50)} / ${duration(stage.wait_p95)}`, wide: true },
  { name: "Service", number: true, cell: (stage) => duration(stage.service_seconds), wide: true },
  { name: "In", number: true, cell: (stage) => rate(stage.arrival_rate), wide: true },
  { name: "Done", number: true, cell: (stage) => rate(stage.completion_rate) },
  { name: "To come", number: true, cell: (stage) => count(stage.coming), wide: true },
];

function drained(queue) {
  if (queue.drain_seconds === null) {
    return `${duration(queue.work_seconds)} of work, and it grows`;
  }
  return queue.drain_seconds === 0 ? "none" : `done in ${duration(queue.drain_seconds)}`;
}

/** The share of the workers' time by job name. */
function sharesOf(queue) {
  const by = new Map();
  for (const stage of queue.stages) {
    by.set(stage.job, (by.get(stage.job) || 0) + stage.share);
  }
  return [...by].map(([name, value]) => ({ name, value })).filter((part) => part.value > 0);
}

function Queue({ queue }) {
  const stages = [...queue.stages].sort((a, b) => b.ready + held(b) - a.ready - held(a));
  return html`<${Card} id=${`queue-${queue.queue}`} title=${`Queue ${clean(queue.queue, 80)}`} side=${html`<span class="soft">${Math.round(100 * queue.utilisation)} % of the slots in use</span>`} bare>
    <div class="body">
      <${Facts} rows=${[
        ["slots", `${count(queue.busy)} of ${count(queue.slots)} busy, ${count(queue.workers)} workers`],
        ["waiting", `${count(queue.ready)} ready, ${count(queue.held)} held back`],
        ["out", `${count(queue.out)} of a window of ${count(queue.window)}`],
        ["rates", `${rate(queue.arrival_rate)} in, ${rate(queue.completion_rate)} done`],
        ["backlog", drained(queue)],
        ["no worker for", queue.unknown.length > 0 && html`<span class="late"><${Said} text=${queue.unknown.join(", ")} /></span>`],
      ]} />
      <${Shares} parts=${sharesOf(queue)} label="Time of workers by job" />
    </div>
    <${Table} caption=${`Stages of queue ${clean(queue.queue, 80)}`} columns=${stageColumns} rows=${stages.slice(0, STAGES_SHOWN)} keyOf=${(stage) => `${stage.job}/${stage.step}`} empty="Nothing waits here." />
    ${stages.length > STAGES_SHOWN && html`<p class="empty">and ${stages.length - STAGES_SHOWN} more stages with less that waits</p>`}
  </${Card}>`;
}

// --- starvation --------------------------------------------------------------------------------

const measureColumns = [
  { name: "Measure", cell: (each) => html`<strong>${clean(each.kind, 40)}</strong>${each.step && html` for <${Said} text=${`${each.job}/${each.step}`} most=${60} />`}${each.amount > 0 && ` (${count(each.amount)})`}` },
  { name: "State", cell: (each) => html`${clean(each.state, 20)}${each.why && `: ${clean(each.why, 60)}`}` },
  { name: "From", cell: (each) => html`<${Time} at=${each.taken_at || each.proposed_at} />` },
  { name: "Until", cell: (each) => html`<${Time} at=${each.ended_at || each.until} />` },
  { name: "Asked", cell: (each) => each.request && html`<a href="#/actions">a person</a>` },
];

function Incident({ incident, now, open }) {
  const worst = incident.victims.map((victim) => `${victim.job}/${victim.step}`).join(", ");
  const { sentence, ...figures } = incident.evidence;
  const since = incident.state === "open" ? html`for <${Ago} at=${incident.since} now=${now} />` : html`until <${Time} at=${incident.closed_at} />`;
  return html`<details class="incident" open=${open}><summary><span class=${incident.state === "open" ? "chip starves" : "chip"}>${clean(incident.cause, 40)}</span>
      <${Said} text=${`${incident.queue}: ${worst}`} most=${120} /> <span class="soft">${since}</span></summary>
    <div class="body">
      ${sentence && html`<p><bdi class="hostile">${clean(sentence, 600)}</bdi></p>`}
      <${Facts} rows=${[
        ["victims", html`<ul class="plain-list">${incident.victims.slice(0, VICTIMS).map((victim) => html`<li key=${`${victim.job}/${victim.step}`}><${Said} text=${`${victim.job}/${victim.step}`} most=${80} />: ${count(victim.waiting)} wait, the longest ${duration(victim.oldest_wait)}</li>`)}${incident.victims.length > VICTIMS && html`<li>and ${incident.victims.length - VICTIMS} more</li>`}</ul>`],
        ["opened", html`<${Time} at=${incident.opened_at} />`],
        ["closed", incident.closed_at && html`<${Time} at=${incident.closed_at} />${incident.why && `: ${clean(incident.why, 100)}`}`],
      ]} />
      ${incident.actions.length > 0 && html`<${Table} caption="Measures" columns=${measureColumns} rows=${incident.actions} keyOf=${(each) => `${each.kind}${each.job}${each.step}${each.proposed_at}${each.taken_at}${each.partition}`} />`}
      <details><summary>Evidence</summary><${Json} value=${figures} label="Evidence" most=${6000} /></details>
    </div></details>`;
}

function Starvation({ chosen, now }) {
  const [all, setAll] = useState(Boolean(chosen));
  const found = useApi(path(["starvation"], { open: !all, limit: INCIDENTS }), (change) => change.starvation);
  const items = found.value ? found.value.items : [];
  const side = html`<label class="check"><input type="checkbox" checked=${all} onChange=${(event) => setAll(event.target.checked)} />ended ones, too</label>`;
  return html`<${Card} title="Starvation" side=${side}>
    <${Fault} error=${found.error} />
    ${found.value && !items.length && html`<${Empty}>Nobody starves.</${Empty}>`}
    ${items.map((incident) => html`<${Incident} key=${incident.incident} incident=${incident} now=${now} open=${incident.state === "open" || incident.incident === chosen} />`)}
    ${found.value && found.value.more && html`<p class="soft">Only the newest ${INCIDENTS} are shown.</p>`}
  </${Card}>`;
}

// --- limits ------------------------------------------------------------------------------------

const rateText = (found) => (found ? `${found.count} in ${duration(found.seconds)}` : "");
const part = (limit, name) => (limit[name] !== null ? limit[name] : limit.defined && limit.defined[name]);

function ChangeLimit({ limit, onClose }) {
  const isNew = limit === null;
  const run = (form) => {
    const name = isNew ? form.get("name").trim() : limit.name;
    const number = (field) => (form.get(field) === "" ? null : Number(form.get(field)));
    const [times, seconds] = [number("count"), number("seconds")];
    if ((times === null) !== (seconds === null)) {
      throw new Error("A rate is so many orders in so many seconds: give both, or neither.");
    }
    const body = { slots: number("slots"), rate: times === null ? null : { count: times, seconds }, burst: number("burst"), reason: form.get("reason") };
    return send("PUT", path(["limits", name]), body).then(() => toast(`The limit ${name} was changed.`));
  };
  const set = limit || { slots: null, rate: null, burst: null };
  return html`<${Ask} title=${isNew ? "Set a limit" : html`Change the limit <${Said} text=${limit.name} most=${60} />`} action="Change it" onClose=${onClose} run=${run}
    text="It holds for all jobs, from now on. What is left empty goes back to what definitions say.">
    ${isNew && html`<label>Name<input name="name" required maxlength="200" placeholder="api, @root, @job:NAME, @step:NAME/STEP, @queue:NAME, @jobs" /></label>`}
    <label>Slots: so many at once<input name="slots" type="number" min="0" step="1" defaultValue=${set.slots} /></label>
    <div class="pair"><label>Rate: so many orders<input name="count" type="number" min="0" step="any" defaultValue=${set.rate && set.rate.count} /></label>
      <label>in so many seconds<input name="seconds" type="number" min="0.001" step="any" defaultValue=${set.rate && set.rate.seconds} /></label></div>
    <label>Burst<input name="burst" type="number" min="1" step="1" defaultValue=${set.burst} /></label>
    <label>Why<input name="reason" maxlength="500" /></label>
  </${Ask}>`;
}

const limitColumns = (onChange, may) => [
  { name: "Limit", cell: (limit) => html`<${Said} text=${limit.name} most=${80} />${limit.since && html` <span class="chip">changed</span>`}` },
  { name: "Slots", number: true, cell: (limit) => part(limit, "slots") },
  { name: "Rate", number: true, cell: (limit) => rateText(part(limit, "rate")) },
  { name: "Waiting", number: true, cell: (limit) => count(limit.waiting) },
  { name: "Keys", cell: (limit) => html`<span class="chips">${limit.keys.slice(0, KEYS).map((each) => html`<span class="chip" key=${each.key}><${Said} text=${each.key} most=${40} />: ${count(each.waiting)}${each.lacking && ` for ${each.lacking}`}</span>`)}${limit.keys.length > KEYS && html`<span class="chip">and ${limit.keys.length - KEYS} more</span>`}</span>`, wide: true },
  { name: "Changed", cell: (limit) => limit.since && html`<${Time} at=${limit.since} />${limit.by && html` by <${Said} text=${limit.by} most=${40} />`}${limit.reason && html`: <${Said} text=${limit.reason} most=${80} />`}`, wide: true },
  { name: "Action", number: true, cell: (limit) => html`<button disabled=${!may} onClick=${() => onChange(limit)} aria-label=${`Change ${clean(limit.name, 60)}`}>Change</button>` },
];

function Limits() {
  const may = useMay("operator");
  const [changed, setChanged] = useState(undefined);
  const found = useApi(path(["limits"]), (change) => change.limits || change.flow);
  const rows = found.value ? found.value.items : [];
  const side = html`<button disabled=${!may} onClick=${() => setChanged(null)}>Set a limit</button>`;
  return html`<${Card} title="Limits" side=${side} bare>
    <${Fault} error=${found.error} />
    <${Table} caption="Limits" columns=${limitColumns(setChanged, may)} rows=${rows} keyOf=${(limit) => limit.name} empty="No limit is in use." />
    ${changed !== undefined && html`<${ChangeLimit} limit=${changed} onClose=${() => { setChanged(undefined); found.reload(); }} />`}
  </${Card}>`;
}

// --- the page ----------------------------------------------------------------------------------

export function Flow({ query }) {
  const now = useNow();
  const found = useApi(path(["flow"], { points: POINTS }), (change) => change.flow);
  const [changing, setChanging] = useState(false);
  const flow = found.value;
  const queues = flow ? [...flow.queues].sort((a, b) => (b.queue === query.queue) - (a.queue === query.queue)) : [];
  return html`
    <div class="head"><h1>Flow</h1></div>
    <${Fault} error=${found.error} />
    <${Starvation} chosen=${query.incident} now=${now} />
    ${flow && !queues.length && html`<${Card} title="Queues"><${Empty}>No figures yet: a reactor tells them while there is something to do.</${Empty}></${Card}>`}
    ${queues.map((queue) => html`<${Queue} key=${queue.queue} queue=${queue} />`)}
    <${Limits} />
    ${flow && html`<${Settings} flow=${flow} onChange=${() => setChanging(true)} />`}
    ${changing && html`<${ChangeFlow} flow=${flow} onClose=${() => { setChanging(false); found.reload(); }} />`}`;
}
