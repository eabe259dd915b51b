// What the timeline is drawn from: attempts of jobs, loaded page by page, and rows made of them.

import { useEffect, useRef, useState } from "../../vendor/preact.js";
import { get } from "../api.js";
import { concerns, useChanges } from "../live.js";
import { of, splitPath } from "./data.js";

const PAGE = 500;
const BEGIN_MAX = 1000; // attempts of a job that are loaded without being asked for
const SHORT_GAP = 1000; // milliseconds between two looks at what changes
const LONG_GAP = 5000;
export const ITEMS_MAX = 100; // of a fan-out that has been unfolded, and so many more each time

async function load(job, most) {
  const found = [];
  let cursor = null;
  do {
    const page = await get(of(job, ["timeline"], { limit: PAGE, cursor }));
    found.push(...page.items);
    cursor = page.next;
  } while (cursor && found.length < most);
  return { attempts: found, more: Boolean(cursor) };
}

/** Attempts of a job and of those below it that are unfolded: { [job]: { attempts, more, error } }. */
export function useAttempts(root, jobs) {
  const [all, setAll] = useState({});
  const most = useRef({});
  const running = useRef(new Set());
  const timer = useRef(0);
  const last = useRef(0);
  const count = useRef(0);
  const read = (job) => {
    if (running.current.has(job)) {
      return;
    }
    running.current.add(job);
    load(job, most.current[job] || BEGIN_MAX)
      .then((found) => setAll((old) => {
        const next = { ...old, [job]: { ...found, error: null } };
        count.current = Object.values(next).reduce((sum, each) => sum + each.attempts.length, 0);
        return next;
      }), (error) => setAll((old) => ({ ...old, [job]: { attempts: [], more: false, ...old[job], error } })))
      .finally(() => running.current.delete(job));
  };
  useEffect(() => jobs.forEach((job) => all[job] || read(job)), [jobs.join()]);
  useEffect(() => () => clearTimeout(timer.current), []);
  useChanges((change) => {
    if (timer.current || !(change.reset || concerns(root)(change))) {
      return;
    }
    const gap = count.current > PAGE ? LONG_GAP : SHORT_GAP;
    timer.current = setTimeout(() => {
      timer.current = 0;
      last.current = Date.now();
      jobs.forEach(read);
    }, Math.max(0, last.current + gap - Date.now()));
  });
  const more = (job) => {
    most.current[job] = (most.current[job] || BEGIN_MAX) + BEGIN_MAX;
    read(job);
  };
  return { all, more };
}

/**
 * What `useAttempts` gives, as it was at a time: nothing that came later. Times of the service have
 * one form, so they are compared as texts.
 */
export function asOf(all, moment) {
  const later = (at) => Boolean(at) && at > moment;
  const then = (attempt) => (later(attempt.ended_at)
    ? { ...attempt, started_at: later(attempt.started_at) ? null : attempt.started_at, ended_at: null, outcome: null, due: null, error_code: null, error_message: null, seconds_waited: null, seconds_ran: null }
    : attempt);
  return Object.fromEntries(Object.entries(all).map(([job, loaded]) => [job, {
    ...loaded, attempts: loaded.attempts.filter((attempt) => !later(attempt.begun_at)).map(then),
  }]));
}

/** The parts of a bar as times in milliseconds; what has not ended goes on to `now`. */
export function barOf(attempt, now) {
  const time = (at) => (at ? Date.parse(at) : null);
  const begun = time(attempt.begun_at);
  const isWork = attempt.kind === "attempt";
  const ended = time(attempt.ended_at);
  const started = isWork ? time(attempt.started_at) : begun;
  const ready = Math.min(time(attempt.ready_at) ?? begun, begun);
  const parked = attempt.outcome === "retry" || attempt.outcome === "parked";
  const state = attempt.outcome || (started ? (isWork ? "running" : "waiting") : "released");
  return { attempt, ready, from: started ?? ended ?? now, to: ended ?? (parked ? started ?? begun : now), state };
}

function rowsOfItems(items, row, open, counts) {
  const paths = [...items.keys()].sort((one, other) => splitPath(one)[1] - splitPath(other)[1]);
  const most = counts[row.key] || ITEMS_MAX;
  const found = paths.slice(0, most).map((path) => {
    const attempts = items.get(path);
    const child = attempts[attempts.length - 1].child;
    const key = `${row.key}/${path}`;
    return { key, job: row.job, path, level: row.level + 1, attempts, child, foldable: Boolean(child), unfolded: Boolean(child && open[key]) };
  });
  const left = paths.length - most;
  return { found, rest: left > 0 ? { key: `${row.key}+`, rest: row.key, left, level: row.level + 1 } : null };
}

/**
 * The rows of the chart: a step a row; fan-outs and sub-jobs are folded into one until they are
 * opened. `names` gives the order of steps of the job at the top.
 */
export function rowsOf({ job, names, all, open, counts, level = 0, above = "" }) {
  const loaded = all[job];
  if (!loaded) {
    return [{ key: `${above}…`, note: "loading…", level }];
  }
  const steps = new Map((names || []).map((name) => [name, { own: [], items: new Map() }]));
  for (const attempt of loaded.attempts) {
    const [name, index] = splitPath(attempt.path);
    if (!steps.has(name)) {
      steps.set(name, { own: [], items: new Map() });
    }
    const step = steps.get(name);
    if (index === null) {
      step.own.push(attempt);
    } else {
      step.items.set(attempt.path, [...(step.items.get(attempt.path) || []), attempt]);
    }
  }
  const rows = [];
  const below = (row) => rows.push(...rowsOf({ job: row.child, all, open, counts, level: row.level + 1, above: `${row.key}/` }));
  for (const [name, step] of steps) {
    const key = `${above}${name}`;
    const newest = step.own[step.own.length - 1];
    const child = newest && newest.child;
    const row = { key, job, path: name, level, attempts: step.own, child, items: step.items.size, foldable: Boolean(child || step.items.size), unfolded: Boolean(open[key]) };
    rows.push(row);
    if (row.unfolded && step.items.size) {
      const { found, rest } = rowsOfItems(step.items, row, open, counts);
      for (const item of found) {
        rows.push(item);
        if (item.unfolded) {
          below(item);
        }
      }
      if (rest) {
        rows.push(rest);
      }
    } else if (row.unfolded && child) {
      below(row);
    }
  }
  if (loaded.error) {
    rows.push({ key: `${above}!`, note: loaded.error.message, level });
  }
  if (loaded.more) {
    rows.push({ key: `${above}>`, moreOf: job, level, shown: loaded.attempts.length });
  }
  return rows;
}
