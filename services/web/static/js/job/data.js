// What the parts of the job page share: loading that spares the service, and names of things.

import { useEffect, useRef, useState } from "../../vendor/preact.js";
import { path } from "../api.js";
import { useApi, useChanges } from "../live.js";

export const never = () => false;

/**
 * What a URL gives, asked for again after changes that matter, but no more often than every
 * `gap` milliseconds. While the URL changes the old value stays, with `stale` set.
 */
export function useSlowly(url, matters, gap = 500) {
  const found = useApi(url, never);
  const timer = useRef(0);
  const last = useRef(0);
  const kept = useRef(null);
  const reload = useRef(found.reload);
  reload.current = found.reload;
  useEffect(() => () => clearTimeout(timer.current), []);
  useChanges((change) => {
    if (change.reset || !matters(change) || timer.current) {
      return;
    }
    const wait = Math.max(0, last.current + gap - Date.now());
    timer.current = setTimeout(() => {
      timer.current = 0;
      last.current = Date.now();
      reload.current();
    }, wait);
  });
  if (!url) {
    kept.current = null;
  } else if (found.value) {
    kept.current = found.value;
  } else if (found.error) {
    kept.current = null;
  }
  return { ...found, value: kept.current, stale: found.loading };
}

/** The route of something about a job. */
export const of = (job, parts = [], query = {}) => path(["jobs", job, ...parts], query);

/** The name of the step that an item belongs to, and its index: `groups[3]` is ["groups", 3]. */
export function splitPath(text) {
  const found = /^(.*)\[(\d+)\]$/.exec(text);
  return found ? [found[1], Number(found[2])] : [text, null];
}

export const KINDS = {
  call: "call", job: "sub-job", for_each: "fan-out", wait: "wait", sleep: "sleep", set: "set",
};

/** How many of a count by state have ended, and how many there are. */
export function itemsProgress(items, ended) {
  const entries = Object.entries(items || {});
  return {
    total: entries.reduce((sum, [, count]) => sum + count, 0),
    done: entries.reduce((sum, [state, count]) => sum + (ended.has(state) ? count : 0), 0),
  };
}

/** Whether the window is at least so many pixels wide. */
export function useWide(pixels) {
  const query = useRef(matchMedia(`(min-width: ${pixels}px)`)).current;
  const [wide, setWide] = useState(query.matches);
  useEffect(() => {
    const changed = () => setWide(query.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, []);
  return wide;
}
