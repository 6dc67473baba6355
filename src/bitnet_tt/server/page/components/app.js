// The whole page: the sidebar, the chat, and the dialogs.
import { chat, isRunning, newConversation, notify, regenerate, stop } from "../state/chat.js";
import { chooseModel, connection } from "../state/connection.js";
import { useStore } from "../state/store.js";
import { childrenByParent, shownPath } from "../state/tree.js";
import { html, useEffect, useMemo, useRef, useState } from "../ui.js";
import { Banner } from "./banner.js";
import { Composer } from "./composer.js";
import { IconButton } from "./icons.js";
import { Message } from "./message.js";
import { Scroller } from "./scroller.js";
import { SettingsDialog } from "./settings-dialog.js";
import { handleShortcut, HelpDialog } from "./shortcuts.js";
import { Sidebar } from "./sidebar.js";

const NARROW = matchMedia("(max-width: 760px)"); // As in layout.css: the sidebar then lies over the chat.

function useNarrow() {
  const [narrow, setNarrow] = useState(NARROW.matches);
  useEffect(() => {
    const change = () => setNarrow(NARROW.matches);
    NARROW.addEventListener("change", change);
    return () => NARROW.removeEventListener("change", change);
  }, []);
  return narrow;
}

export function App() {
  const { open, messages, notice, said } = useStore(chat);
  const narrow = useNarrow();
  const [sidebar, setSidebar] = useState(!NARROW.matches);
  const [dialog, setDialog] = useState(null); // "settings", "help" or null.
  const [editing, setEditing] = useState(null); // The id of the message that is edited.
  const search = useRef(null);
  const input = useRef(null);
  const menu = useRef(null);
  const busy = isRunning(open);
  const children = useMemo(() => childrenByParent(messages), [messages]);
  const path = useMemo(() => shownPath(children, open?.chosen ?? {}), [children, open]);

  const editLast = () => {
    const last = path.findLast((message) => message.role === "user");
    setEditing(last?.id ?? null);
    return Boolean(last);
  };
  // The newest actions, for a key handler that is installed once.
  const actions = useRef(null);
  actions.current = {
    newChat: newConversation,
    search: () => {
      setSidebar(true);
      setTimeout(() => search.current?.focus());
    },
    sidebar: () => setSidebar(!sidebar),
    settings: () => setDialog("settings"),
    help: () => setDialog("help"),
    compose: () => input.current?.focus(),
    stop: () => {
      if (sidebar && narrow) setSidebar(false);
      else if (busy) stop();
      else return false;
      return true;
    },
    again: () => {
      const last = path.at(-1);
      if (busy || last?.role !== "assistant") return false;
      regenerate(last);
      return true;
    },
  };
  useEffect(() => {
    const onKey = (event) => handleShortcut(event, actions.current);
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
  // After an edit ends, the focus is in no field: give it to the message box.
  useEffect(() => {
    if (!editing && document.activeElement === document.body) input.current?.focus({ preventScroll: true });
  }, [editing]);
  useEffect(() => {
    document.title = open ? `${open.title} – BitNet-TT` : "BitNet-TT chat";
  }, [open?.title]);

  // A sidebar over the chat takes the focus, and gives it back.
  const wasOpen = useRef(sidebar);
  useEffect(() => {
    if (narrow && sidebar && !wasOpen.current) document.querySelector(".new-chat").focus();
    if (narrow && !sidebar && wasOpen.current) menu.current.focus();
    wasOpen.current = sidebar;
  }, [sidebar]);

  const leaveSidebar = () => narrow && setSidebar(false);
  return html`
    <div class=${`page ${sidebar ? "with-sidebar" : ""}`}>
      ${
        sidebar &&
        html`
        <${Sidebar}
          searchRef=${search}
          onLeave=${leaveSidebar}
          onSettings=${() => setDialog("settings")}
          onHelp=${() => setDialog("help")}
        />
        <div class="shade" onClick=${() => setSidebar(false)}></div>
      `
      }
      <main class="chat" inert=${sidebar && narrow}>
        <${Header} menuRef=${menu} title=${open?.title} sidebar=${sidebar} onSidebar=${() => setSidebar(!sidebar)} />
        <${Banner} />
        ${
          notice &&
          html`
          <div class="banner notice">
            <p>${notice}</p>
            <${IconButton} icon="close" label="Close this note" onClick=${() => notify("")} />
          </div>
        `
        }
        <${Scroller} key=${open?.id ?? "new"} content=${path}>
          ${path.length === 0 && html`<${Welcome} />`}
          ${path.map(
            (message) => html`
            <${Message}
              key=${message.id}
              message=${message}
              siblings=${children.get(message.parent)}
              busy=${busy}
              editing=${editing === message.id}
              setEditing=${setEditing}
            />
          `,
          )}
        <//>
        <${Composer} path=${path} inputRef=${input} onEditLast=${editLast} />
      </main>
      <div class="visually-hidden" role="status" aria-live="polite">${said}</div>
      ${dialog === "settings" && html`<${SettingsDialog} onClose=${() => setDialog(null)} />`}
      ${dialog === "help" && html`<${HelpDialog} onClose=${() => setDialog(null)} />`}
    </div>
  `;
}

const WITHOUT_MODEL = { connecting: "Connecting", "no-model": "No model" };

function Header({ menuRef, title, sidebar, onSidebar }) {
  const { status, models, model } = useStore(connection);
  return html`
    <header class="top">
      <${IconButton}
        buttonRef=${menuRef}
        icon="menu"
        label=${sidebar ? "Hide the list of chats" : "Show the list of chats"}
        aria-expanded=${sidebar}
        aria-controls="sidebar"
        onClick=${onSidebar}
      />
      <h1>${title ?? "New chat"}</h1>
      ${
        models.length > 1
          ? html`
            <select aria-label="Model" value=${model} onChange=${(event) => chooseModel(event.currentTarget.value)}>
              ${models.map(
                (name) => html`<option key=${name} value=${name} selected=${name === model}>${name}</option>`,
              )}
            </select>
          `
          : html`<span class="model" title=${model}>${model || WITHOUT_MODEL[status] || ""}</span>`
      }
    </header>
  `;
}

const Welcome = () => html`
  <div class="welcome">
    <p class="welcome-title">Ask the model something</p>
    <p>The model runs on this server. Your chats stay in this browser.</p>
  </div>
`;
