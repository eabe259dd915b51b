// Small charts without axes: the course of a figure, and shares of a whole.

import { html } from "../vendor/preact.js";
import { clean } from "./ui.js";

const WIDTH = 96;
const HEIGHT = 22;

/** The course of a figure, the oldest value first; `label` says in words what it is. */
export function Spark({ values, label }) {
  if (!values || values.length < 2) {
    return null;
  }
  const most = Math.max(...values, 1);
  const x = (index) => (index * (WIDTH - 2)) / (values.length - 1) + 1;
  const y = (value) => HEIGHT - 2 - (value / most) * (HEIGHT - 4);
  const line = values.map((value, index) => `${index ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const said = `${label}: from ${Math.min(...values).toLocaleString("en")} to ${most.toLocaleString("en")}, now ${values[values.length - 1].toLocaleString("en")}`;
  return html`<svg class="spark" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} width=${WIDTH} height=${HEIGHT} role="img" aria-label=${said}><title>${said}</title>
    <path class="area" d=${`${line}L${x(values.length - 1).toFixed(1)} ${HEIGHT - 1}L1 ${HEIGHT - 1}Z`} /><path class="line" d=${line} /></svg>`;
}

const HUES = 8; // colours of the theme; more parts share "others"

/** Parts of a whole as one bar with a legend: { name, value } in any unit, the largest first. */
export function Shares({ parts, label }) {
  const total = parts.reduce((sum, part) => sum + part.value, 0);
  if (!total) {
    return null;
  }
  const sorted = [...parts].sort((a, b) => b.value - a.value);
  const shown = sorted.slice(0, HUES - 1);
  const rest = sorted.slice(HUES - 1).reduce((sum, part) => sum + part.value, 0);
  const all = rest ? [...shown, { name: `${sorted.length - shown.length} others`, value: rest }] : shown;
  const percent = (value) => `${Math.round((100 * value) / total)} %`;
  return html`<div class="shares"><div class="stack" role="img" aria-label=${`${label}: ${all.map((part) => `${clean(part.name, 40)} ${percent(part.value)}`).join(", ")}`}>
      ${all.map((part, index) => html`<i key=${part.name} class=${`hue-${index}`} style=${{ width: `${(100 * part.value) / total}%` }}></i>`)}</div>
    <ul class="legend">${all.map((part, index) => html`<li key=${part.name}><i class=${`hue-${index}`}></i><bdi>${clean(part.name, 60)}</bdi> <span class="soft">${percent(part.value)}</span></li>`)}</ul></div>`;
}
