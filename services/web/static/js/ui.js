// Parts that all pages share. Text of users only ever goes through the virtual DOM, as text.

import { Fragment, html, useEffect, useId, useRef, useState } from "../vendor/preact.js";

export const MARKS = {
  pending: "○", ready: "◔", released: "→", running: "▶", retrying: "↻", waiting: "…", waiting_user: "?",
  succeeded: "✓", failed: "✗", upstream_failed: "⊘", skipped: "»", not_needed: "–", cancelled: "■",
  cancelling: "■", paused: "‖", submitted: "◔", retry: "↻", parked: "?", timed_out: "✗", open: "?", answered: "✓",
};
export const JOB_STATES = ["submitted", "running", "paused", "cancelling", "succeeded", "failed", "cancelled"];
export const JOB_ENDED = new Set(["succeeded", "failed", "cancelled"]);
export const STEP_ENDED = new Set([...JOB_ENDED, "upstream_failed", "skipped", "not_needed"]);

// --- text ------------------------------------------------------------------------------------

// Controls, surrogates alone, and characters that turn the direction of what is around them.
const UNSAFE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]|\p{Surrogate}/gu;

/** Text of users in one line, cut: what cannot be seen is shown as a sign. */
export function clean(text, most = 200) {
  const said = String(text).slice(0, most + 1).replace(UNSAFE, "\ufffd").replace(/\s+/g, " ");
  return said.length > most ? `${said.slice(0, most - 1)}…` : said;
}

/** Text of users as it is, over several lines, cut at a length that a page can bear. */
export function cleanLines(text, most = 20000) {
  const all = String(text);
  const said = all.slice(0, most).replace(UNSAFE, "\ufffd");
  return all.length > most ? `${said}\n… ${(all.length - most).toLocaleString("en")} more characters` : said;
}

export const Said = ({ text, most = 200 }) =>
  html`<bdi class="hostile" title=${String(text).length > most ? clean(text, 2000) : undefined}>${clean(text, most)}</bdi>`;

// --- times -----------------------------------------------------------------------------------

/** Seconds as people say them: 0.42 s, 12.3 s, 4 min 5 s, 3 h 12 min, 2 d 4 h. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) {
    return "";
  }
  if (seconds === 0) {
    return "0 s";
  }
  if (seconds < 10) {
    return `${seconds.toFixed(seconds < 1 ? 3 : 2)} s`;
  }
  if (seconds < 60) {
    return `${seconds.toFixed(1)} s`;
  }
  const whole = Math.round(seconds);
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days) {
    return `${days} d ${hours} h`;
  }
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${whole % 60} s`;
}

export const secondsBetween = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;

/** The time now, anew every so many milliseconds. */
export function useNow(every = 1000) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const DAY = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });

/** A time of the API: the clock today, with the day else; the exact one in UTC as its title. */
export function Time({ at }) {
  if (!at) {
    return null;
  }
  const when = new Date(at);
  const today = when.toDateString() === new Date().toDateString();
  return html`<time datetime=${at} title=${at} class="nowrap">${today ? "" : `${DAY.format(when)}, `}${CLOCK.format(when)}</time>`;
}

export const Ago = ({ at, now }) => (at ? html`<time datetime=${at} title=${at}>${duration(Math.max(0, (now - Date.parse(at)) / 1000))}</time>` : null);

// --- small parts -----------------------------------------------------------------------------

export const words = (state) => String(state).replaceAll("_", " ");

/** The class that colours a state; one that nobody knows is as one that is pending. */
export const stateClass = (state) => `s-${/^[a-z_]+$/.test(state) ? state : "pending"}`;

export const State = ({ state }) =>
  html`<span class=${`state ${stateClass(state)}`}><span aria-hidden="true">${MARKS[state] || "·"}</span>${clean(words(state), 40)}</span>`;

/** Links that choose a state, with how many there are of each. */
export function StateFilter({ counts, state, href, label }) {
  return html`<nav class="chips" aria-label=${label}>${Object.entries(counts).filter(([each, count]) => count || each === state).map(([each, count]) => html`<a key=${each} class="chip" href=${href(each === state ? "" : each)} aria-current=${each === state ? "true" : undefined}><${State} state=${each} /> ${count.toLocaleString("en")}</a>`)}</nav>`;
}

export function Progress({ progress, label = "steps ended" }) {
  const { done, total } = progress;
  const share = total ? Math.min(1, done / total) : 0;
  return html`<span class="progress" role="progressbar" aria-label=${label} aria-valuemin="0" aria-valuemax=${total} aria-valuenow=${done}>
    <span class="bar"><i style=${{ width: `${100 * share}%` }}></i></span>
    <span class="nowrap">${done.toLocaleString("en")} / ${total.toLocaleString("en")}</span>
  </span>`;
}

