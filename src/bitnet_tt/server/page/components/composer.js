// The bottom of the page: the message box, the send or stop button, and how full the context is.
import { chat, isRunning, send, stop } from "../state/chat.js";
import { connection, contextLimit } from "../state/connection.js";
import { useStore } from "../state/store.js";
import { html, useEffect, useState } from "../ui.js";
import { IconButton } from "./icons.js";
import { isTouch, MessageBox } from "./message-box.js";

const EMPTY = { content: "", files: [] };

export function Composer({ path, inputRef, onEditLast }) {
  const { open } = useStore(chat);
  const { status } = useStore(connection);
  const [drafts, setDrafts] = useState({}); // One for each chat, so that switching between them loses nothing.
  const name = open?.id ?? "new";
  const draft = drafts[name] ?? EMPTY;
  const setDraft = (value) => setDrafts((all) => ({ ...all, [name]: value }));
  const running = isRunning(open);
  const empty = !draft.content.trim() && draft.files.length === 0;
  const canSend = !empty && !running && status === "ready";

  useEffect(() => {
    if (!isTouch) inputRef.current?.focus({ preventScroll: true });
  }, [name]);

  const submit = () => {
    if (!canSend) return;
    setDraft(EMPTY);
    send(draft.content, draft.files, path);
  };
  const onKey = (event) => {
    if (event.key === "ArrowUp" && empty && !running && onEditLast()) event.preventDefault();
  };
  return html`
    <footer class="composer">
      <${MessageBox}
        draft=${draft}
        onChange=${setDraft}
        onSubmit=${submit}
        onKey=${onKey}
        inputRef=${inputRef}
        label="Message"
        placeholder="Write a message"
      >
        <${ContextUse} path=${path} />
        ${
          running
            ? html`<${IconButton} icon="stop" label="Stop" class="send" onClick=${stop} />`
            : html`<${IconButton} icon="send" label="Send" class="send" disabled=${!canSend} onClick=${submit} />`
        }
      <//>
    </footer>
  `;
}

// How many tokens the chat has, of how many the server allows. The numbers are those of the newest answer.
function ContextUse({ path }) {
  const stats = path.findLast((message) => message.stats)?.stats;
  if (!stats) return html`<span class="context"></span>`;
  const used = stats.promptTokens + stats.tokens;
  const limit = contextLimit();
  const about = stats.exact ? "" : "≈ ";
  return html`
    <span class="context">
      ${limit &&
      html`<meter min="0" max=${limit} high=${limit * 0.85} value=${used} aria-label="Context used"></meter>`}
      <span>${about}${used.toLocaleString("en")}${limit ? ` of ${limit.toLocaleString("en")}` : ""} tokens</span>
    </span>
  `;
}
