// The panel of one step: why it waits, its attempts, what went in and came out, and what to do.

import { html, useEffect, useRef, useState } from "../../vendor/preact.js";
import { concerns } from "../live.js";
import { jobLink } from "../router.js";
import { Facts, Fault, Json, Progress, STEP_ENDED, Said, State, Time, clean, duration } from "../ui.js";
import { ActionButton } from "./actions.js";
import { KINDS, itemsProgress, never, of, splitPath, useSlowly } from "./data.js";
import { GraphCard } from "./graph.js";
import { Failure, Waiting } from "./head.js";
import { Items } from "./steps.js";

const OUTCOMES = { retry: "failed, is tried again" };

/** One attempt: its times in a line, and below it who ran it and what went wrong. */
function Attempt({ each }) {
  const state = each.outcome || (each.started_at ? "running" : each.kind === "attempt" ? "released" : "waiting");
  return html`<tr><td class="number">${each.attempt || "–"}</td><td><span title=${OUTCOMES[each.outcome]}><${State} state=${state} /></span></td>
      <td><${Time} at=${each.started_at || each.begun_at} /></td><td class="number">${duration(each.seconds_waited)}</td><td class="number">${duration(each.seconds_ran)}</td></tr>
    ${(each.worker || each.error_code || each.due) && html`<tr class="more"><td></td><td colspan="4">${each.worker && html`<span class="soft">by <${Said} text=${each.worker} most=${60} /></span>`}
      ${each.error_code && html`<div class="bad-text"><code>${clean(each.error_code, 40)}</code> <${Said} text=${each.error_message} most=${300} /></div>`}
      ${each.due && html`<div class="soft">the next one is due <${Time} at=${each.due} /></div>`}</td></tr>`}`;
}

const ATTEMPTS = 100;

