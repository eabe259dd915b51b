// The frame of the dashboard: who we are, where we are, and what is live.

import { html, render, useEffect, useRef, useState } from "../vendor/preact.js";
import { Problem, get, path, send, useCsrf, whenUnknown } from "./api.js";
import { listenTo, stop, useApi, useIsLive } from "./live.js";
import { go, usePlace } from "./router.js";
import { SessionContext } from "./session.js";
import { Fault, Toasts, clean } from "./ui.js";
import { Login } from "./pages/login.js";
import { Jobs } from "./pages/jobs.js";
import { Job } from "./pages/job.js";
import { Actions } from "./pages/actions.js";
import { Fleet } from "./pages/fleet.js";
import { Flow } from "./pages/flow.js";

const PAGES = [["jobs", "Jobs"], ["actions", "User actions"], ["fleet", "Fleet"], ["flow", "Flow"]];

function Live() {
  const isLive = useIsLive();
  return html`<span class=${isLive ? "live on" : "live"} role="status">${isLive ? "live" : "connecting"}</span>`;
}

function OpenActions() {
  const found = useApi(path(["actions"], { state: "open", limit: 100 }), (change) => change.actions);
  const count = found.value ? found.value.items.length : 0;
  return count ? html`<span class="count">${count >= 100 ? "99+" : count}<span class="visually-hidden"> open</span></span>` : null;
}

function Top({ session, page, onLeave }) {
  return html`<header class="top">
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>Skip to the content</a>
    <a class="brand" href="#/jobs"><img src="/static/favicon.svg" alt="" />Warrener</a>
    <nav aria-label="Pages">${PAGES.map(([name, title]) => html`<a key=${name} href=${`#/${name}`} aria-current=${page === name ? "page" : undefined}>${title}${name === "actions" && html`<${OpenActions} />`}</a>`)}</nav>
    <span class="side"><${Live} /><span class="name">${clean(session.name, 40)} (${session.role})</span>
      ${session.login && html`<button class="plain" onClick=${onLeave}>Sign out</button>`}</span>
  </header>`;
}

function Page({ place }) {
  const [page, ...rest] = place.parts;
  if (page === "jobs" && rest.length) {
    return html`<${Job} key=${rest[0]} job=${rest[0]} step=${rest.slice(1).join("/") || null} query=${place.query} />`;
  }
  const shown = { jobs: Jobs, actions: Actions, fleet: Fleet, flow: Flow }[page];
  return shown
    ? html`<${shown} query=${place.query} rest=${rest} />`
    : html`<div class="note">There is no such page. <a href="#/jobs">All jobs</a></div>`;
}

function App() {
  const [session, setSession] = useState(null);
  const [error, setError] = useState(null);
  const place = usePlace();
  const isIn = useRef(false);

  const enter = (found) => {
    isIn.current = true;
    useCsrf(found.csrf);
    setSession(found);
    setError(null);
  };
  const begin = () => get(path(["session"])).then(enter, setError);
  useEffect(() => {
    whenUnknown(() => {
      if (isIn.current) {
        isIn.current = false;
        stop();
        setSession(null);
        begin();
      }
    });
    begin();
  }, []);
  useEffect(() => {
    if (!place.parts.length) {
      go("#/jobs", true);
    }
  }, [place]);
  useEffect(() => {
    if (session) {
      listenTo(place.parts[0] === "jobs" && place.parts[1] ? place.parts[1] : null);
    }
  }, [session, place.parts[0], place.parts[1]]);

  const leave = () => {
    isIn.current = false;
    send("DELETE", path(["session"])).finally(() => { stop(); setSession(null); begin(); });
  };

  if (!session) {
    const asked = error instanceof Problem && error.status === 401;
    return html`<main id="main" tabindex="-1">${asked ? html`<${Login} onEnter=${enter} />` : html`<${Fault} error=${error} />`}
      ${error && !asked && html`<p><button onClick=${begin}>Try again</button></p>`}</main>`;
  }
  return html`<${SessionContext.Provider} value=${session}>
    <${Top} session=${session} page=${place.parts[0]} onLeave=${leave} />
    <main id="main" tabindex="-1"><${Page} place=${place} /></main>
    <${Toasts} />
  </${SessionContext.Provider}>`;
}

render(html`<${App} />`, document.getElementById("app"));
