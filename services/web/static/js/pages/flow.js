import { html } from "../../vendor/preact.js";

export function Flow() {
  return html`<h1>Flow</h1>`;
}
