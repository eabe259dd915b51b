// The head of the job page: what it is, how far it is, and why it waits.

import { html, useState } from "../../vendor/preact.js";
import { concerns } from "../live.js";
import { jobLink } from "../router.js";
import { Ago, Fault, JOB_ENDED, Json, Labels, Progress, Said, State, Time, clean, cleanLines, duration, secondsBetween, toast, useNow } from "../ui.js";
import { Steering } from "./actions.js";
import { of, useSlowly } from "./data.js";

function copy(text) {
  const done = () => toast("The id is in the clipboard.");
  const failed = () => toast("The browser did not let the id be copied.", true);
  if (navigator.clipboard) {
    navigator.clipboard.writeText(text).then(done, failed);
  } else {
    failed();
  }
}

/** The way from the root to this job. */
function Crumbs({ job }) {
  return html`<nav class="crumbs" aria-label="Where this job is"><a href="#/jobs">Jobs</a>
    ${job.parent && html`<span aria-hidden="true">›</span><a class="mono" href=${jobLink(job.root)} title="the root job">${job.root.slice(0, 8)}</a>`}
    ${job.parent && job.parent !== job.root && html`<span aria-hidden="true">›</span>${job.depth > 2 && html`<span>…</span><span aria-hidden="true">›</span>`}<a class="mono" href=${jobLink(job.parent)} title="the job that started this one">${job.parent.slice(0, 8)}</a>`}
    ${job.parent && html`<span aria-hidden="true">›</span><${Said} text=${job.path} most=${80} />`}
  </nav>`;
}

function Steered({ what, steered }) {
  return steered && html`<div class="note warn"><strong>${what}</strong> by <${Said} text=${steered.by || "somebody"} most=${60} /> at <${Time} at=${steered.at} />${steered.reason && html`: <${Said} text=${steered.reason} most=${400} />`}</div>`;
}

/** Where a blocker is shown, null if nowhere. */
function blockerLink(blocker, job) {
  if (blocker.kind === "step") {
    return jobLink(blocker.job || job, blocker.path);
  }
  if (blocker.kind === "job") {
    return jobLink(blocker.id);
  }
  return blocker.kind === "user-action" ? "#/actions" : null;
}

const BLOCKERS_SHOWN = 4;

/** Why something waits: the sentence, what would release it, and what is in the way. */
export function Waiting({ waiting, job, more = false }) {
  const [all, setAll] = useState(more);
  const shown = all ? waiting.blockers.slice(0, 100) : waiting.blockers.slice(0, BLOCKERS_SHOWN);
  const left = waiting.blockers.length - shown.length;
  return html`<div class="why">
    <p><${Said} text=${waiting.sentence} most=${600} /></p>
    <p class="soft">${waiting.since && html`since <${Time} at=${waiting.since} /> `}${waiting.until && html`until <${Time} at=${waiting.until} /> `}${waiting.release && html`· released by: <${Said} text=${waiting.release} most=${300} />`}</p>
    ${shown.length > 0 && html`<ul class="blockers">${shown.map((blocker, index) => {
      const to = blockerLink(blocker, job);
      const name = html`<${Said} text=${blocker.path || blocker.id.slice(0, 8)} most=${80} />`;
      return html`<li key=${index} style=${{ "--depth": Math.min(8, (blocker.depth || 1) - 1) }}>${to ? html`<a href=${to}>${name}</a>` : name} <${State} state=${blocker.state} />
        ${blocker.sentence && html` <span class="soft"><${Said} text=${blocker.sentence} most=${200} /></span>`}</li>`;
    })}</ul>`}
    ${left > 0 && !all && html`<button class="small" onClick=${() => setAll(true)}>Show ${left} more in the way</button>`}
  </div>`;
}

/** Why the job is where it is, from the log; asked for again as things change. */
function Why({ job }) {
  const why = useSlowly(of(job.job, ["why"]), concerns(job.root), 1500);
  if (why.error) {
    return html`<${Fault} error=${why.error} />`;
  }
  return why.value && why.value.waiting.kind !== "ended"
    ? html`<section class="note" aria-label="Why it waits"><${Waiting} waiting=${why.value.waiting} job=${job.job} /></section>` : null;
}

