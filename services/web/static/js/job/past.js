// The time slider: the job as it was at any of its events.

import { html, useEffect, useRef, useState } from "../../vendor/preact.js";
import { go } from "../router.js";
import { Fault, JOB_ENDED, Time } from "../ui.js";
import { concerns, useChanges } from "../live.js";
import { get } from "../api.js";
import { never, of, useSlowly } from "./data.js";
import { inWords } from "./words.js";

const PAGE = 50_000;
const SETTLE_MS = 120; // a slider that moves asks only where it rests

/** The positions of the job's events, with those that come while it runs. */
function usePositions(job) {
  const [state, setState] = useState({ positions: [], error: null });
  const running = useRef(false);
  const again = useRef(false);
  const found = useRef([]);
  const load = () => {
    if (running.current) {
      again.current = true; // what came since is not missed
      return;
    }
    running.current = true;
    again.current = false;
    const last = found.current.length ? found.current[found.current.length - 1] : 0;
    get(of(job.job, ["positions"], { after: last, limit: PAGE })).then((page) => {
      running.current = false;
      if (page.items.length) {
        found.current = found.current.concat(page.items);
      }
      setState({ positions: found.current, error: null });
      if (page.next || again.current) {
        load();
      }
    }, (error) => {
      running.current = false;
      setState((old) => ({ ...old, error }));
    });
  };
  useEffect(load, [job.job]);
  useChanges((change) => (change.reset || (!JOB_ENDED.has(job.state) && concerns(job.root)(change))) && load());
  return state;
}

/** The index of the last position at or before one. */
function indexOf(positions, position) {
  let [low, high] = [0, positions.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (positions[middle] <= position) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

/** The event at a position. Until it is known: the one before. */
function useEvent(job, position) {
  const found = useSlowly(of(job.job, ["history"], { after: position - 1, limit: 1 }), never);
  return found.value && found.value.items.length ? found.value.items[0] : null;
}

function Slider({ job, positions, at, moved }) {
  const [index, setIndex] = useState(at === null ? positions.length - 1 : indexOf(positions, Number(at)));
  const [rest, setRest] = useState(index); // where the slider came to rest
  const timer = useRef(0);
  const sent = useRef(null); // our own move comes back in the address: by then we may be further on
  const event = useEvent(job, positions[Math.min(rest, positions.length - 1)]);
  useEffect(() => {
    if (at === null || Number(at) !== sent.current) {
      const there = at === null ? positions.length - 1 : indexOf(positions, Number(at));
      setIndex(there);
      setRest(there);
    }
    sent.current = null;
  }, [at, positions.length]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const set = (value) => {
    const next = Math.max(0, Math.min(positions.length - 1, value));
    setIndex(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      sent.current = positions[next];
      setRest(next);
      moved(sent.current);
    }, SETTLE_MS);
  };
  const place = `event ${(index + 1).toLocaleString("en")} of ${positions.length.toLocaleString("en")}`;
  const isKnown = event && event.position === positions[index];
  return html`<button class="small" onClick=${() => set(index - 1)} disabled=${index <= 0} aria-label="The event before">◀</button>
    <input type="range" min="0" max=${positions.length - 1} value=${index} aria-label="Event of the job" aria-valuetext=${isKnown ? `${place}: ${inWords(event)}` : place} onInput=${(change) => set(Number(change.target.value))} />
    <button class="small" onClick=${() => set(index + 1)} disabled=${index >= positions.length - 1} aria-label="The event after">▶</button>
    <span class="soft nowrap">${place}</span>
    <span class=${isKnown ? "past-event" : "past-event soft"}>${event && html`<${Time} at=${event.at} /> ${inWords(event)}`}</span>`;
}

/**
 * The slider with its banner. `wanted` is the position in the address, `at` the one that is shown,
 * `applies` says that the view follows it.
 */
export function Past({ job, wanted, at, found, applies, here }) {
  const state = usePositions(job);
  const missing = found.error && found.error.status === 404;
  const moved = (position) => go(here({ at: String(position) }), true);
  if (missing) {
    return html`<div class="note">This service cannot show the past of a job. <a href=${here({ at: null })}>Back to now</a></div>`;
  }
  return html`<section class=${wanted === null ? "card past" : "card past on"} aria-label="Time slider"><div class="past-row">
      ${state.positions.length > 1 ? html`<${Slider} job=${job} positions=${state.positions} at=${wanted} moved=${moved} />` : html`<span class="soft">${state.error ? "" : "Reading the events…"}</span>`}
    </div>
    <${Fault} error=${state.error} />
    <div role="status">${wanted !== null && html`<p class="past-banner"><strong>${at !== null ? `As of position ${Number(at).toLocaleString("en")}` : "Looking back…"}</strong>${found.value && at !== null && html`, <${Time} at=${found.value.at} />`}
      ${applies ? "" : " (this view shows the present)"} <a href=${here({ at: null })}>Back to now</a></p>`}</div>
    <${Fault} error=${found.error} />
  </section>`;
}
