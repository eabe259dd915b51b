import { html } from "../../vendor/preact.js";

export function Fleet() {
  return html`<h1>Fleet</h1>`;
}
