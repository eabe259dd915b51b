// Steering a job: what operators may do, and the dialogs that ask for the reason.

import { html, useState } from "../../vendor/preact.js";
import { Problem, post } from "../api.js";
import { useMay } from "../session.js";
import { Ask, JOB_ENDED, Said, toast } from "../ui.js";
import { of } from "./data.js";

const TITLES = {
  pause: "Pause the job", resume: "Resume the job", cancel: "Cancel the job", retry: "Retry", rerun: "Run again", signal: "Send a signal",
};
const TEXTS = {
  pause: "Nothing more of this job, and of what is below it, goes out. What runs may finish.",
  resume: "What is ready goes out again.",
  cancel: "The job and everything below it stop. Clean-up and compensation still run.",
  retry: "What failed, or waits for its next attempt, is tried again now.",
  signal: "The step that waits for it gets it; else it is kept for the next step that does.",
};
const DONE = {
  pause: "The job is paused.", resume: "The job goes on.", cancel: "The job is being cancelled.", retry: "It is tried again.",
  rerun: "It runs again from there.", signal: "The signal is there.",
};

function dataOf(text) {
  if (!text.trim()) {
    return null;
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Problem(0, { detail: `The data are not JSON: ${error.message}`, hint: 'Text needs quotes: "like this"' });
  }
}

function bodyOf(name, step, form) {
  const body = { reason: String(form.get("reason")).trim() };
  if (step) {
    body.step = step;
  }
  if (name === "rerun") {
    body.step = step || String(form.get("step"));
  }
  if (name === "signal") {
    body.name = String(form.get("name")).trim();
    body.data = dataOf(String(form.get("data")));
  }
  return body;
}

function Fields({ name, job, step }) {
  if (name === "rerun" && !step) {
    return html`<label>From step<select name="step" required>${Object.keys(job.steps).map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></label>`;
  }
  if (name === "signal") {
    const waited = Object.values(job.steps).filter((each) => each.signal && !each.ended_at).map((each) => each.signal);
    return html`<label>Name<input name="name" required maxlength="200" defaultValue=${waited[0] || ""} autocomplete="off" /></label>
      <label>Data (JSON, may be empty)<textarea name="data" spellcheck="false" placeholder=${'{"approved": true}'}></textarea></label>`;
  }
  return null;
}

/** The dialog of one action; `step` is the step that it is about. */
function ActionDialog({ name, job, step = null, onClose }) {
  const run = (form) => post(of(job.job, [name]), bodyOf(name, step, form)).then((answer) => {
    toast(answer && answer.done === false ? "The command is sent; nobody has answered yet. It is carried out as soon as a reactor takes it." : DONE[name]);
  });
  const text = name === "rerun" ? "The step and all that follows it run once more. What was recorded stays in the history." : TEXTS[name];
  return html`<${Ask} title=${step ? html`${TITLES[name]}${name === "rerun" ? " from " : " step "}<${Said} text=${step} most=${60} />` : TITLES[name]} text=${text} action=${TITLES[name]} danger=${name === "cancel"} onClose=${onClose} run=${run}>
    <${Fields} name=${name} job=${job} step=${step} />
    <label>Reason (kept in the history)<input name="reason" maxlength="1000" autocomplete="off" /></label>
  </${Ask}>`;
}

function reasonAgainst(name, job, may) {
  if (!may) {
    return "Only operators may do this.";
  }
  const ended = JOB_ENDED.has(job.state);
  if (name === "cancel" && job.parent) {
    return "A sub-job cannot be cancelled alone: cancel its root.";
  }
  if (name === "rerun" && job.parent) {
    return "A sub-job cannot be run again alone: rerun a step of its root.";
  }
  if (name === "cancel" && job.cancelling) {
    return "It is being cancelled already.";
  }
  return ended && ["pause", "resume", "cancel", "signal"].includes(name) ? "The job has ended." : "";
}

/** A button of one action, disabled with the reason where it cannot be. */
export function ActionButton({ name, job, step = null, label, small = false }) {
  const [open, setOpen] = useState(false);
  const may = useMay("operator");
  const against = reasonAgainst(name, job, may);
  return html`<button class=${[small && "small", name === "cancel" && "danger"].filter(Boolean).join(" ")} disabled=${Boolean(against)} title=${against || undefined} onClick=${() => setOpen(true)}>${label}${against && html`<span class="visually-hidden"> (${against})</span>`}</button>
    ${open && html`<${ActionDialog} name=${name} job=${job} step=${step} onClose=${() => setOpen(false)} />`}`;
}

/** The actions on a whole job. In the past nothing can be done. */
export function Steering({ job, at }) {
  if (at) {
    return null;
  }
  const names = [job.paused ? ["resume", "Resume"] : ["pause", "Pause"], ["retry", "Retry"], ["rerun", "Rerun…"], ["signal", "Signal…"], ["cancel", "Cancel…"]];
  return names.map(([name, label]) => html`<${ActionButton} key=${name} name=${name} job=${job} label=${label} />`);
}
