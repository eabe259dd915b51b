// Calls of the HTTP API. Answers are kept with their ETag, so that asking again for what has not
// changed costs next to nothing.

const KEPT_MAX = 60;
const kept = new Map(); // path -> { etag, value }
let csrf = "";
let onUnknown = () => {};

/** What the API said is wrong: `status`, and the fields of its problem document. */
export class Problem extends Error {
  constructor(status, document) {
    super(document.detail || document.title || `the service answered ${status}`);
    this.status = status;
    this.title = document.title || "";
    this.hint = document.hint || "";
    this.errors = document.errors || [];
  }
}

/** Keep what goes with requests that change state; the session tells it. */
export function useCsrf(value) {
  csrf = value || "";
}

/** Call `react` whenever the API does not know who we are, such as once a session is over. */
export function whenUnknown(react) {
  onUnknown = react;
}

async function answerOf(response) {
  if (response.status === 401) {
    onUnknown();
  }
  const text = await response.text();
  let document = null;
  try {
    document = text ? JSON.parse(text) : null;
  } catch {
    document = { detail: `the service answered ${response.status} with something else than JSON` };
  }
  if (!response.ok) {
    throw new Problem(response.status, document || {});
  }
  return document;
}

function reached(promise) {
  return promise.catch((error) => {
    if (error.name === "AbortError") {
      throw error;
    }
    throw new Problem(0, { title: "Not reachable", detail: "The service cannot be reached." });
  });
}

/** Make a path of parts (each is escaped) and a query (null and "" are left out). */
export function path(parts, query = {}) {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== null && each !== undefined && each !== "") {
        said.append(name, String(each));
      }
    }
  }
  const text = parts.map((part) => encodeURIComponent(part)).join("/");
  const asked = said.toString();
  return `/api/v1/${text}${asked ? `?${asked}` : ""}`;
}

export async function get(url, signal) {
  const known = kept.get(url);
  const headers = known ? { "If-None-Match": known.etag } : {};
  const response = await reached(fetch(url, { headers, signal, cache: "no-store" }));
  if (response.status === 304 && known) {
    return known.value;
  }
  const value = await answerOf(response);
  const etag = response.headers.get("ETag");
  kept.delete(url);
  if (etag) {
    kept.set(url, { etag, value });
    if (kept.size > KEPT_MAX) {
      kept.delete(kept.keys().next().value);
    }
  }
  return value;
}

export async function send(method, url, body) {
  const headers = { "X-Warrener-CSRF": csrf };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
  }
  const request = { method, headers, body: body === undefined ? undefined : JSON.stringify(body) };
  return answerOf(await reached(fetch(url, request)));
}

export const post = (url, body = {}) => send("POST", url, body);
