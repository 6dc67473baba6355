// Keyboard shortcuts: one table, which the key handler and the help dialog read.
import { html } from "../ui.js";
import { Dialog } from "./dialog.js";

const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

// `keys` is what the help shows; `matches` tests an event. `action` is a function of the page's actions (see app.js).
const withControl = (code, shift) => (event) =>
  (isMac ? event.metaKey : event.ctrlKey) && !event.altKey && event.shiftKey === shift && event.code === code;

export const SHORTCUTS = [
  { action: "newChat", keys: "Ctrl+Shift+O", text: "New chat", matches: withControl("KeyO", true) },
  { action: "search", keys: "Ctrl+K", text: "Search the chats", matches: withControl("KeyK", false) },
  {
    action: "sidebar",
    keys: "Ctrl+Shift+S",
    text: "Show or hide the list of chats",
    matches: withControl("KeyS", true),
  },
  { action: "settings", keys: "Ctrl+,", text: "Settings", matches: withControl("Comma", false) },
  { action: "help", keys: "Ctrl+/", text: "This help", matches: withControl("Slash", false) },
  {
    action: "compose",
    keys: "Shift+Esc",
    text: "Go to the message box",
    matches: (event) => event.shiftKey && event.key === "Escape",
  },
  {
    action: "stop",
    keys: "Esc",
    text: "Stop the answer",
    matches: (event) => !event.shiftKey && event.key === "Escape",
  },
  {
    action: "again",
    keys: "Alt+R",
    text: "Answer again",
    matches: (event) => event.altKey && !event.ctrlKey && event.code === "KeyR",
  },
];

// Keys that a single element handles.
const OTHERS = [
  { keys: "Enter", text: "Send the message" },
  { keys: "Shift+Enter", text: "New line" },
  { keys: "↑", text: "In an empty message box: edit your last message" },
];

// Call the action of the shortcut that an event is, if any. Actions return false if they have nothing to do.
export function handleShortcut(event, actions) {
  if (event.isComposing) return;
  // An open dialog has its own Escape, and nothing behind it may react.
  if (document.querySelector("dialog[open]")) return;
  const shortcut = SHORTCUTS.find((each) => each.matches(event));
  if (shortcut && actions[shortcut.action]() !== false) event.preventDefault();
}

const shown = (keys) => (isMac ? keys.replace("Ctrl", "⌘").replace("Alt", "⌥") : keys);

export const HelpDialog = ({ onClose }) => html`
  <${Dialog} title="Keyboard shortcuts" onClose=${onClose}>
    <table class="shortcuts">
      <tbody>
        ${[...OTHERS, ...SHORTCUTS].map(
          ({ keys, text }) => html`
            <tr>
              <th scope="row">${shown(keys)
                .split("+")
                .map((key, at) => html`${at > 0 && " + "}<kbd>${key}</kbd>`)}</th>
              <td>${text}</td>
            </tr>
          `,
        )}
      </tbody>
    </table>
  <//>
`;