export function Labels({ labels }) {
  const own = Object.entries(labels || {}).filter(([key]) => !key.startsWith("warrener."));
  return own.length ? html`<span class="chips">${own.map(([key, value]) => html`<span class="chip" key=${key}><${Said} text=${`${key}=${value}`} most=${60} /></span>`)}</span>` : null;
}

export const Facts = ({ rows }) => html`<dl class="facts">${rows
  .filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false)
  .map(([name, value]) => html`<${Fragment} key=${name}><dt>${name}</dt><dd>${value}</dd></${Fragment}>`)}</dl>`;

/** A card with a head; `side` stands at its right. */
export const Card = ({ title, side, children, bare = false, id }) => html`<section class="card" id=${id} aria-label=${title}>
  ${title && html`<header><h2>${title}</h2>${side && html`<span class="side">${side}</span>`}</header>`}
  ${bare ? children : html`<div class="body">${children}</div>`}
</section>`;

export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

/** What went wrong, in the words of the API. */
export function Fault({ error }) {
  if (!error) {
    return null;
  }
  return html`<div class="note bad" role="alert"><strong>${clean(error.message, 600)}</strong>
    ${error.hint && html`<div>${clean(error.hint, 600)}</div>`}
    ${(error.errors || []).slice(0, 20).map((each) => html`<div key=${each.path}><code>${clean(each.path, 100)}</code> ${clean(each.message, 300)}</div>`)}
  </div>`;
}

/** A value of users as indented JSON. */
export function Json({ value, most = 20000, label = "value" }) {
  const text = typeof value === "string" && value.length > most ? value : JSON.stringify(value, null, 2);
  return html`<pre class="json" tabindex="0" role="region" aria-label=${label}><bdi>${cleanLines(text ?? "null", most)}</bdi></pre>`;
}

/**
 * A table. `columns` are { name, cell(row), number, wide }; `keyOf(row)` tells rows apart.
 * On narrow screens columns marked `wide` are left out.
 */
export function Table({ columns, rows, keyOf, caption, empty = "Nothing here." }) {
  if (!rows.length) {
    return html`<${Empty}>${empty}</${Empty}>`;
  }
  const classes = (column) => [column.number && "number", column.wide && "wide-only"].filter(Boolean).join(" ");
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${caption}><table>
    <caption class="visually-hidden">${caption}</caption>
    <thead><tr>${columns.map((column) => html`<th scope="col" class=${classes(column)} key=${column.name}>${column.name}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${keyOf(row)}>${columns.map((column) => html`<td class=${classes(column)} key=${column.name}>${column.cell(row)}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}

export const Tabs = ({ tabs, current, href }) => html`<nav class="tabs" aria-label="Views">${tabs.map(([name, title]) =>
  html`<a key=${name} href=${href(name)} aria-current=${name === current ? "page" : undefined}>${title}</a>`)}</nav>`;

// --- dialogs and toasts ------------------------------------------------------------------------

/** A dialog that is open while it is there; `onClose` takes it away. Escape closes it. */
function Dialog({ title, onClose, children }) {
  const place = useRef(null);
  const name = useId();
  useEffect(() => {
    const before = document.activeElement;
    place.current.showModal();
    return () => before && before.focus && before.focus();
  }, []);
  return html`<dialog ref=${place} aria-labelledby=${name} onClose=${onClose} onCancel=${onClose}><div class="body">
    <h2 id=${name}>${title}</h2>${children}</div></dialog>`;
}

/**
 * Ask before something is done: `children` are form controls, `run(form)` does it (a promise).
 * What goes wrong is told in the dialog, which stays open then.
 */
export function Ask({ title, text, action, danger, onClose, run, children }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const submit = (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    Promise.resolve()
      .then(() => run(new FormData(event.target)))
      .then(onClose, (problem) => { setError(problem); setBusy(false); });
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form onSubmit=${submit}>
      ${text && html`<p>${text}</p>`}
      ${children}
      <${Fault} error=${error} />
      <div class="buttons">
        <button type="button" onClick=${onClose}>Leave it</button>
        <button type="submit" class=${danger ? "danger" : "primary"} disabled=${busy}>${action}</button>
      </div>
    </form>
  </${Dialog}>`;
}

const TOAST_MS = 6000;
let showToast = () => {};

/** Say something for a moment. */
export const toast = (text, bad = false) => showToast({ text, bad });

export function Toasts() {
  const [shown, setShown] = useState([]);
  const drop = (id) => setShown((all) => all.filter((each) => each.id !== id));
  showToast = (said) => {
    const id = `${Date.now()}-${Math.random()}`;
    setShown((all) => [...all.slice(-3), { ...said, id }]);
    setTimeout(() => drop(id), TOAST_MS);
  };
  return html`<div class="toasts" aria-live="polite">${shown.map((each) => html`<div key=${each.id} class=${each.bad ? "toast bad" : "toast"} role=${each.bad ? "alert" : "status"}>
    <span>${clean(each.text, 400)}</span><button class="plain" aria-label="Dismiss" onClick=${() => drop(each.id)}>×</button></div>`)}</div>`;
}
