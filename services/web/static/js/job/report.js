// Where the time of the job went: by kind, along the critical path, and in which steps.

import { html } from "../../vendor/preact.js";
import { concerns } from "../live.js";
import { jobLink } from "../router.js";
import { Card, Empty, Fault, Said, State, Table, Time, clean, duration } from "../ui.js";
import { of, useSlowly } from "./data.js";

const share = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;
const Share = ({ value, label }) => html`<span class="share"><span class="bar" aria-hidden="true"><i style=${{ width: `${100 * Math.min(1, value)}%` }}></i></span><span class="nowrap" aria-label=${label}>${share(value)}</span></span>`;
const stepLink = (row) => html`<a href=${jobLink(row.job, row.step)}><${Said} text=${row.path || "the job"} most=${70} /></a>`;
const pathLink = (row) => html`<a href=${jobLink(row.job, row.path.split("/").pop())}><${Said} text=${row.path} most=${70} /></a>`;

const TOTALS = [
  { name: "Time went to", cell: (row) => clean(row.label, 60) },
  { name: "Of all steps", number: true, cell: (row) => duration(row.step_seconds) },
  { name: "Share", cell: (row) => html`<${Share} value=${row.step_share} />`, wide: true },
  { name: "On the critical path", number: true, cell: (row) => duration(row.critical_seconds) },
  { name: "Share of it", cell: (row) => html`<${Share} value=${row.critical_share} />` },
];
const PATH = [
  { name: "Where", cell: (row) => stepLink(row) },
  { name: "From", number: true, cell: (row) => duration(row.from_seconds) },
  { name: "Took", number: true, cell: (row) => duration(row.seconds) },
  { name: "Share", cell: (row) => html`<${Share} value=${row.share} />`, wide: true },
  { name: "What", cell: (row) => html`<${Said} text=${row.sentence} most=${240} />` },
];
const SLOW = [
  { name: "Step", cell: (row) => pathLink(row) },
  { name: "State", cell: (row) => html`<${State} state=${row.state} />` },
  { name: "Computed", number: true, cell: (row) => duration(row.computing_seconds) },
  { name: "Waited", number: true, cell: (row) => duration(row.waited_seconds) },
  { name: "Attempts", number: true, cell: (row) => row.attempts },
  { name: "Worker", cell: (row) => row.worker && html`<${Said} text=${row.worker} most=${40} />`, wide: true },
];
const AGAIN = [
  { name: "Step", cell: (row) => pathLink(row) },
  { name: "State", cell: (row) => html`<${State} state=${row.state} />` },
  { name: "Attempts", number: true, cell: (row) => row.attempts },
  { name: "Lost", number: true, cell: (row) => duration(row.lost_seconds) },
  { name: "Errors", cell: (row) => html`<${Said} text=${row.codes.join(", ")} most=${120} />` },
];
const ROWS = 50;

export function ReportTab({ job }) {
  const found = useSlowly(of(job.job, ["report"]), concerns(job.root), 10_000);
  if (found.error && found.error.status === 404) {
    return html`<${Card} title="Report"><${Empty}>This service makes no reports. On a command line: <code>warrener report ${job.job.slice(0, 8)}</code></${Empty}></${Card}>`;
  }
  if (found.error && !found.value) {
    return html`<${Fault} error=${found.error} />`;
  }
  const report = found.value;
  if (!report) {
    return html`<p class="empty" aria-busy="true">Reading the history…</p>`;
  }
  const left = report.critical_path.length - ROWS;
  const path = [...report.critical_path].sort((one, other) => other.seconds - one.seconds).slice(0, ROWS).sort((one, other) => one.from_seconds - other.from_seconds);
  return html`<div class="report">
    <p class="soft">${report.so_far ? "So far" : "In all"} ${duration(report.elapsed_seconds)}${report.rerun ? " since the rerun" : ""} from <${Time} at=${report.begun_at} />: ${report.jobs.toLocaleString("en")} jobs, ${report.steps.toLocaleString("en")} steps and items, ${report.retried.toLocaleString("en")} tried again${report.lost_seconds ? ` (${duration(report.lost_seconds)} lost)` : ""}.</p>
    <${Card} title="Where the time went" bare><${Table} caption="Time by kind" columns=${TOTALS} rows=${report.totals.filter((row) => row.step_seconds || row.critical_seconds)} keyOf=${(row) => row.kind} empty="No time has been spent yet." /></${Card}>
    <${Card} title="Critical path" side=${left > 0 && html`<span class="soft">the ${ROWS} longest of ${report.critical_path.length.toLocaleString("en")} stretches</span>`} bare><${Table} caption="Critical path, stretch by stretch" columns=${PATH} rows=${path} keyOf=${(row) => `${row.from_seconds} ${row.path} ${row.kind}`} /></${Card}>
    <${Card} title="Steps that computed longest" bare><${Table} caption="Steps by the time that they computed" columns=${SLOW} rows=${report.slowest.slice(0, ROWS)} keyOf=${(row) => `${row.job} ${row.path}`} /></${Card}>
    ${report.retries.length > 0 && html`<${Card} title="Tried again" bare><${Table} caption="Steps that were tried again" columns=${AGAIN} rows=${report.retries.slice(0, ROWS)} keyOf=${(row) => `${row.job} ${row.path}`} /></${Card}>`}
  </div>`;
}
