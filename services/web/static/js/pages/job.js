import { html } from "../../vendor/preact.js";

export function Job() {
  return html`<h1>Job</h1>`;
}
