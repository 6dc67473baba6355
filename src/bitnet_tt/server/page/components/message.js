// One message: its text, its versions, and what can be done with it.
import { edit, regenerate, say, show } from "../state/chat.js";
import { html, useEffect, useErrorBoundary, useMemo, useRef, useState } from "../ui.js";
import { ErrorNote } from "./error-note.js";
import { FileChips } from "./files.js";
import { IconButton } from "./icons.js";
import { copyText, Markdown } from "./markdown.js";
import { MessageBox } from "./message-box.js";

export function Message({ message, siblings, busy, editing, setEditing }) {
  const [failure] = useErrorBoundary();
  const Body = failure ? UndrawnMessage : message.role === "user" ? UserMessage : AssistantMessage;
  // The same result object makes Preact skip a message: while an answer streams, only that one changes.
  return useMemo(
    () => html`
      <article class=${`message ${message.role}`} aria-label=${message.role === "user" ? "You" : "Model"}>
        <${Body} message=${message} siblings=${siblings} busy=${busy} editing=${editing} setEditing=${setEditing} />
      </article>
    `,
    [message, siblings.map(({ id }) => id).join(), busy, editing, failure],
  );
}

// One message with a fault must not take the page away.
const UndrawnMessage = ({ message }) => html`
  <p class="note">The page could not format this message.</p>
  <p class="plain">${message.content}</p>
`;

function UserMessage({ message, siblings, busy, editing, setEditing }) {
  if (editing) return html`<${Editor} message=${message} onClose=${() => setEditing(null)} />`;
  return html`
    <div class="bubble">
      <${FileChips} files=${message.files} />
      ${message.content && html`<p class="plain">${message.content}</p>`}
    </div>
    <div class="actions">
      <${Versions} message=${message} siblings=${siblings} busy=${busy} />
      <${CopyButton} text=${message.content} />
      <${IconButton} icon="edit" label="Edit" disabled=${busy} onClick=${() => setEditing(message.id)} />
    </div>
  `;
}

// Sending an edited message makes a new version. The old one stays, and the arrows lead back to it.
function Editor({ message, onClose }) {
  const [draft, setDraft] = useState({ content: message.content, files: message.files });
  const input = useRef(null);
  useEffect(() => {
    input.current.focus();
    input.current.setSelectionRange(draft.content.length, draft.content.length);
  }, []);
  const submit = () => {
    if (!draft.content.trim() && draft.files.length === 0) return;
    onClose();
    edit(message, draft.content, draft.files);
  };
  const onKey = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    onClose();
  };
  return html`
    <${MessageBox}
      draft=${draft}
      onChange=${setDraft}
      onSubmit=${submit}
      onKey=${onKey}
      inputRef=${input}
      label="Edit your message"
    >
      <span class="spacer"></span>
      <button type="button" onClick=${onClose}>Cancel</button>
      <button type="button" class="primary" onClick=${submit}>Send</button>
    <//>
  `;
}

const INTERRUPTED = "This answer is not complete: the page was closed, or another tab is still writing it.";

const Reasoning = ({ text }) => html`
  <details class="reasoning"><summary>Thinking</summary><p class="plain">${text}</p></details>
`;

const Waiting = () => html`
  <p class="waiting"><span class="dots" aria-hidden="true"></span>Reading your message</p>
`;

function AssistantMessage({ message, siblings, busy }) {
  const running = message.status === "running" && busy;
  // A page that was closed during an answer could not say so. Another tab looks the same from here.
  const interrupted = message.status === "running" && !busy;
  return html`
    ${message.reasoning && html`<${Reasoning} text=${message.reasoning} />`}
    ${message.content && html`<${Markdown} text=${message.content} />`}
    ${running && !message.content && html`<${Waiting} />`}
    ${message.error && html`<${ErrorNote} error=${message.error} busy=${busy} onRetry=${() => regenerate(message)} />`}
    ${interrupted && html`<p class="note">${INTERRUPTED}</p>`}
    ${message.status === "stopped" && html`<p class="note">You stopped this answer.</p>`}
    ${message.finish === "length" && html`<p class="note">The answer reached the limit of tokens.</p>`}
    <div class="actions">
      <${Versions} message=${message} siblings=${siblings} busy=${busy} />
      ${
        !running &&
        html`
        ${message.content && html`<${CopyButton} text=${message.content} />`}
        ${!message.error &&
        html`<${IconButton} icon="again" label="Answer again" disabled=${busy} onClick=${() => regenerate(message)} />`}
      `
      }
      <${Speed} stats=${message.stats} running=${running} />
    </div>
  `;
}

function Speed({ stats, running }) {
  if (!stats || stats.tokens === 0) return null;
  const first = rounded(stats.firstSeconds, 2);
  const cached = stats.cachedTokens ? `; ${stats.cachedTokens} prompt tokens were cached` : "";
  const about = stats.exact || running ? "" : "≈ ";
  return html`
    <span class="speed" title=${`First token after ${first} s${cached}`}>
      ${stats.speed > 0 && html`<span>${rounded(stats.speed, 1)} tokens/s</span>`}
      <span>${about}${stats.tokens} ${stats.tokens === 1 ? "token" : "tokens"}</span>
      <span class="wide-only">first after ${first} s</span>
    </span>
  `;
}

const rounded = (number, digits) => number.toFixed(number < 100 ? digits : 0);

function Versions({ message, siblings, busy }) {
  if (siblings.length < 2) return null;
  const at = siblings.findIndex((each) => each.id === message.id);
  const go = (step) => {
    show(siblings[at + step]);
    say(`Version ${at + step + 1} of ${siblings.length}`);
  };
  return html`
    <span class="versions" role="group" aria-label="Versions">
      <${IconButton} icon="left" label="Previous version" disabled=${busy || at === 0} onClick=${() => go(-1)} />
      <span>${at + 1}/${siblings.length}</span>
      <${IconButton}
        icon="right"
        label="Next version"
        disabled=${busy || at === siblings.length - 1}
        onClick=${() => go(1)}
      />
    </span>
  `;
}

function CopyButton({ text }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await copyText(text);
    say("Copied.");
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return html`<${IconButton} icon="copy" label=${copied ? "Copied" : "Copy"} onClick=${copy} />`;
}
