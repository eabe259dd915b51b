import { html, useState } from "../../vendor/preact.js";
import { path, post } from "../api.js";
import { Fault } from "../ui.js";

/** Ask for a token; `onEnter` gets the session. */
export function Login({ onEnter }) {
  const [error, setError] = useState(null);
  const submit = (event) => {
    event.preventDefault();
    const token = new FormData(event.target).get("token").trim();
    post(path(["session"]), { token }).then(onEnter, setError);
  };
  return html`<section class="card login"><form class="body" onSubmit=${submit}>
    <h1>Warrener</h1>
    <p class="soft">A token is needed here. Whoever runs this service makes one: <code>warrener web token add NAME --role viewer</code></p>
    <label>Token<input name="token" type="password" required autocomplete="current-password" autofocus /></label>
    <${Fault} error=${error} />
    <div><button class="primary" type="submit">Sign in</button></div>
  </form></section>`;
}
