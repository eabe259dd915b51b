// Where we are: `#/jobs/ID?tab=graph` is { parts: ["jobs", "ID"], query: { tab: "graph" } }.

import { useEffect, useState } from "../vendor/preact.js";

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function place(hash = location.hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  return {
    parts: path.split("/").filter(Boolean).map(decoded),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

/** The link to a place. What is empty in the query is left out. */
export function link(parts, query = {}) {
  const said = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  const asked = said.toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${asked ? `?${asked}` : ""}`;
}

/** Go somewhere; with `quietly` the way back does not lead through here. */
export function go(to, quietly = false) {
  if (quietly) {
    history.replaceState(null, "", to);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = to;
  }
}

export function usePlace() {
  const [now, setNow] = useState(place());
  useEffect(() => {
    const moved = () => setNow(place());
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return now;
}

/** The link to a job, or to a step of it. */
export const jobLink = (job, step, query) => link(step ? ["jobs", job, step] : ["jobs", job], query);
