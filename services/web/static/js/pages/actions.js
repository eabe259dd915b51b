// What jobs wait for people to do: each with its form.

import { html, useState } from "../../vendor/preact.js";
import { path, post } from "../api.js";
import { Fields, answerOf } from "../forms.js";
import { useApi } from "../live.js";
import { jobLink, link } from "../router.js";
import { useMay } from "../session.js";
import { Ago, Ask, Card, Empty, Facts, Fault, Json, Said, State, Tabs, Time, cleanLines, toast, useNow } from "../ui.js";

const STATES = [["open", "Open"], ["answered", "Answered"], ["withdrawn", "Withdrawn"]];
const LIMIT = 100;

function Answer({ action, onClose }) {
  const run = (data) => post(path(["actions", action.request, "answer"]), { data: answerOf(action.form, data) })
    .then(() => toast(`Answered: ${action.cause}`));
  return html`<${Ask} title=${html`Answer <${Said} text=${action.cause} most=${80} />`} action="Send the answer" onClose=${onClose} run=${run}
    text=${action.steps > 1 ? `${action.steps.toLocaleString("en")} steps of ${action.jobs.toLocaleString("en")} jobs go on with it.` : null}>
    ${action.message && html`<p class="hostile"><bdi>${cleanLines(action.message, 2000)}</bdi></p>`}
    ${action.form === null ? html`<p class="soft">There is nothing to fill in: the answer says that it is done.</p>` : html`<${Fields} form=${action.form} />`}
  </${Ask}>`;
}

const Waiting = ({ action }) => html`<ul class="chips">
  ${action.waiting.slice(0, 10).map((each) => html`<li class="chip" key=${each.job + each.path}><a href=${jobLink(each.job, each.path)}><span class="mono">${each.job.slice(0, 8)}</span>/<${Said} text=${each.path} most=${60} /></a></li>`)}
  ${action.steps > 10 && html`<li class="chip">and ${(action.steps - Math.min(10, action.waiting.length)).toLocaleString("en")} more</li>`}
</ul>`;

function Action({ action, now, onAnswer }) {
  const may = useMay("operator");
  const title = html`<${Said} text=${action.cause} most=${120} />`;
  const side = action.state === "open"
    ? html`<button class="primary" disabled=${!may} title=${may ? undefined : "Needs the role operator"} onClick=${onAnswer}>Answer</button>`
    : html`<${State} state=${action.state} />`;
  return html`<article class="card"><header><h2>${title}</h2><span class="side">${side}</span></header><div class="body">
    ${action.message && html`<p><bdi class="hostile">${cleanLines(action.message, 2000)}</bdi></p>`}
    <${Facts} rows=${[
      ["asked for", html`<${Said} text=${action.action} most=${80} />`],
      ["waiting", action.steps > 0 && html`<${Waiting} action=${action} />`],
      ["since", html`<${Time} at=${action.opened_at} /> ${action.state === "open" && html`<span class="soft">(<${Ago} at=${action.opened_at} now=${now} />)</span>`}`],
      ["until", action.expires_at && html`<${Time} at=${action.expires_at} />`],
      ["reminded", action.reminders > 0 && `${action.reminders} times`],
      ["ended", action.ended_at && html`<${Time} at=${action.ended_at} />`],
      ["by", action.by && html`<${Said} text=${action.by} most=${80} />`],
      ["why", action.reason && html`<${Said} text=${action.reason} />`],
      ["answer", action.state === "answered" && html`<${Json} value=${action.data} label="Answer" most=${4000} />`],
    ]} />
  </div></article>`;
}

export function Actions({ query }) {
  const state = STATES.some(([name]) => name === query.state) ? query.state : "open";
  const found = useApi(path(["actions"], { state, limit: LIMIT }), (change) => change.actions);
  const [answered, setAnswered] = useState(null);
  const now = useNow();
  const items = found.value ? found.value.items : [];
  return html`
    <div class="head"><h1>User actions</h1></div>
    <${Tabs} tabs=${STATES} current=${state} href=${(name) => link(["actions"], { state: name === "open" ? "" : name })} />
    <${Fault} error=${found.error} />
    ${found.value && !items.length && html`<${Card} title="Nothing"><${Empty}>${state === "open" ? "No job waits for a person." : `No request was ${state}.`}</${Empty}></${Card}>`}
    ${items.map((action) => html`<${Action} key=${action.request} action=${action} now=${now} onAnswer=${() => setAnswered(action)} />`)}
    ${found.value && found.value.more && html`<p class="soft">Only the newest ${LIMIT} are shown.</p>`}
    ${answered && html`<${Answer} action=${answered} onClose=${() => { setAnswered(null); found.reload(); }} />`}`;
}
