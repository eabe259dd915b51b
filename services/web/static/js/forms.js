// Forms made from JSON Schema: one control for each field, the answer as JSON.
//
// What no control fits (lists, objects, anything without a type) is written as JSON. The API checks
// the answer against the schema; here only what a control cannot hold is told at once.

import { html, useId } from "../vendor/preact.js";
import { clean } from "./ui.js";

const REFERENCES_MAX = 10;
const FIELDS_MAX = 100;
const LONG_TEXT = 200; // a text that may be longer gets several lines
const INPUTS = { email: "email", uri: "url", date: "date", time: "time", "date-time": "text" };

function resolved(form, field) {
  let found = field;
  for (let count = 0; count < REFERENCES_MAX && found && typeof found.$ref === "string"; count += 1) {
    found = found.$ref.replace(/^#\/?/, "").split("/").filter(Boolean)
      .reduce((part, key) => part && part[key.replaceAll("~1", "/").replaceAll("~0", "~")], form);
  }
  return found && typeof found === "object" ? found : {};
}

const isMap = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** The fields of a form: { name, field, required }; one without a name is the whole answer. */
function fieldsOf(form) {
  const top = resolved(form, form || {});
  if (!isMap(top.properties)) {
    return [{ name: "", field: top, required: true }];
  }
  const required = Array.isArray(top.required) ? top.required : [];
  return Object.entries(top.properties).slice(0, FIELDS_MAX)
    .map(([name, field]) => ({ name, field: resolved(form, field), required: required.includes(name) }));
}

const kindsOf = (field) => [field.type].flat().filter((kind) => typeof kind === "string");

/** What a field is asked for with: choice | yes-no | number | text | json. */
function controlOf(field) {
  const kinds = kindsOf(field).filter((kind) => kind !== "null");
  if (Array.isArray(field.enum) && field.enum.length) {
    return "choice";
  }
  if (kinds.length === 1) {
    return { boolean: "yes-no", integer: "number", number: "number", string: "text" }[kinds[0]] || "json";
  }
  return "json";
}

/** The value that a control's text stands for; undefined: left out. Throws a sentence. */
function valueOf({ name, field, required }, text) {
  const called = field.title || name || "the answer";
  if (text === "" || text === null) {
    if (!required) {
      return undefined;
    }
    if (controlOf(field) === "text") {
      return "";
    }
    if (kindsOf(field).includes("null")) {
      return null;
    }
    throw new Error(`${called}: a value is needed`);
  }
  switch (controlOf(field)) {
    case "choice":
      return field.enum[Number(text)];
    case "yes-no":
      return text === "true";
    case "number": {
      const number = Number(text);
      if (!Number.isFinite(number)) {
        throw new Error(`${called}: this is no number`);
      }
      return number;
    }
    case "text":
      return text;
    default:
      try {
        return JSON.parse(text);
      } catch (error) {
        if (kindsOf(field).length === 0 || kindsOf(field).includes("string")) {
          return text;
        }
        throw new Error(`${called}: this is not JSON (${error.message})`);
      }
  }
}

/** The answer that a filled form stands for. Throws a sentence about the first field that fails. */
export function answerOf(form, data) {
  const fields = fieldsOf(form);
  if (fields.length === 1 && fields[0].name === "") {
    return valueOf(fields[0], data.get("field-0")) ?? null;
  }
  const answer = {};
  fields.forEach((each, index) => {
    const value = valueOf(each, data.get(`field-${index}`));
    if (value !== undefined) {
      answer[each.name] = value;
    }
  });
  return answer;
}

function Control({ id, index, each, about }) {
  const { field, required } = each;
  const shared = { id, name: `field-${index}`, required, "aria-describedby": about };
  const preset = field.default;
  switch (controlOf(field)) {
    case "choice":
      return html`<select ...${shared}>
        ${(!required || preset === undefined) && html`<option value="">${required ? "choose" : "(left out)"}</option>`}
        ${field.enum.slice(0, 500).map((choice, number) => html`<option key=${number} value=${number} selected=${choice === preset}>${clean(typeof choice === "string" ? choice : JSON.stringify(choice), 100)}</option>`)}
      </select>`;
    case "yes-no":
      return html`<select ...${shared}>
        ${(!required || preset === undefined) && html`<option value="">${required ? "choose" : "(left out)"}</option>`}
        <option value="true" selected=${preset === true}>yes</option><option value="false" selected=${preset === false}>no</option></select>`;
    case "number":
      return html`<input ...${shared} type="number" step=${kindsOf(field).includes("integer") ? 1 : "any"} min=${field.minimum} max=${field.maximum} defaultValue=${preset} />`;
    case "text": {
      const most = Number.isInteger(field.maxLength) ? field.maxLength : undefined;
      if (field.format === "password" || field.writeOnly === true) {
        return html`<input ...${shared} type="password" autocomplete="off" maxlength=${most} />`;
      }
      if (most > LONG_TEXT) {
        return html`<textarea ...${shared} maxlength=${most} defaultValue=${preset}></textarea>`;
      }
      return html`<input ...${shared} type=${INPUTS[field.format] || "text"} maxlength=${most} defaultValue=${preset} />`;
    }
    default:
      return html`<textarea ...${shared} placeholder="JSON" spellcheck="false" defaultValue=${preset === undefined ? "" : JSON.stringify(preset, null, 2)}></textarea>`;
  }
}

function Field({ index, each }) {
  const id = useId();
  const { name, field, required } = each;
  return html`<div class="field">
    <label for=${id}>${clean(field.title || name || "Answer", 100)}${required ? "" : " (may be left out)"}</label>
    ${field.description && html`<p class="soft" id=${`${id}-about`}>${clean(field.description, 500)}</p>`}
    <${Control} id=${id} index=${index} each=${each} about=${field.description ? `${id}-about` : undefined} />
  </div>`;
}

/** The controls of a form; `answerOf` reads them. */
export const Fields = ({ form }) => fieldsOf(form).map((each, index) => html`<${Field} key=${each.name} index=${index} each=${each} />`);
