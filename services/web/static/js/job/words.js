// Events and their causes in words.

import { clean } from "../ui.js";

const EVENTS = {
  JobSubmitted: "the job was submitted", JobStarted: "the job began", JobAdvanced: "the job went on", JobPaused: "the job was paused",
  JobResumed: "the job was resumed", JobCancelling: "the job is to be cancelled", JobOverdue: "the deadline passed", JobSignalled: "a signal came",
  JobRerun: "the job runs again", JobAdjusted: "a step was adjusted", JobSucceeded: "the job succeeded", JobFailed: "the job failed", JobCancelled: "the job was cancelled",
  StepReleased: "went out", StepStarted: "began", StepProgressed: "reported progress", StepParked: "needs a person", StepReadied: "became ready",
  StepRenewed: "begins anew", StepOpened: "opened", StepSucceeded: "succeeded", StepRetryScheduled: "failed and will be retried", StepFailed: "failed",
  StepSkipped: "was skipped", StepCancelled: "was cancelled", UserActionRequested: "a person is asked", UserActionReminded: "the person was reminded",
  UserActionAnswered: "a person answered", UserActionWithdrawn: "the request was withdrawn", EventPruned: "pruned",
};

const spelled = (type) => type.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();

function more(event) {
  const { type, data } = event;
  if (type === "StepReleased" || type === "StepStarted") {
    return data.attempt > 1 ? `, attempt ${data.attempt}` : "";
  }
  if (type === "StepRetryScheduled" || type === "StepFailed" || type === "JobFailed") {
    return data.error ? `: ${data.error.code}: ${data.error.message}` : "";
  }
  if (type === "StepOpened") {
    return data.count !== undefined ? ` with ${data.count} items` : "";
  }
  if (type === "JobSignalled") {
    return `: ${data.name}`;
  }
  if (type === "JobAdjusted" || type === "JobRerun") {
    return data.step ? `: ${data.step}` : "";
  }
  return data.reason ? `: ${data.reason}` : "";
}

/** What happened, in one line. */
export function inWords(event) {
  const said = EVENTS[event.type] || spelled(event.type);
  const where = event.path ? `${event.path} ` : "";
  return clean(`${where}${said}${more(event)}`, 240);
}

const OWN = {
  recovery: "recovery after a start", time: "time gave room, or a start", flow: "a look at the flow", fleet: "what workers announced, or their silence",
  "take-over": "a reactor took the log over",
};
const COMMANDS = {
  submit: "submission", cancel: "cancel", pause: "pause", resume: "resume", retry: "retry", rerun: "rerun", signal: "signal", answer: "answer",
  adjust: "change of a step", limit: "change of a limit", flow: "change of the flow",
};
const UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
const REPORT = new RegExp(`^report:(${UUID})/(\\d+)/`);
const BEAT = new RegExp(`^beat:(?:.+/)?(${UUID})/(\\d+)/`);
const TIMER = new RegExp(`^timer:(${UUID})/(\\d+|deadline|reminder)$`);

function told(cause, data, paths) {
  if (OWN[cause]) {
    return OWN[cause];
  }
  const report = REPORT.exec(cause) || BEAT.exec(cause);
  if (report) {
    const name = paths.get(report[1]);
    const kind = cause.startsWith("report:") ? "report" : "sign of life";
    return `${kind} of attempt ${report[2]}${name ? ` of ${name}` : ""}${data.worker ? ` by worker ${data.worker}` : ""}`;
  }
  const timer = TIMER.exec(cause);
  if (timer) {
    const due = { deadline: "the deadline passed", reminder: "people were to be reminded" };
    return `timer: ${due[timer[2]] || `${paths.get(timer[1]) || "it"} was due`}`;
  }
  if (cause.startsWith("command:")) {
    const name = cause.slice(8).split("/")[0];
    return `${COMMANDS[name] || "command"}${data.by ? ` by ${data.by}` : ""}`;
  }
  return cause;
}

/** Who or what caused an event; `paths` leads from ids of steps to their paths. */
export function causeInWords(event, paths) {
  const cause = event.cause || "";
  if (cause === "release" || cause === "release:time") {
    return "once there was room";
  }
  if (cause.startsWith("release:")) {
    return clean(`after ${told(cause.slice(8), {}, paths)}`, 240);
  }
  return clean(told(cause, event.data || {}, paths), 240);
}