function Attempts({ job, step }) {
  const [after, setAfter] = useState(null);
  const found = useSlowly(of(job.job, ["steps", step.path, "attempts"], { after, limit: ATTEMPTS }), concerns(job.root), 800);
  const rows = found.value ? found.value.items : [];
  if (found.error) {
    return html`<${Fault} error=${found.error} />`;
  }
  return html`<section aria-label="Attempts"><h3>Attempts</h3>
    ${!found.value && html`<p class="soft">Loading…</p>`}${found.value && !rows.length && html`<p class="soft">No attempt yet.</p>`}
    ${rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${`Attempts of ${clean(step.path, 60)}`}><table class="attempts">
      <thead><tr><th scope="col" class="number">No.</th><th scope="col">Outcome</th><th scope="col">Began</th><th scope="col" class="number">Waited</th><th scope="col" class="number">Ran</th></tr></thead>
      <tbody>${rows.map((each) => html`<${Attempt} key=${`${each.generation} ${each.attempt}`} each=${each} />`)}</tbody></table></div>`}
    ${found.value && found.value.next !== null && html`<button class="small" onClick=${() => setAfter(found.value.next)}>Later attempts</button>`}
    ${after !== null && html` <button class="small" onClick=${() => setAfter(null)}>First attempts</button>`}</section>`;
}

function useStep({ job, shown, step, at }) {
  const known = shown.steps[step];
  const item = splitPath(step)[1] !== null;
  const found = useSlowly(known || (!item && at) ? null : of(job.job, ["steps", step]), concerns(job.root), 800);
  return known ? { value: known, error: null } : found;
}

/** The input of the newest attempt stands in the history; it is looked for when it is asked for. */
function Input({ job, step }) {
  const [open, setOpen] = useState(false);
  const found = useSlowly(open ? of(job.job, ["steps", step.path, "input"]) : null, never);
  return html`<details onToggle=${(event) => setOpen(event.target.open)}><summary>Input</summary>${found.value ? html`<${Json} value=${found.value.input} label="input" />` : found.error ? html`<${Fault} error=${found.error} />` : html`<p class="soft">Loading…</p>`}</details>`;
}

function Buttons({ job, step }) {
  const [name, index] = splitPath(step.path);
  const retries = ["failed", "retrying", "waiting_user", "upstream_failed"].includes(step.state);
  const known = job.steps[name];
  return html`<div class="buttons">
    ${retries && html`<${ActionButton} name="retry" job=${job} step=${step.path} label="Retry" small />`}
    ${known && index === null && html`<${ActionButton} name="rerun" job=${job} step=${name} label="Rerun from here" small />`}
    ${step.signal && !STEP_ENDED.has(step.state) && html`<${ActionButton} name="signal" job=${job} label="Send its signal" small />`}
    ${step.request && !STEP_ENDED.has(step.state) && html`<a class="button small" href="#/actions">To its form</a>`}
    ${step.child && html`<a class="button small" href=${jobLink(step.child)}>Open its job</a>`}
  </div>`;
}

function Below({ job, step, here }) {
  const [open, setOpen] = useState(false);
  if (step.items) {
    return html`<section aria-label="Items"><h3>Items</h3><${Progress} progress=${itemsProgress(step.items, STEP_ENDED)} label="items ended" />
      ${step.window && html`<span class="soft"> at most ${step.window} at a time${step.tolerated ? `, ${step.tolerated} may fail` : ""}</span>`}
      <${Items} job=${job} step=${step} here=${here} /></section>`;
  }
  return step.child && html`<section aria-label="Its job"><button class="small" aria-expanded=${open} onClick=${() => setOpen(!open)}>${open ? "Fold its graph" : "Unfold its graph here"}</button>
    ${open && html`<${GraphCard} id=${step.child} />`}</section>`;
}

export function StepPanel(parts) {
  const { job, step, at, here } = parts;
  const found = useStep(parts);
  const place = useRef(null);
  useEffect(() => {
    place.current.focus({ preventScroll: true });
    place.current.scrollIntoView({ block: "nearest" });
  }, [step]);
  const within = useRef(false); // whether the focus is in the panel
  useEffect(() => {
    const moved = (event) => { within.current = Boolean(event.target.closest(".step-panel, dialog")); };
    document.addEventListener("focusin", moved);
    return () => document.removeEventListener("focusin", moved);
  }, []);
  useEffect(() => { // a button that had it may be gone now
    if (within.current && document.activeElement === document.body) {
      place.current.focus({ preventScroll: true });
    }
  });
  const close = () => {
    location.hash = here({ step: null });
    requestAnimationFrame(() => {
      const back = document.querySelector(`[data-step="${CSS.escape(step)}"]`);
      if (back) {
        back.focus();
      }
    });
  };
  const value = found.value;
  const [name, index] = splitPath(step);
  return html`<aside class="card step-panel" aria-label=${`Step ${clean(step, 80)}`} onKeyDown=${(event) => event.key === "Escape" && !event.target.closest("dialog") && close()}>
    <header><h2 tabindex="-1" ref=${place}><${Said} text=${step} most=${80} /></h2>${value && html`<${State} state=${value.state} />`}
      <span class="side"><button class="plain" onClick=${close} aria-label="Close the step">×</button></span></header>
    <div class="body">
      ${index !== null && html`<p class="soft">an item of <a href=${here({ step: name })}>${clean(name, 60)}</a></p>`}
      <${Fault} error=${found.error} />
      ${!value && !found.error && html`<p class="soft">${at ? "This step was not there yet." : "Loading…"}</p>`}
      ${value && html`
        ${!at && html`<${Buttons} job=${job} step=${value} />`}
        ${value.waiting && html`<div class="note"><${Waiting} waiting=${value.waiting} job=${job.job} /></div>`}
        <${Failure} error=${value.error} />
        <${Facts} rows=${[
    ["Kind", KINDS[value.kind] || value.kind],
    ["Note", value.note && html`<${Said} text=${value.note} most=${300} />`],
    ["Reason", value.reason && html`<${Said} text=${value.reason} most=${300} />`],
    ["Progress", value.progress !== null && !STEP_ENDED.has(value.state) && `${Math.round(100 * value.progress)} %`],
    ["Worker", value.worker && html`<${Said} text=${value.worker} most=${60} />`],
    ["Ready", value.ready_at && html`<${Time} at=${value.ready_at} />`],
    ["Released", value.released_at && html`<${Time} at=${value.released_at} />`],
    ["Started", value.started_at && html`<${Time} at=${value.started_at} />`],
    ["Ended", value.ended_at && html`<${Time} at=${value.ended_at} />`],
    ["Until", value.until && html`<${Time} at=${value.until} />`],
    ["Signal", value.signal && html`<${Said} text=${value.signal} most=${60} />`],
    ["Answered for by", value.caught_by && html`<a href=${here({ step: value.caught_by })}>${clean(value.caught_by, 60)}</a>`],
    ["Adjusted by", value.adjusted && html`<${Said} text=${`${value.adjusted.by}: ${value.adjusted.reason}`} most=${200} />`],
  ]} />
        <div class="values">
          ${value.kind === "call" && !at && value.attempts > 0 && html`<${Input} job=${job} step=${value} />`}
          ${value.result !== null && html`<details open=${JSON.stringify(value.result).length < 2000}><summary>Result</summary><${Json} value=${value.result} label="result" /></details>`}
        </div>
        <${Below} job=${job} step=${value} here=${here} />
        ${!at && (value.attempts > 0 || value.started_at) && html`<${Attempts} job=${job} step=${value} />`}`}
    </div></aside>`;
}
