// Changes as they happen: one stream for the page, shared by all parts that listen.

import { useEffect, useReducer, useRef, useState } from "../vendor/preact.js";
import { get } from "./api.js";

const RETRY_MS = 2000;
const listeners = new Set();
let source = null;
let job = null; // the tree that is listened to; null: all
let isOn = false;
let retry = 0;

function tell(change) {
  for (const listener of [...listeners]) {
    listener(change);
  }
}

function setOn(value) {
  if (isOn !== value) {
    isOn = value;
    tell({ status: true });
  }
}

/** Listen to all jobs, or to the tree that a job is in. */
export function listenTo(wanted) {
  if (source && job === wanted) {
    return;
  }
  stop();
  job = wanted;
  const url = "/api/v1/stream" + (job ? `?job=${encodeURIComponent(job)}` : "");
  source = new EventSource(url);
  source.addEventListener("open", () => {
    setOn(true);
    tell({ reset: true }); // whatever happened before we listened
  });
  source.addEventListener("change", (event) => tell(JSON.parse(event.data)));
  source.addEventListener("reset", () => tell({ reset: true }));
  source.addEventListener("error", () => {
    setOn(false);
    if (source && source.readyState === EventSource.CLOSED) {
      get("/api/v1/session").catch(() => {}); // it may have been refused, as we would be
      clearTimeout(retry);
      retry = setTimeout(() => { source = null; listenTo(job); }, RETRY_MS);
    }
  });
}

export function stop() {
  clearTimeout(retry);
  if (source) {
    source.close();
    source = null;
  }
  setOn(false);
}

/** Whether changes arrive. */
export function useIsLive() {
  const [, again] = useReducer((count) => count + 1, 0);
  useEffect(() => {
    const listener = (change) => change.status && again();
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return isOn;
}

/** Call `react` with every change. */
export function useChanges(react) {
  const latest = useRef(react);
  latest.current = react;
  useEffect(() => {
    const listener = (change) => change.status || latest.current(change);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
}

const always = () => true;

/**
 * What a URL gives, asked for again when a change matters to it.
 * Returns { value, error, loading, reload }; while it is asked for again the old value stays.
 * `url` may be null: then nothing is asked.
 */
export function useApi(url, matters = always) {
  const [state, setState] = useState({ value: null, error: null, url: null });
  const running = useRef(null);
  const again = useRef(false);

  const load = (wanted) => {
    if (running.current) {
      again.current = true; // one at a time: the last change is never missed
      return;
    }
    const abort = new AbortController();
    running.current = abort;
    get(wanted, abort.signal)
      .then((value) => setState({ value, error: null, url: wanted }))
      .catch((error) => error.name !== "AbortError"
        && setState((old) => ({ value: old.url === wanted ? old.value : null, error, url: wanted })))
      .finally(() => {
        if (running.current === abort) {
          running.current = null;
          if (again.current) {
            again.current = false;
            load(wanted);
          }
        }
      });
  };

  useEffect(() => {
    if (!url) {
      return undefined;
    }
    load(url);
    return () => {
      again.current = false;
      if (running.current) {
        running.current.abort();
        running.current = null;
      }
    };
  }, [url]);

  useChanges((change) => url && (change.reset || matters(change)) && load(url));

  const fresh = state.url === url;
  return {
    value: fresh ? state.value : null,
    error: fresh ? state.error : null,
    loading: !fresh,
    reload: () => url && load(url),
  };
}

/** Say whether a change concerns a tree of jobs. */
export const concerns = (root) => (change) => (change.roots || []).some((each) => each.root === root);
