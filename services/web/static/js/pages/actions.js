import { html } from "../../vendor/preact.js";

export function Actions() {
  return html`<h1>Actions</h1>`;
}
