// The list of chats, with search, and what belongs to the whole page.
import {
  chat,
  exportText,
  importText,
  newConversation,
  notify,
  openConversation,
  remove,
  rename,
  search,
} from "../state/chat.js";
import { useStore } from "../state/store.js";
import { html, useEffect, useRef, useState } from "../ui.js";
import { ConfirmDialog } from "./dialog.js";
import { Icon, IconButton } from "./icons.js";

const NO_CHATS = "Your chats appear here. They stay in this browser.";
const NONE_FOUND = "No chat has this text.";

export function Sidebar({ searchRef, onLeave, onSettings, onHelp }) {
  const { conversations, open, permanent } = useStore(chat);
  const [query, setQuery] = useState("");
  const [found, setFound] = useState(null); // Ids, or null while nothing is searched.
  const [deleting, setDeleting] = useState(null);
  useEffect(() => {
    let current = true;
    if (!query.trim()) setFound(null);
    else search(query.trim()).then((ids) => current && setFound(ids));
    return () => {
      current = false;
    };
  }, [query, conversations]);
  const listed = found ? conversations.filter(({ id }) => found.has(id)) : conversations;

  return html`
    <nav class="sidebar" id="sidebar" aria-label="Chats">
      <div class="sidebar-top">
        <button type="button" class="new-chat" onClick=${() => {
          newConversation();
          onLeave();
        }}><${Icon} name="add" />New chat</button>
        <div class="search">
          <${Icon} name="search" />
          <input
            ref=${searchRef}
            type="search"
            placeholder="Search"
            aria-label="Search the chats"
            value=${query}
            onInput=${(event) => setQuery(event.currentTarget.value)}
          />
        </div>
      </div>
      ${!permanent && html`<p class="note">This browser window cannot keep chats. They are lost when you close it.</p>`}
      <ul class="chats">
        ${listed.map(
          (each) => html`
            <${ChatItem}
              key=${each.id}
              conversation=${each}
              current=${each.id === open?.id}
              onOpen=${() => {
                openConversation(each);
                onLeave();
              }}
              onDelete=${() => setDeleting(each)}
            />
          `,
        )}
      </ul>
      ${listed.length === 0 && html`<p class="note">${found ? NONE_FOUND : NO_CHATS}</p>`}
      <${PageActions} onSettings=${onSettings} onHelp=${onHelp} />
      ${
        deleting &&
        html`
        <${ConfirmDialog}
          title="Delete this chat?"
          text=${`“${deleting.title}” and all its messages are deleted from this browser.`}
          action="Delete"
          onConfirm=${() => {
            remove(deleting);
            searchRef.current.focus();
          }}
          onClose=${() => setDeleting(null)}
        />
      `
      }
    </nav>
  `;
}

function ChatItem({ conversation, current, onOpen, onDelete }) {
  const [renaming, setRenaming] = useState(false);
  const button = useRef(null);
  if (renaming) {
    const close = () => setRenaming(false);
    return html`<li class="chat-item"><${RenameInput} conversation=${conversation} onClose=${close} /></li>`;
  }
  const exportThis = async () => download(await exportText(conversation));
  return html`
    <li class=${`chat-item ${current ? "current" : ""}`}>
      <button
        ref=${button}
        type="button"
        class="chat-title"
        aria-current=${current ? "page" : null}
        onClick=${onOpen}
        title=${conversation.title}
      >
        ${conversation.title}
      </button>
      <span class="chat-tools">
        <${IconButton} icon="edit" label=${`Rename ${conversation.title}`} onClick=${() => setRenaming(true)} />
        <${IconButton} icon="download" label=${`Export ${conversation.title}`} onClick=${exportThis} />
        <${IconButton} icon="trash" label=${`Delete ${conversation.title}`} onClick=${onDelete} />
      </span>
    </li>
  `;
}

function RenameInput({ conversation, onClose }) {
  const input = useRef(null);
  useEffect(() => input.current.select(), []);
  const finish = (event) => {
    rename(conversation, event.currentTarget.value);
    onClose();
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter") finish(event);
    if (event.key !== "Escape") return;
    event.stopPropagation();
    onClose();
  };
  return html`<input ref=${input} aria-label="New title" value=${conversation.title} onKeyDown=${onKeyDown} onBlur=${finish} />`;
}

const THEME_LABELS = { system: "System", light: "Light", dark: "Dark" };

function PageActions({ onSettings, onHelp }) {
  const picker = useRef(null);
  const [theme, setTheme] = useState(window.bitnetTheme.get());
  const exportAll = async () => download(await exportText());
  const importFile = async (event) => {
    const [file] = event.currentTarget.files;
    event.currentTarget.value = "";
    try {
      await importText(await file.text());
    } catch (error) {
      notify(`${file.name} was not imported. ${error.message}`);
    }
  };
  const chooseTheme = (event) => {
    window.bitnetTheme.set(event.currentTarget.value);
    setTheme(event.currentTarget.value);
  };
  return html`
    <div class="page-actions">
      <button type="button" onClick=${onSettings}><${Icon} name="settings" />Settings</button>
      <button type="button" onClick=${exportAll}><${Icon} name="download" />Export all</button>
      <button type="button" onClick=${() => picker.current.click()}><${Icon} name="upload" />Import</button>
      <button type="button" onClick=${onHelp}><${Icon} name="help" />Shortcuts</button>
      <label class="theme">
        <${Icon} name="theme" />Colours
        <select value=${theme} onChange=${chooseTheme}>
          ${window.bitnetTheme.choices.map(
            (choice) => html`
              <option key=${choice} value=${choice} selected=${choice === theme}>${THEME_LABELS[choice]}</option>
            `,
          )}
        </select>
      </label>
      <input
        ref=${picker}
        type="file"
        accept="application/json,.json"
        hidden
        aria-label="Import file"
        onChange=${importFile}
      />
    </div>
  `;
}

function download(text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = `bitnet-tt-chats-${new Date().toISOString().slice(0, 10)}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
