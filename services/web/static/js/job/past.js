// The time slider: the job as it was at any of its events.

import { html, useEffect, useRef, useState } from "../../vendor/preact.js";
import { go } from "../router.js";
import { Fault, JOB_ENDED, Time } from "../ui.js";
import { concerns, useChanges } from "../live.js";
import { get } from "../api.js";
import { of } from "./data.js";
import { inWords } from "./words.js";

const PAGE = 500;
const EVENTS_MAX = 5000; // so many a slider can tell apart
const SETTLE_MS = 120; // a slider that moves asks only where it rests

/** The events of the job, up to the bound, with those that come while it runs. */
function useEvents(job) {
  const [state, setState] = useState({ events: [], full: false, loading: true, error: null });
  const running = useRef(false);
  const found = useRef([]);
  const load = () => {
    if (running.current || found.current.length >= EVENTS_MAX) {
      return;
    }
    running.current = true;
    const last = found.current.length ? found.current[found.current.length - 1].position : 0;
    get(of(job.job, ["history"], { after: last, limit: PAGE })).then((page) => {
      running.current = false;
      found.current = [...found.current, ...page.items];
      setState({ events: found.current, full: found.current.length >= EVENTS_MAX, loading: Boolean(page.next), error: null });
      if (page.next) {
        load();
      }
    }, (error) => {
      running.current = false;
      setState((old) => ({ ...old, loading: false, error }));
    });
  };
  useEffect(load, [job.job]);
  useChanges((change) => !JOB_ENDED.has(job.state) && concerns(job.root)(change) && load());
  return state;
}

/** The index of the last event at or before a position. */
function indexOf(events, position) {
  let [low, high] = [0, events.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (events[middle].position <= position) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

function Slider({ events, at, moved }) {
  const [index, setIndex] = useState(at === null ? events.length - 1 : indexOf(events, Number(at)));
  const timer = useRef(0);
  const sent = useRef(null); // our own move comes back in the address: by then we may be further on
  useEffect(() => {
    if (at === null || Number(at) !== sent.current) {
      setIndex(at === null ? events.length - 1 : indexOf(events, Number(at)));
    }
    sent.current = null;
  }, [at, at === null && events.length]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const set = (value) => {
    const next = Math.max(0, Math.min(events.length - 1, value));
    setIndex(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      sent.current = events[next].position;
      moved(sent.current);
    }, SETTLE_MS);
  };
  const event = events[Math.min(index, events.length - 1)];
  return html`<button class="small" onClick=${() => set(index - 1)} disabled=${index <= 0} aria-label="The event before">◀</button>
    <input type="range" min="0" max=${events.length - 1} value=${index} aria-label="Event of the job" aria-valuetext=${`event ${index + 1} of ${events.length}: ${inWords(event)}`} onInput=${(change) => set(Number(change.target.value))} />
    <button class="small" onClick=${() => set(index + 1)} disabled=${index >= events.length - 1} aria-label="The event after">▶</button>
    <span class="soft nowrap">event ${(index + 1).toLocaleString("en")} of ${events.length.toLocaleString("en")}</span>
    <span class="past-event"><${Time} at=${event.at} /> ${inWords(event)}</span>`;
}

/**
 * The slider with its banner. `wanted` is the position in the address, `at` the one that is shown,
 * `applies` says that the view follows it.
 */
export function Past({ job, wanted, at, found, applies, here }) {
  const state = useEvents(job);
  const missing = found.error && found.error.status === 404;
  const moved = (position) => go(here({ at: String(position) }), true);
  if (missing) {
    return html`<div class="note">This service cannot show the past of a job. <a href=${here({ at: null })}>Back to now</a></div>`;
  }
  return html`<section class=${wanted === null ? "card past" : "card past on"} aria-label="Time slider"><div class="past-row">
      ${state.events.length > 1 ? html`<${Slider} events=${state.events} at=${wanted} moved=${moved} />` : html`<span class="soft">${state.error ? "" : "Reading the events…"}</span>`}
    </div>
    ${state.full && html`<p class="soft past-more">The slider covers the first ${state.events.length.toLocaleString("en")} events. Later ones: in the history.</p>`}
    <${Fault} error=${state.error} />
    <div role="status">${wanted !== null && html`<p class="past-banner"><strong>${at !== null ? `As of position ${Number(at).toLocaleString("en")}` : "Looking back…"}</strong>${found.value && at !== null && html`, <${Time} at=${found.value.at} />`}
      ${applies ? "" : " (this view shows the present)"} <a href=${here({ at: null })}>Back to now</a></p>`}</div>
    <${Fault} error=${found.error} />
  </section>`;
}
