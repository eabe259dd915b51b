// One job: its head, and the views of it. `at` in the address is a point of its past.

import { html, useEffect, useState } from "../../vendor/preact.js";
import { get } from "../api.js";
import { concerns } from "../live.js";
import { go, jobLink } from "../router.js";
import { Fault, Tabs } from "../ui.js";
import { never, of, useSlowly } from "../job/data.js";
import { GraphTab } from "../job/graph.js";
import { Head } from "../job/head.js";
import { HistoryTab } from "../job/history.js";
import { Past } from "../job/past.js";
import { ReportTab } from "../job/report.js";
import { StepPanel } from "../job/step.js";
import { StepsTab } from "../job/steps.js";
import { TimelineTab } from "../job/timeline.js";
import { TreeTab } from "../job/tree.js";

const TABS = [["graph", "Graph"], ["timeline", "Timeline"], ["steps", "Steps"], ["tree", "Tree"], ["history", "History"], ["report", "Report"]];
const VIEWS = { graph: GraphTab, timeline: TimelineTab, steps: StepsTab, tree: TreeTab, history: HistoryTab, report: ReportTab };
const WITH_STEP = new Set(["graph", "timeline", "steps"]);
const IN_THE_PAST = new Set(["graph", "timeline", "steps", "tree", "history"]);
const LARGE = 400; // steps: from here on a job is asked for less often

/** Nothing to show: why, in words. */
function Missing({ job, error }) {
  const words = { 404: "There is no such job", 410: "This job has been pruned" }[error.status];
  if (!words) {
    return html`<${Fault} error=${error} />`;
  }
  return html`<section class="card"><div class="empty"><h1>${words}</h1>
    <p class="mono hostile">${job.slice(0, 80)}</p><${Fault} error=${error} />
    <p><a href="#/jobs">All jobs</a></p></div></section>`;
}

/** A step in a sub-job is shown on the page of that job. */
function Lead({ job, step, query }) {
  useEffect(() => {
    const [first, ...rest] = step.split("/");
    get(of(job, ["steps", first])).then((found) => go(found.child
      ? jobLink(found.child, rest.join("/"), { tab: query.tab })
      : jobLink(job, first, query), true), () => go(jobLink(job, null, query), true));
  }, [job, step]);
  return html`<p class="empty">Looking for the step…</p>`;
}

export function Job({ job, step, query }) {
  const found = useSlowly(of(job), (change) => change.roots && (!found.value || concerns(found.value.root)(change)), 300);
  const at = /^\d+$/.test(query.at || "") ? query.at : null;
  const past = useSlowly(at && found.value ? of(found.value.job, ["replay"], { at }) : null, never);
  const [sliding, setSliding] = useState(false);
  const now = found.value;
  useEffect(() => {
    if (now) {
      document.title = `${now.name} ${now.job.slice(0, 8)} ${now.state} · Warrener`;
    }
    return () => { document.title = "Warrener"; };
  }, [now && now.state, now && now.job]);

  if (!now) {
    return found.error ? html`<${Missing} job=${job} error=${found.error} />` : html`<p class="empty" aria-busy="true">Loading the job…</p>`;
  }
  if (step && step.includes("/")) {
    return html`<${Lead} job=${now.job} step=${step} query=${query} />`;
  }
  const tab = VIEWS[query.tab] ? query.tab : "graph";
  const follows = IN_THE_PAST.has(tab);
  const shown = at && past.value ? past.value : now;
  const isPast = shown !== now;
  const large = Object.keys(now.steps).length > LARGE;
  const here = (changes) => jobLink(now.job, "step" in changes ? changes.step : step, { ...query, ...changes, step: undefined });
  const parts = { job: now, shown, at: isPast ? at : null, step, query, here, large };
  return html`
    <${Head} ...${parts} />
    <${Fault} error=${found.error} />
    <div class="tabs-row"><${Tabs} tabs=${TABS} current=${tab} href=${(name) => here({ tab: name, step: WITH_STEP.has(name) ? step : null })} />
      ${follows && tab !== "history" && !at && html`<button class="small" aria-expanded=${sliding} onClick=${() => setSliding(!sliding)}>Slide back in time</button>`}</div>
    ${(at || (follows && (sliding || tab === "history"))) && html`<${Past} key=${now.job} ...${parts} wanted=${at} found=${past} applies=${follows} />`}
    <div class=${step && WITH_STEP.has(tab) ? "job-view with-step" : "job-view"}>
      <div class="job-main"><${VIEWS[tab]} key=${tab} ...${parts} /></div>
      ${step && WITH_STEP.has(tab) && html`<${StepPanel} key=${step} ...${parts} />`}
    </div>`;
}