function Values({ job }) {
  const parts = [
    ["Parameters", job.params],
    ["Result", job.state === "succeeded" ? job.result : null],
  ].filter(([, value]) => value !== null && value !== undefined && JSON.stringify(value) !== "{}");
  return html`<div class="values">${parts.map(([name, value]) => html`<details key=${name}><summary>${name}</summary><${Json} value=${value} label=${name} /></details>`)}
    ${job.signals_kept > 0 && html`<details><summary>Signals that no step has taken yet (${job.signals_kept})</summary>
      <ul class="plain-list">${job.signals.map((signal) => html`<li key=${signal.key}><${Said} text=${signal.name} most=${60} /> by <${Said} text=${signal.by || "somebody"} most=${60} /> at <${Time} at=${signal.at} /></li>`)}</ul></details>`}
  </div>`;
}

/** Text of users over several lines, such as a traceback. */
const Lines = ({ text, label }) => html`<pre class="json" tabindex="0" role="region" aria-label=${label}><bdi>${cleanLines(text)}</bdi></pre>`;

/** An error of a job or a step. */
export function Failure({ error, title = "Failed" }) {
  return error && html`<div class="note bad"><strong>${title}: <code>${clean(error.code, 60)}</code></strong>
    <div><${Said} text=${error.message} most=${1000} /></div>
    ${error.traceback && html`<details><summary>${error.type ? clean(error.type, 80) : "Traceback"}</summary><${Lines} text=${error.traceback} label="traceback" /></details>`}</div>`;
}

function Took({ job }) {
  const now = useNow();
  return JOB_ENDED.has(job.state) ? duration(secondsBetween(job.submitted_at, job.ended_at)) : html`<${Ago} at=${job.submitted_at} now=${now} />`;
}

export function Head({ job, shown, at }) {
  return html`<section class="card job-head" aria-label="Job"><div class="body">
    <${Crumbs} job=${job} />
    <div class="head"><h1><${Said} text=${job.name} most=${80} /> <span class="soft">v${job.version}</span></h1>
      <${State} state=${shown.state} />${shown.closing && !JOB_ENDED.has(shown.state) && html`<span class="chip">only clean-up is left</span>`}
      <${Progress} progress=${shown.progress} />
      <span class="side"><${Steering} job=${job} at=${at} /></span></div>
    <div class="strip">
      <span><span class="soft">Id</span> <code class="id">${job.job}</code> <button class="small" onClick=${() => copy(job.job)} aria-label="Copy the id">Copy</button></span>
      <span><span class="soft">Submitted</span> <${Time} at=${job.submitted_at} /></span>
      ${shown.started_at && html`<span><span class="soft">Started</span> <${Time} at=${shown.started_at} /></span>`}
      ${shown.ended_at && html`<span><span class="soft">Ended</span> <${Time} at=${shown.ended_at} /></span>`}
      ${!at && html`<span><span class="soft">${JOB_ENDED.has(job.state) ? "Took" : "For"}</span> <span class="nowrap"><${Took} job=${job} /></span></span>`}
      ${shown.generation > 1 && html`<span><span class="soft">Run</span> no. ${shown.generation}</span>`}
      ${job.priority !== 0 && html`<span><span class="soft">Priority</span> ${job.priority}</span>`}
      ${job.deadline && html`<span><span class="soft">Deadline</span> <${Time} at=${job.deadline} /></span>`}
      <${Labels} labels=${job.labels} />
    </div>
    <${Steered} what="Paused" steered=${shown.paused} />
    <${Steered} what=${shown.state === "cancelled" ? "Cancelled" : "Cancelling"} steered=${shown.cancelling} />
    <${Steered} what="Run again" steered=${shown.rerun} />
    ${shown.overdue_at && html`<div class="note warn">Its deadline passed at <${Time} at=${shown.overdue_at} />.</div>`}
    <${Failure} error=${shown.error} title="The job failed" />
    ${!at && !JOB_ENDED.has(job.state) && html`<${Why} job=${job} />`}
    <${Values} job=${shown} />
  </div></section>`;
}
