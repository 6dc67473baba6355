// A line above the chat that says what is wrong with the server, and offers the way out.
import { connection, retryNow, tryKey } from "../state/connection.js";
import { useStore } from "../state/store.js";
import { html, useEffect, useRef, useState } from "../ui.js";

const PROBLEMS = {
  unreachable: "The server does not answer. Your chats are safe in this browser. The page tries again by itself.",
  "no-model": "The server has no model loaded. Start it with a model, such as: bitnet-tt serve --model demo",
  failed: "The server answers with an error.",
};

export function Banner() {
  const { status, detail } = useStore(connection);
  if (status === "key") return html`<${KeyForm} detail=${detail} />`;
  if (!PROBLEMS[status]) return null;
  return html`
    <div class="banner" role="alert">
      <p>${PROBLEMS[status]}${detail && status === "failed" ? html` <span class="detail">${detail}</span>` : ""}</p>
      <button type="button" onClick=${retryNow}>Try again</button>
    </div>
  `;
}

function KeyForm({ detail }) {
  const [key, setKey] = useState("");
  const input = useRef(null);
  useEffect(() => input.current.focus(), []);
  const submit = (event) => {
    event.preventDefault(); // The Content-Security-Policy allows no form to be sent.
    if (key.trim()) tryKey(key.trim());
  };
  return html`
    <form class="banner" onSubmit=${submit}>
      <label for="server-key">This server needs a key. This tab keeps it until you close it.</label>
      <span class="key-row">
        <input
          ref=${input}
          id="server-key"
          type="password"
          autocomplete="off"
          placeholder="Key"
          value=${key}
          aria-invalid=${detail ? "true" : "false"}
          onInput=${(event) => setKey(event.currentTarget.value)}
        />
        <button type="submit" class="primary">Use key</button>
      </span>
      ${detail && html`<p class="problem" role="alert">The server did not accept this key.</p>`}
    </form>
  `;
}
